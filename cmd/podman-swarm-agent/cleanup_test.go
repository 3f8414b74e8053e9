package main

import (
	"bytes"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// inOwnNetwork calls f on a thread with a network of its own, which ends with it.
func inOwnNetwork(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// The table of the cluster that the agent's own variable names goes, or the flag's; that of another is named, as it is left. While an agent runs
// nothing goes.
func TestCleanup_command(t *testing.T) {
	inOwnNetwork(t, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		for _, name := range []string{"podman_swarm_red", "podman_swarm_blue", "others"} {
			conn.AddTable(&nftables.Table{Name: name, Family: nftables.TableFamilyIPv4})
		}
		if err := conn.Flush(); err != nil {
			return err
		}
		cleanup := func(what, variable string, code int, want string, args ...string) {
			t.Helper()
			var out, errs bytes.Buffer
			got := run(t.Context(), append([]string{"cleanup"}, args...), []string{"PODMAN_SWARM_CLUSTER_NAME=" + variable}, &out, &errs)
			if all := out.String() + errs.String(); got != code || !strings.Contains(all, want) {
				t.Errorf("%s: %d, %q, want %d and %q", what, got, all, code, want)
			}
		}
		agent, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: "@podman-swarm/vip"})
		if err != nil {
			return err
		}
		cleanup("while an agent runs", "blue", 1, "an agent runs on this host")
		if err := agent.Close(); err != nil {
			return err
		}
		cleanup("of another cluster", "", 0, "there was no table podman_swarm_default")
		cleanup("of another cluster", "", 0, "table podman_swarm_blue is left, of a cluster of another name: --cluster-name says which to remove\ntable podman_swarm_red is left")
		cleanup("as the environment has it", "blue", 0, "what there was of cluster blue in this host's network is gone\ntable podman_swarm_red is left")
		cleanup("the flag wins over that", "blue", 0, "what there was of cluster red in this host's network is gone\n", "--cluster-name", "red")
		tables, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
		if err != nil || len(tables) != 1 || tables[0].Name != "others" {
			t.Errorf("left are %v, %v, want the one that is nobody's here", tables, err)
		}
		return nil
	})
}

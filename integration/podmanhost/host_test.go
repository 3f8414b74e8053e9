package podmanhost

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// published starts a container with a published port and returns its ID and URL.
func published(t *testing.T, h *Host, image string, args ...string) (id, url string) {
	t.Helper()
	id = podman(t, h, append([]string{"run", "--detach", "--publish", "127.0.0.1::80", image}, args...)...)
	port := podman(t, h, "port", id, "80/tcp")
	return id, "http://" + port
}

func podman(t *testing.T, h *Host, args ...string) string {
	t.Helper()
	out, err := h.Podman(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fetch asks until there is an answer, since a container's program listens a moment after it was started.
func fetch(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-every.C {
		resp, err := client.Get(url)
		if err == nil {
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			return string(body)
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestHost_containersServeAndOutliveTheService(t *testing.T) {
	h := Start(t)
	one, url1 := published(t, h, Image1)
	_, url2 := published(t, h, Image2)
	for url, want := range map[string]string{url1: "version 1\n", url2: "version 2\n"} {
		if got := fetch(t, url); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", url, got, want)
		}
	}

	started := podman(t, h, "inspect", "--format", "{{.State.StartedAt}}", one)
	if err := h.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := podman(t, h, "inspect", "--format", "{{.State.StartedAt}}", one); got != started {
		t.Errorf("after a restart of the service: started at %s, want %s", got, started)
	}
	fetch(t, url1)

	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(h.Socket(), "unix://"))
		},
	}}
	resp, err := client.Get("http://podman/v4.0.0/libpod/containers/json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), one) {
		t.Errorf("list over the socket: got %v, %s; want container %s in it", err, body, one)
	}
}

func TestHost_rebootLeavesContainersExited(t *testing.T) {
	h := Start(t)
	id, url := published(t, h, Image1)
	fetch(t, url)
	if err := h.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := podman(t, h, "inspect", "--format", "{{.State.Status}}", id); got != "exited" {
		t.Errorf("after a reboot the container is %s, want exited", got)
	}
	podman(t, h, "start", id)
	fetch(t, url)
}

// A closed host leaves nothing, and one whose process has been killed leaves nothing that runs.
func TestHost_leavesNothing(t *testing.T) {
	dir := t.TempDir()
	h, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	subnet := h.subnet
	id, url := published(t, h, Image1)
	fetch(t, url)
	if err := h.killInit(); err != nil { // what the kernel does when stdin ends
		t.Fatal(err)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("the container still serves without its host")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the host's folder: %v, %v", left, err)
	}
	if _, err := net.InterfaceByName(subnet.name); err == nil {
		t.Errorf("bridge %s is left", subnet.name)
	}
	for _, group := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		if left, err := filepath.Glob(group + "/libpod_parent/libpod-" + id); err != nil || len(left) > 0 {
			t.Errorf("cgroups left: %v, %v", left, err)
		}
	}
	for _, table := range []string{"nat", "filter"} {
		if rules, err := command("", "iptables", "-t", table, "-S"); err != nil || strings.Contains(rules, subnet.prefix) {
			t.Errorf("firewall rules left: %v\n%s", err, rules)
		}
	}
}

func TestHost_twoDoNotMeet(t *testing.T) {
	a, b := Start(t), Start(t)
	published(t, a, Image1)
	_, url := published(t, b, Image1)
	fetch(t, url)
	if got := podman(t, b, "ps", "--quiet"); strings.Count(got, "\n") != 0 {
		t.Errorf("the second host sees more than its own container: %q", got)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	fetch(t, url)
}

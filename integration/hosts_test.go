package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// trio is three hosts with a Podman each, and their agents as one cluster: several lines share it, since it takes seconds
// to set up.
type trio struct {
	*street.Street
	psctl string
}

const apiTLSPort = 6443 // of the first host alone

func TestFailures_onThreeHosts(t *testing.T) {
	dir, err := os.MkdirTemp("", "hosts-") // its name is short: there are unix sockets below it
	must(t, err)
	bin := built.folder(t)
	s, err := street.Open(t.Context(), street.Options{Dir: dir, Hosts: 3, Bin: bin, Seed: 1,
		Args: []string{"--recovery-delay", "100ms", "--reschedule-after", "8s"}})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range s.Hosts {
				t.Logf("the agent of %s wrote:\n%s", h.Name, h.Agent.OutputTail())
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	first := s.Hosts[0]
	first.Agent.Args = append(first.Agent.Args, "--api-tls-addr", fmt.Sprintf("%s:%d", first.Addr(), apiTLSPort))
	must(t, street.Form(t.Context(), "lines", s.Hosts))
	c := &trio{s, filepath.Join(bin, "psctl")}
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"ports", c.ports}, {"apiOnTLS", c.apiOnTLS}, {"A9_A19_everywhere", c.everywhere}, {"A10_restarts", c.restarts},
		{"A10_B12_split", c.split}, {"A28_B4_B12_services", c.services}, {"A14_deletedWhileAway", c.deletedWhileAway},
	} {
		if !t.Run(part.name, part.test) {
			t.FailNow() // the next would find the hosts anyhow
		}
	}
}

// ports looks at who listens in each host's network: what was asked for and nothing else. Containers have none yet.
func (c *trio) ports(t *testing.T) {
	for n, h := range c.Hosts {
		out, err := h.Command(t.Context(), "ss", "-Hltn").Output()
		must(t, err)
		open, inside := []string{}, []string{}
		for line := range strings.Lines(string(out)) { // LISTEN 0 4096 127.0.0.1:8080 0.0.0.0:*
			f := strings.Fields(line)
			if len(f) < 4 {
				t.Fatalf("ss wrote %q", line)
			}
			if ip, port, _ := strings.Cut(f[3], ":"); ip == "127.0.0.1" {
				inside = append(inside, port)
			} else {
				open = append(open, f[3])
			}
		}
		slices.Sort(open)
		want := []string{h.ClusterAddr(), "10.96.0.10:53"} // which is an address of lo, and nobody beyond this host is let to it
		if n == 0 {
			want = append(want, fmt.Sprintf("%s:%d", h.Addr(), apiTLSPort))
		}
		slices.Sort(want)
		if !slices.Equal(open, want) {
			t.Errorf("beyond its loopback %s listens at %v, want %v alone", h.Name, open, want)
		}
		// The API, and what sync/mesh/DESIGN.md says that NATS cannot do without.
		if len(inside) != 3 || !slices.Contains(inside, "8080") {
			t.Errorf("on its loopback %s listens at %v, want the API's port and two of NATS", h.Name, inside)
		}
	}
}

// run runs psctl on a host, and gives what it writes, and its exit code.
func (c *trio) run(t *testing.T, h *street.Host, stdin string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	cmd := h.Command(ctx, c.psctl, args...)
	cmd.Stdin = strings.NewReader(stdin)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// ok runs psctl on a host, which must work.
func (c *trio) ok(t *testing.T, h *street.Host, stdin string, args ...string) string {
	t.Helper()
	out, code := c.run(t, h, stdin, args...)
	if code != 0 {
		t.Fatalf("psctl %s: exit code %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// apiOnTLS asks the first host's API from another host, with tokens that were made on a third, and with a certificate.
func (c *trio) apiOnTLS(t *testing.T) {
	first, second, third := c.Hosts[0], c.Hosts[1], c.Hosts[2]
	server := fmt.Sprintf("https://%s:%d", first.Addr(), apiTLSPort)
	ca := filepath.Join(third.Agent.DataDir, "authority", "authority.crt")
	token := func(name, scope string) string {
		lines := strings.Split(strings.TrimSpace(c.ok(t, second, "", "token", "create", name, "--scope", scope)), "\n")
		return lines[len(lines)-1]
	}
	far := func(token, stdin string, args ...string) (string, int) {
		return c.run(t, third, stdin, append([]string{"--server", server, "--ca", ca, "--token", token}, args...)...)
	}
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: by-%s}\nspec: {ports: [{port: 80}]}\n"
	reader, writer := token("reader", "read"), token("writer", "write")

	patiently(t, func() error { // the token's hash comes to the first host
		if out, code := far(reader, "", "get", "services"); code != 0 {
			return fmt.Errorf("a token that may read: exit code %d: %s", code, out)
		}
		if out, code := far(writer, fmt.Sprintf(service, "token"), "apply", "-f", "-"); code != 0 {
			return fmt.Errorf("a token that may write: exit code %d: %s", code, out)
		}
		return nil
	})
	if out, code := far(reader, fmt.Sprintf(service, "reader"), "apply", "-f", "-"); code == 0 || !strings.Contains(out, "read") {
		t.Errorf("a token that may only read changes something: exit code %d: %s", code, out)
	}
	for what, wrong := range map[string]string{"no token": "", "one that was never made": "pswarm_" + strings.Repeat("x", 43)} {
		if out, code := far(wrong, "", "get", "services"); code == 0 || !strings.Contains(strings.ToLower(out), "token") {
			t.Errorf("%s: exit code %d: %s, want it refused", what, code, out)
		}
	}
	c.ok(t, second, "", "token", "revoke", "reader")
	patiently(t, func() error {
		if out, code := far(reader, "", "get", "services"); code == 0 {
			return fmt.Errorf("a token that was revoked on another host still reads: %s", out)
		}
		return nil
	})

	cmd := first.Command(t.Context(), first.Agent.Bin, "kubeconfig", "--data-dir", first.Agent.DataDir, "--user", "alice", "--server", server)
	b, err := cmd.Output()
	must(t, err)
	file := filepath.Join(t.TempDir(), "alice.kubeconfig")
	must(t, os.WriteFile(file, b, 0o600))
	c.ok(t, third, fmt.Sprintf(service, "alice"), "--kubeconfig", file, "apply", "-f", "-")
	patiently(t, func() error { // who did it is known on the hosts that were not asked
		events, err := trial.Do(t.Context(), second.Client(), "GET", second.URL()+"/swarm/v1/events", "")
		if err != nil {
			return err
		}
		for object, actor := range map[string]string{"service/default/by-token": `"token:writer`, "service/default/by-alice": "alice"} {
			found := false
			for line := range strings.Lines(string(events)) {
				found = found || strings.Contains(line, object) && strings.Contains(line, actor)
			}
			if !found {
				return fmt.Errorf("no event of %s names %s as who did it: %s", object, actor, events)
			}
		}
		return nil
	})
}

// pod is a replica as an API shows it.
type pod struct {
	Metadata struct{ Name string }
	Spec     struct{ NodeName string }
	Status   struct{ Phase, Reason, Message string }
}

func podsOf(ctx context.Context, h *street.Host, deployment string) ([]pod, error) {
	var list struct{ Items []pod }
	err := trial.JSON(ctx, h.Client(), h.URL()+"/api/v1/pods", &list)
	return slices.DeleteFunc(list.Items, func(p pod) bool { return !strings.HasPrefix(p.Metadata.Name, deployment+"-") }), err
}

// settled waits until so many containers of a Deployment run on some hosts together, no pod twice, and the APIs of the hosts
// say so; it returns the containers, by host.
func (c *trio) settled(t *testing.T, hosts []*street.Host, deployment string, want int) (on [][]trial.Container) {
	t.Helper()
	patiently(t, func() error {
		on = nil
		seen, names := 0, map[string]bool{}
		for _, h := range hosts {
			all, err := trial.Containers(t.Context(), h.Podman)
			if err != nil {
				return err
			}
			of := trial.OfDeployment(all, deployment)
			for i := range of {
				if of[i].State != "running" {
					return fmt.Errorf("%s: %v", h.Name, &of[i])
				}
				seen++
				names[of[i].Labels["io.podman-swarm.pod"]] = true
			}
			on = append(on, of)
		}
		if seen != want || len(names) != want {
			return fmt.Errorf("%d containers of %d pods run, want %d: %v", seen, len(names), want, on)
		}
		for _, h := range hosts {
			pods, err := podsOf(t.Context(), h, deployment)
			if err != nil {
				return err
			}
			for _, p := range pods {
				if p.Status.Phase != "Running" {
					return fmt.Errorf("%s says of %s that it is %s: %s", h.Name, p.Metadata.Name, p.Status.Phase, p.Status.Message)
				}
			}
			if len(pods) != want {
				return fmt.Errorf("%s knows of %d pods, want %d", h.Name, len(pods), want)
			}
		}
		return nil
	})
	return on
}

// allReady waits until every host sees that all are: one that still recovers, by its last beat, is given nothing.
func (c *trio) allReady(t *testing.T) {
	t.Helper()
	for _, h := range c.Hosts {
		patiently(t, func() error {
			var st struct {
				Hosts []struct{ Ready bool }
			}
			err := trial.JSON(t.Context(), h.Client(), h.URL()+"/swarm/v1/status", &st)
			ready := 0
			for _, o := range st.Hosts {
				if o.Ready {
					ready++
				}
			}
			if err != nil || ready != len(c.Hosts) {
				return fmt.Errorf("%s sees %d hosts that are ready, want %d: %w", h.Name, ready, len(c.Hosts), err)
			}
			return nil
		})
	}
}

// Failure A.9: replicas placed on another node are never created anywhere: 4 replicas, 200 OK, 0 containers. Failure A.19:
// peers' objects reach a file only, never API, scheduler or Podman. Ours: each runs somewhere, or get says why not.
func (c *trio) everywhere(t *testing.T) {
	c.allReady(t)
	c.ok(t, c.Hosts[0], trial.Deployment("web", 4, ""), "apply", "-f", "-")
	for n, on := range c.settled(t, c.Hosts, "web", 4) {
		if len(on) == 0 {
			t.Errorf("none of 4 replicas runs on %s", c.Hosts[n].Name)
		}
	}
	nowhere := strings.Replace(trial.Deployment("nowhere", 1, ""), "    spec:\n", "    spec:\n      nodeSelector: {disk: none-has-this}\n", 1)
	c.ok(t, c.Hosts[0], nowhere, "apply", "-f", "-")
	for _, h := range c.Hosts {
		patiently(t, func() error {
			pods, err := podsOf(t.Context(), h, "nowhere")
			if err != nil || len(pods) != 1 || pods[0].Status.Phase != "Pending" {
				return fmt.Errorf("%s shows %v, want one that is pending: %w", h.Name, pods, err)
			}
			for _, args := range [][]string{{"get", "pods"}, {"status"}} {
				if out, _ := c.run(t, h, "", args...); !strings.Contains(out, "none-has-this") {
					return fmt.Errorf("psctl %s on %s does not say why the replica runs nowhere: %s", strings.Join(args, " "), h.Name, out)
				}
			}
			return nil
		})
	}
	c.ok(t, c.Hosts[2], "", "delete", "deployment", "nowhere")
}

// Failure A.10: recovery places anew at random on every node: 4 wanted, 5, 3, 3 and 4 got in four tries. Ours: the wanted
// number, and the same ones.
func (c *trio) restarts(t *testing.T) {
	before := c.settled(t, c.Hosts, "web", 4)
	for _, h := range c.Hosts {
		must(t, h.Agent.Kill())
	}
	together, ctx := errgroup.WithContext(t.Context())
	for _, h := range c.Hosts {
		together.Go(func() error { return h.Up(ctx) })
	}
	must(t, together.Wait())
	for n, now := range c.settled(t, c.Hosts, "web", 4) {
		for _, b := range trial.Bounced(before[n], now) {
			t.Errorf("%s: %s", c.Hosts[n].Name, b)
		}
	}
}

// Failure A.10: 8 run after a split where 4 were wanted. Failure B.12: after a partition the view lies. Ours says Unknown
// of what a silent host had, on both sides, until it has moved; and what runs twice then ends with the split.
func (c *trio) split(t *testing.T) {
	rest, alone := c.Hosts[:2], c.Hosts[2]
	c.CutOff(alone.Number)
	for _, side := range [][2]*street.Host{{rest[0], alone}, {alone, rest[0]}} { // first who will move what is lost
		from, silent := side[0], side[1]
		patiently(t, func() error {
			out, err := trial.Do(t.Context(), from.Client(), "GET", from.URL()+"/swarm/v1/status", "")
			if err != nil {
				return err
			}
			var st struct {
				Hosts []struct{ Host, State string }
			}
			if err := json.Unmarshal(out, &st); err != nil {
				return err
			}
			for _, h := range st.Hosts {
				if h.Host == silent.Name && h.State == "silent" {
					return nil
				}
			}
			return fmt.Errorf("%s does not say that %s is silent: %s", from.Name, silent.Name, out)
		})
		patiently(t, func() error { // status tells what is so, pods what has been recorded of it: an fsync later
			pods, err := podsOf(t.Context(), from, "web")
			if err != nil {
				return err
			}
			unknown := 0
			for _, p := range pods {
				if p.Spec.NodeName != silent.Name {
					continue
				}
				if unknown++; p.Status.Phase != "Unknown" || p.Status.Reason != "NodeLost" {
					return fmt.Errorf("%s says of %s on %s, which is silent, %s %s, want Unknown NodeLost", from.Name, p.Metadata.Name, silent.Name,
						p.Status.Phase, p.Status.Reason)
				}
			}
			if unknown == 0 {
				return fmt.Errorf("%s shows no pods of %s: %v", from.Name, silent.Name, pods)
			}
			return nil
		})
	}
	c.settled(t, rest, "web", 4)
	c.Heal()
	c.settled(t, c.Hosts, "web", 4)
}

// patiently tries until there is no error, for up to a minute: real containers of three hosts share one machine.
func patiently(t *testing.T, try func() error) {
	t.Helper()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-every.C {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

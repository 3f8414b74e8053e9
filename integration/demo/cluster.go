package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// cluster is the hosts of the demo.
type cluster struct {
	*street.Street
	psctlBin string
}

// psctl runs psctl on a host, shows what it says, and returns that.
func (c *cluster) psctl(ctx context.Context, h *street.Host, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return show(c.command(ctx, h, args...), h.Name+"$ psctl "+strings.Join(args, " "))
}

func (c *cluster) command(ctx context.Context, h *street.Host, args ...string) *exec.Cmd {
	cmd := h.Command(ctx, c.psctlBin, args...)
	cmd.Env = append(os.Environ(), "PSCTL_SERVER="+h.URL())
	return cmd
}

// start starts a host's agent with further flags. On return it is ready.
func (c *cluster) start(ctx context.Context, h *street.Host, flags ...string) error {
	h.Agent.Args = append(h.Agent.Args, flags...)
	shown := make([]string, len(flags))
	for i, f := range flags {
		if shown[i] = f; i > 0 && flags[i-1] == "--join-token" {
			shown[i] = "$TOKEN"
		}
	}
	fmt.Printf("   %s$ podman-swarm-agent --data-dir … %s\n", h.Name, strings.Join(shown, " "))
	return h.Up(ctx)
}

// replicas are the running containers of a Deployment, by the host they run on.
func (c *cluster) replicas(ctx context.Context, deployment string) (map[*street.Host][]container, error) {
	at := map[*street.Host][]container{}
	for _, h := range c.Hosts {
		if !h.Podman.On() {
			continue
		}
		all, err := list(ctx, h.Podman)
		if err != nil {
			return nil, fmt.Errorf("what runs on %s: %w", h.Name, err)
		}
		for _, r := range all {
			name := r.Config.Labels["io.podman-swarm.pod"]
			if strings.HasPrefix(name, deployment+"-") && r.State.Status == "running" {
				at[h] = append(at[h], r)
			}
		}
	}
	return at, nil
}

// run waits until so many replicas of a Deployment run, each once and each on one of the hosts.
func (c *cluster) run(ctx context.Context, deployment string, want int, on ...*street.Host) (at map[*street.Host][]container, err error) {
	err = until(ctx, func() error {
		if at, err = c.replicas(ctx, deployment); err != nil {
			return err
		}
		pods, total := map[string]bool{}, 0
		for h, containers := range at {
			for _, r := range containers {
				pods[r.Config.Labels["io.podman-swarm.pod"]] = true
				total++
			}
			if len(on) > 0 && !slices.Contains(on, h) {
				return fmt.Errorf("%s still runs %v", h.Name, containers)
			}
		}
		if len(pods) != want || total != want {
			return fmt.Errorf("%d replicas of %s run in %d containers, want %d", len(pods), deployment, total, want)
		}
		return nil
	})
	return at, err
}

// answering asks each replica for its page, from another host.
func (c *cluster) answering(ctx context.Context, at map[*street.Host][]container) error {
	hosts := slices.SortedFunc(maps.Keys(at), func(a, b *street.Host) int { return a.Number - b.Number })
	for _, h := range hosts {
		from := c.Hosts[(h.Number+1)%len(c.Hosts)]
		if !from.Podman.On() {
			from = c.Hosts[(h.Number+2)%len(c.Hosts)]
		}
		for _, r := range at[h] {
			ports := r.NetworkSettings.Ports["80/tcp"]
			if len(ports) == 0 {
				return fmt.Errorf("%s: port 80 is not published", r)
			}
			url := fmt.Sprintf("http://%s:%s/", h.Addr(), ports[0].HostPort)
			if err := until(ctx, func() error {
				_, err := trial.Do(ctx, from.Client(), http.MethodGet, url, "")
				return err
			}); err != nil {
				return fmt.Errorf("%s: %w", r, err)
			}
			fmt.Printf("   %s$ curl %s   answers: %s on %s\n", from.Name, url, r.Config.Labels["io.podman-swarm.pod"], h.Name)
		}
	}
	return nil
}

// reached asks the Service of the web server at its own address, from each host that is on, and its Ingress, until one of the replicas has answered.
func (c *cluster) reached(ctx context.Context) error {
	var service struct{ Spec struct{ ClusterIP string } }
	first := c.Hosts[0]
	if err := trial.JSON(ctx, first.Client(), first.URL()+"/api/v1/namespaces/default/services/web", &service); err != nil {
		return err
	}
	for _, h := range c.Hosts {
		if !h.Podman.On() {
			continue
		}
		for _, way := range []struct{ url, host string }{{"http://" + service.Spec.ClusterIP + "/", ""}, {"http://" + h.Addr() + "/", "web.example.com"}} {
			var answer string
			if err := until(ctx, func() (err error) {
				answer, err = ask(ctx, h.Client(), way.url, way.host)
				return err
			}); err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
			header := ""
			if way.host != "" {
				header = "-H 'Host: " + way.host + "' "
			}
			fmt.Printf("   %s$ curl %s%s   answers: %s\n", h.Name, header, way.url, answer)
		}
	}
	return nil
}

// ask gives the name of the replica that answers.
func ask(ctx context.Context, client *http.Client, url, host string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Host = host
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(body), "\n")
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", url, answer.Status, line)
	}
	return strings.TrimPrefix(line, "host "), nil
}

// has reports whether a host's API shows an object.
func (c *cluster) has(ctx context.Context, h *street.Host, path string) (bool, error) {
	_, err := trial.Do(ctx, h.Client(), http.MethodGet, h.URL()+path, "")
	var status *trial.StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// everywhere waits until the API of each host shows an object, or until none does.
func (c *cluster) everywhere(ctx context.Context, path string, want bool) error {
	return until(ctx, func() error {
		for _, h := range c.Hosts {
			if got, err := c.has(ctx, h, path); err != nil {
				return err
			} else if got != want {
				return fmt.Errorf("%s on %s: there: %v, want %v", path, h.Name, got, want)
			}
		}
		return nil
	})
}

// until tries until there is no error, for up to a minute.
func until(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after a minute: %w", err)
		case <-every.C:
		}
	}
}

func newCluster(ctx context.Context, bin string, hosts int) (*cluster, error) {
	psctl, err := filepath.Abs(filepath.Join(bin, "psctl"))
	if err != nil {
		return nil, err
	}
	s, err := street.Open(ctx, street.Options{Hosts: hosts, Bin: bin, Args: []string{"--recovery-delay", "1s"}})
	if err != nil {
		return nil, err
	}
	return &cluster{Street: s, psctlBin: psctl}, nil
}

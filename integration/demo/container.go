package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// container is what Podman says of one.
type container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Status    string
		Pid       int
		StartedAt string
	}
	Config struct {
		Labels map[string]string
	}
	NetworkSettings struct {
		Ports map[string][]struct{ HostIP, HostPort string }
	}
}

func (c container) String() string {
	return fmt.Sprintf("%.12s %s, %s, pid %d, started %s", c.ID, c.Name, c.State.Status, c.State.Pid, c.State.StartedAt)
}

// url is where the container's port 80 is published.
func (c container) url() (string, error) {
	ports := c.NetworkSettings.Ports["80/tcp"]
	if len(ports) == 0 {
		return "", fmt.Errorf("%s: port 80 is not published", c)
	}
	ip := ports[0].HostIP
	if ip == "" || ip == "0.0.0.0" {
		ip = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(ip, ports[0].HostPort), nil
}

// list returns all containers of the host, running or not, by name.
func list(ctx context.Context, host *podmanhost.Host) ([]container, error) {
	ids, err := host.Podman(ctx, "ps", "--all", "--quiet", "--no-trunc")
	if err != nil || ids == "" {
		return nil, err
	}
	out, err := host.Podman(ctx, append([]string{"inspect"}, strings.Fields(ids)...)...)
	if err != nil {
		return nil, err
	}
	var all []container
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("read podman inspect: %w", err)
	}
	slices.SortFunc(all, func(a, b container) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// fetch gets a page, and tries again for ten seconds: a container runs a moment before its program listens.
func fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		page, err := trial.Get(ctx, url)
		if err == nil {
			return string(page), nil
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-every.C:
		}
	}
}

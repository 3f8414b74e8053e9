package street

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// APIAddr is where each agent's API listens, on the loopback of its own host.
const APIAddr = "127.0.0.1:8080"

// Host is one host of a street. Its methods are not for concurrent use, but for those that only ask: Dial, Client,
// Command, NetworkAddr, and those of Podman that are.
type Host struct {
	Number int // from 0 on
	Name   string
	Podman *podmanhost.Host
	Agent  *trial.Agent // as a process; Start of this package's Host gives it what it needs

	dir   string
	wires *Switch

	mu      sync.Mutex
	network string // as Podman.NetworkFile gives it; "" while the host is off
}

// Addr is the host's address on the street.
func (h *Host) Addr() string { return address(h.Number) }

// Dial connects from within the host's network, so that 127.0.0.1 is the host itself. The address must be an IP and a
// port. Every error is a *net.OpError whose Op is "dial", as of any dialer: nothing has been sent.
func (h *Host) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	h.mu.Lock()
	file := h.network
	h.mu.Unlock()
	if file == "" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s is off, and %s cannot be reached from it", h.Name, addr)}
	}
	err = within(file, func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return err
	})
	var op *net.OpError
	if err != nil && !errors.As(err, &op) { // the host has lost its power just now
		err = &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return conn, err
}

// Client asks from within the host's network, on a connection of its own each time.
func (h *Host) Client() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.Dial}}
}

// URL is the agent's API, for Client.
func (h *Host) URL() string { return "http://" + APIAddr }

// Command is a program that will run on the host, which must be on. It is killed when ctx ends.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	line := append(append(h.Podman.Inside(), name), args...)
	return exec.CommandContext(ctx, line[0], line[1:]...)
}

// Start starts the host's agent, and does not wait for it to do anything. The host must be on, and the agent not run.
func (h *Host) Start() error {
	h.Agent.Before = h.Podman.Inside()
	return h.Agent.Start()
}

// Up is Start, and returns when the agent is ready.
func (h *Host) Up(ctx context.Context) error {
	if err := h.Start(); err != nil {
		return err
	}
	return h.Agent.Ready(ctx)
}

// PowerOff ends all that runs on the host, at once and with nobody told: containers, Podman, agent, network.
// What they wrote to files is kept, as it would be by a disk that has been told to sync all of it.
func (h *Host) PowerOff() error {
	h.mu.Lock()
	h.network = ""
	h.mu.Unlock()
	err := errors.Join(h.Agent.Kill(), h.wires.detach(h.Number), h.Podman.PowerOff())
	if err != nil {
		return fmt.Errorf("cut the power of %s: %w", h.Name, err)
	}
	return nil
}

// PowerOn starts the host again after PowerOff, and connects it. The agent does not run yet, and no container does.
func (h *Host) PowerOn(ctx context.Context) error {
	if err := h.Podman.PowerOn(ctx); err != nil {
		return fmt.Errorf("switch %s on: %w", h.Name, err)
	}
	return h.connect()
}

// LoseDisk removes the agent's data dir, while the agent does not run. What Podman holds is kept.
func (h *Host) LoseDisk() error {
	if !h.Agent.Ended() {
		return fmt.Errorf("lose the disk of %s: its agent runs", h.Name)
	}
	return os.RemoveAll(h.Agent.DataDir)
}

// open makes the host and connects it.
func (h *Host) open(ctx context.Context, image []byte) (err error) {
	home := filepath.Join(h.dir, "podman")
	if err := os.MkdirAll(home, 0o750); err != nil {
		return err
	}
	if h.Podman, err = podmanhost.OpenApart(ctx, home, image); err != nil {
		return err
	}
	h.Agent.Podman = h.Podman.Socket()
	return h.connect()
}

// connect plugs the host's network device into the switch.
func (h *Host) connect() error {
	network := h.Podman.NetworkFile()
	tap, err := openTap(network)
	if err != nil {
		return fmt.Errorf("connect %s: %w", h.Name, err)
	}
	h.wires.attach(h.Number, tap)
	if err := configure(h.Podman.Inside(), h.Number); err != nil {
		return fmt.Errorf("connect %s: %w", h.Name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.network = network
	return nil
}

// close ends the host.
func (h *Host) close() error {
	err := errors.Join(h.Agent.Kill(), h.wires.detach(h.Number))
	if h.Podman != nil {
		err = errors.Join(err, h.Podman.Close())
	}
	return err
}

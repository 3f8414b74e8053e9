package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// street is a private Podman and the built agent upon it.
type street struct {
	dir    string
	host   *podmanhost.Host
	agent  *trial.Agent
	podman *http.Client // to Podman's socket
	api    *http.Client // to the agent
}

// openStreet makes a street in a folder below dir. The agent does not run yet.
func (b *bench) openStreet(ctx context.Context) (s *street, err error) {
	bin := filepath.Join(b.bin, "podman-swarm-agent")
	if _, err := os.Stat(bin); err != nil {
		return nil, fmt.Errorf("the built agent: %w; `task build` makes it", err)
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	s = &street{api: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if s.dir, err = os.MkdirTemp(b.dir, "host-"); err != nil {
		return nil, err
	}
	home := filepath.Join(s.dir, "p")
	if err := os.Mkdir(home, 0o750); err != nil {
		return nil, err
	}
	if s.host, err = podmanhost.Open(ctx, home); err != nil {
		return nil, err
	}
	socket := strings.TrimPrefix(s.host.Socket(), "unix://")
	s.podman = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
	s.agent = &trial.Agent{Bin: bin, DataDir: filepath.Join(s.dir, "data"), Podman: s.host.Socket(), Node: "bench",
		Args: []string{"--recovery-delay", "0s"}, Output: filepath.Join(s.dir, "agent.log")}
	return s, nil
}

// close ends the agent and the host with its containers, and removes all files.
func (s *street) close() error {
	s.podman.CloseIdleConnections()
	return errors.Join(s.agent.Kill(), s.host.Close(), os.RemoveAll(s.dir))
}

// call asks Podman, and decodes the answer into v unless that is nil.
func (s *street) call(ctx context.Context, method, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://podman/v4.0.0/libpod/"+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.podman.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("podman %s %s: %s: %s", method, path, resp.Status, body.String())
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(body.Bytes(), v)
}

type container struct {
	ID    string `json:"Id"`
	State string
}

func (s *street) containers(ctx context.Context) (all []container, err error) {
	return all, s.call(ctx, http.MethodGet, "containers/json?all=true", &all)
}

// all waits until there are n containers and all are in that state.
func (s *street) all(ctx context.Context, n int, state string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	return until(ctx, 50*time.Millisecond, func() error {
		all, err := s.containers(ctx)
		if err != nil {
			return err
		}
		var so int
		for _, c := range all {
			if c.State == state {
				so++
			}
		}
		if so != n || len(all) != n {
			return fmt.Errorf("%d containers, %d of them %s: want %d", len(all), so, state, n)
		}
		return nil
	})
}

// each calls do with every container, so many at the same time.
func (s *street) each(ctx context.Context, at int, do func(ctx context.Context, id string) error) error {
	all, err := s.containers(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(at)
	for _, c := range all {
		group.Go(func() error { return do(ctx, c.ID) })
	}
	return group.Wait()
}

// run has the agent run so many replicas, ten to a Deployment, and returns when they all do. The agent runs then.
func (s *street) run(ctx context.Context, replicas int) error {
	if err := s.agent.Up(ctx); err != nil {
		return err
	}
	for i := 0; i < replicas; i += 10 {
		name := fmt.Sprintf("web%d", i/10)
		if _, err := trial.Apply(ctx, s.api, s.agent.URL(), trial.Deployment(name, min(10, replicas-i), "")); err != nil {
			return err
		}
	}
	return s.all(ctx, replicas, "running")
}

// apply hands the agent many versions of Deployments without replicas, some to a manifest and manifests at a time.
func (s *street) apply(ctx context.Context, keys, versions int) error {
	all, err := newObjects(objectSize)
	if err != nil {
		return err
	}
	const many, clients = 50, 4
	for v := range versions {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(clients)
		for from := 0; from < keys; from += many {
			group.Go(func() error {
				var items [][]byte
				for i := from; i < min(from+many, keys); i++ {
					items = append(items, bytes.Replace(all.of(i, v), []byte(`"replicas":3`), []byte(`"replicas":0`), 1))
				}
				list := `{"apiVersion":"v1","kind":"List","items":[` + string(bytes.Join(items, []byte(","))) + `]}`
				_, err := trial.Apply(ctx, s.api, s.agent.URL(), list)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

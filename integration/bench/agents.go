package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	hosts "github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// agents measures (m): three hosts of their own networks with an agent and a Podman each, as people see them.
func (b *bench) agents(ctx context.Context) (rows []row, err error) {
	s, err := hosts.Open(ctx, hosts.Options{Dir: b.dir, Hosts: 3, Bin: b.bin, Seed: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := hosts.Form(ctx, "bench", s.Hosts); err != nil {
		return nil, err
	}
	a := &crowd{street: s, all: nil}
	if a.all, err = newObjects(objectSize); err != nil {
		return nil, err
	}
	if err := a.fill(ctx, b.scale(clusterObjects, 100)); err != nil {
		return nil, err
	}
	if rows, err = a.shown(ctx, b); err != nil {
		return rows, err
	}
	more, err := a.idle(ctx, b)
	return append(rows, more...), err
}

// crowd is hosts with agents.
type crowd struct {
	street *hosts.Street
	all    *objects
}

// client asks the host's agent, on connections that are kept.
func client(h *hosts.Host) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.Dial, MaxIdleConnsPerHost: 4}}
}

// none is version v of Deployment i, which wants no replicas.
func (a *crowd) none(i, v int) string {
	return strings.Replace(string(a.all.of(i, v)), `"replicas":3`, `"replicas":0`, 1)
}

func (a *crowd) fill(ctx context.Context, n int) error {
	const many = 50
	first, c := a.street.Hosts[0], client(a.street.Hosts[0])
	defer c.CloseIdleConnections()
	for from := 0; from < n; from += many {
		var items []string
		for i := from; i < min(from+many, n); i++ {
			items = append(items, a.none(i, 0))
		}
		list := `{"apiVersion":"v1","kind":"List","items":[` + strings.Join(items, ",") + `]}`
		if _, err := trial.Apply(ctx, c, first.URL(), list); err != nil {
			return err
		}
	}
	return nil
}

// watch follows the Deployments that a host shows, and tells when each version was seen.
func (a *crowd) watch(ctx context.Context, h *hosts.Host, seen chan<- seenAt) error {
	c := client(h)
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL()+"/apis/apps/v1/namespaces/default/deployments?watch=true", nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReaderSize(resp.Body, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("a watch on %s ended: %w", h.Name, err)
		}
		at := time.Now()
		var e struct {
			Object struct {
				Metadata struct{ Annotations map[string]string }
			}
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if v, err := strconv.Atoi(e.Object.Metadata.Annotations["example.com/change"]); err == nil && v > 0 {
			seen <- seenAt{v, at}
		}
	}
}

// seenAt is when a version was shown.
type seenAt struct {
	version int
	at      time.Time
}

// shown measures from a POST to the first host until watches on both others tell of it.
func (a *crowd) shown(ctx context.Context, b *bench) (rows []row, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	defer func() {
		stop()
		err = errors.Join(err, group.Wait())
	}()
	first, c := a.street.Hosts[0], client(a.street.Hosts[0])
	defer c.CloseIdleConnections()
	var watches []chan seenAt
	for _, h := range a.street.Hosts[1:] {
		seen := make(chan seenAt, 1024)
		watches = append(watches, seen)
		group.Go(func() error { return a.watch(ctx, h, seen) })
	}
	version := 0
	post, shown := &series{name: "POST"}, &series{name: "shown"}
	shown.once = func() (time.Duration, error) {
		version++
		manifest := a.none(version%50, version)
		began := time.Now()
		if _, err := trial.Apply(ctx, c, first.URL(), manifest); err != nil {
			return 0, err
		}
		post.took = append(post.took, time.Since(began))
		last := began
		for _, seen := range watches {
			for got := (seenAt{}); got.version != version; {
				select {
				case got = <-seen:
				case <-time.After(20 * time.Second):
					return 0, fmt.Errorf("version %d is not shown by another host within 20 s", version)
				case <-ctx.Done():
					return 0, context.Cause(ctx)
				}
				if got.version == version && got.at.After(last) {
					last = got.at
				}
			}
		}
		return last.Sub(began), nil
	}
	disk, err := openBed(ctx, b.dir, 1, objectSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, disk.close()) }()
	bytes, err := disk.applySize(ctx)
	if err != nil {
		return nil, err
	}
	get := timed("GET", func() error {
		_, err := trial.Do(ctx, c, http.MethodGet, first.URL()+"/livez", "")
		return err
	})
	fsync := &series{name: "fsync", once: func() (time.Duration, error) { return disk.write(bytes) }}
	plain, err := openBare(ctx, 3)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	way := timed("NATS", func() error { return plain.send(ctx, disk.block[:bytes], 1) })
	if err := interleave(ctx, 10, shown); err != nil { // until the watches are up
		return nil, err
	}
	shown.took, post.took = nil, nil
	if err := interleave(ctx, b.scale(500, 20), shown, get, fsync, way); err != nil {
		return nil, err
	}
	for _, q := range []struct {
		name string
		of   float64
	}{{"median", 0.5}, {"p99", 0.99}} {
		ours, theirs := shown.quantile(q.of), way.quantile(q.of)+fsync.quantile(q.of)
		r := row{Figure: "m  POST until watches on both other hosts tell of it, " + q.name, Ours: span(ours),
			With: "bare NATS one way and one fsync", Theirs: span(theirs), Ratio: float64(ours) / float64(theirs)}
		if q.of == 0.99 {
			r = r.aim("<= 10 ms", ours <= 10*time.Millisecond).
				note("%d times; the POST itself took %s, p99 %s; bare HTTP to the same agent %s, p99 %s; three agents, each in a network of its own",
					len(shown.took), span(post.median()), span(post.quantile(0.99)), span(get.median()), span(get.quantile(0.99)))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// idle measures what goes over the wires of the hosts while nothing happens, and what the agents hold of the memory.
func (a *crowd) idle(ctx context.Context, b *bench) (rows []row, err error) {
	settle, window := 90*time.Second, time.Minute // until the backup that follows the changes is told of too; and some of what is sent is sent once a minute
	if b.short {
		settle, window = 6*time.Second, 4*time.Second
	}
	if err := idle(ctx, settle); err != nil {
		return nil, err
	}
	was, err := a.carried()
	if err != nil {
		return nil, err
	}
	if err := idle(ctx, window); err != nil {
		return nil, err
	}
	is, err := a.carried()
	if err != nil {
		return nil, err
	}
	n := float64(len(a.street.Hosts)) * window.Minutes()
	sent, frames := (is.bytes-was.bytes)/n, (is.frames-was.frames)/n
	rows = append(rows, row{Figure: "m  on the wire while idle, sent by each of 3 hosts", Ours: sizeOf(int64(sent)) + "/min",
		With: "as many frames, empty", Theirs: sizeOf(int64(frames*66)) + "/min", Ratio: sent / (frames * 66)}.
		aim("<= 20 kB/min", sent <= 20_000).
		note("counted by the kernel at each host's device, Ethernet heads included, over %v: %.0f frames of %.0f bytes", window, frames, sent/frames))
	for _, h := range a.street.Hosts {
		ours, err := resident(h.Agent.Pid(), "VmRSS")
		if err != nil {
			return rows, err
		}
		rows = append(rows, row{Figure: "m  memory of the agent of " + h.Name, Ours: size(ours)})
	}
	return rows, nil
}

// device is the name of a street's hosts' network device.
const device = "eth0"

type carried struct{ bytes, frames float64 }

// carried is what all hosts have sent on the street.
func (a *crowd) carried() (all carried, err error) {
	for _, h := range a.street.Hosts {
		// The first process of the host is in its network: /proc/PID/ns/net, and beside it /proc/PID/net.
		file := filepath.Join(filepath.Dir(filepath.Dir(h.Podman.NetworkFile())), "net", "dev")
		found := false
		err := lines(file, func(line string) {
			name, counters, _ := strings.Cut(strings.TrimSpace(line), ":")
			if f := strings.Fields(counters); name == device && len(f) >= 10 {
				bytes, err1 := strconv.ParseFloat(f[8], 64)
				frames, err2 := strconv.ParseFloat(f[9], 64)
				all.bytes, all.frames, found = all.bytes+bytes, all.frames+frames, err1 == nil && err2 == nil
			}
		})
		if err != nil {
			return all, fmt.Errorf("read the counters of %s: %w", h.Name, err)
		}
		if !found {
			return all, fmt.Errorf("%s has no device %s in %s", h.Name, device, file)
		}
	}
	return all, nil
}

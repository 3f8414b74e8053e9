package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/cmd/internal/tracing"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// What the parts want of each other, in each other's words.

// recovering says whether the recovery is still under way, and what it is about.
func (a *agent) recovering() (bool, string) {
	p := a.reconciler.Progress()
	if p.Stage == podman.Ready {
		return false, ""
	}
	if p.Stage == "" || p.Stage == podman.Settling {
		if why := a.refusing(); why != "" {
			return true, why
		}
	}
	return true, string(p.Stage)
}

// trace tells OpenTelemetry what becomes of each change, until ctx ends; what is left to tell then has two seconds.
func (a *agent) trace(ctx context.Context) error {
	log := a.part("tracing")
	p, err := tracing.Open(ctx, a.c.NodeName, a.c.ClusterName, version, log)
	if err != nil {
		return err
	}
	s := &tracing.Spans{Ledger: a.ledger, Node: a.c.NodeName, Tracer: p.Tracer("github.com/podman-swarm/podman-swarm"), Log: log}
	a.spans.Store(s)
	err = s.Run(ctx)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := p.Shutdown(end); err != nil {
		log.Warn("the last traces could not be sent", "err", err)
	}
	return err
}

// answered tells of a request what there is to measure of it, and who asked what came of it in their trace.
func (a *agent) answered(r api.Answered) {
	a.metrics.answered(r)
	if s := a.spans.Load(); s != nil && !r.Event.IsZero() {
		s.Asked(&tracing.Request{Method: r.Method, Route: r.Route, Code: r.Code, Traceparent: r.Traceparent, Event: r.Event}, r.Took)
	}
}

// health is what the agent knows of itself beside its state.
func (a *agent) health() api.Health {
	h := api.Health{Podman: a.reconciler.Progress().Podman, Problems: slices.Concat(a.archive.problems(), a.audit.problems(), a.services.problems(), a.unfinished(), beside(a.reconciler.Beside()))}
	if err := a.events.Writable(); err != nil {
		h.ReadOnly = err.Error()
	}
	if err := a.backups.Made().Failed; err != nil {
		h.Backups = err.Error()
	}
	if w := a.view.Written(); w != nil {
		h.Snapshot = w.At
		if w.Err != nil {
			h.Snapshots = w.Err.Error()
		}
	}
	return h
}

// beside is what a person ought to see of the containers of those names, which run on this host beside replicas, or instead of any, and are none of this agent's.
func beside(names, instead []string) (all []api.Problem) {
	const what = "containers that no agent made have names as the original program gave to replicas: "
	if len(names) > 0 {
		all = append(all, api.Problem{What: what + strings.Join(names, ", "),
			Why: "they run beside the new replicas of those Deployments, get no requests from Services here, and are not touched",
			Do:  "podman stop " + strings.Join(names, " ") + ", on this host, once the new replicas run. It is looked again within a minute"})
	}
	if len(instead) > 0 {
		all = append(all, api.Problem{What: what + strings.Join(instead, ", "),
			Why: "those Deployments of the old state.json could not be declared, so there are no new replicas; these get no requests from Services here, and are not touched",
			Do:  "Let them run, and declare those Deployments yourself. It is looked again within a minute"})
	}
	return all
}

// logs opens the log of one of this host's containers.
func (a *agent) logs(ctx context.Context, host, container string, o api.LogOptions) (io.ReadCloser, error) {
	if host != a.c.NodeName {
		return a.otherLog(ctx, host, container, o)
	}
	r, err := a.engine.Logs(ctx, container, podman.LogOptions{
		Follow: o.Follow, Timestamps: o.Timestamps, Since: o.Since, Tail: int(max(0, o.Tail)), Limit: o.Tail >= 0})
	return r, known(err)
}

// refusing says why changes are refused for now.
func (a *agent) refusing() string {
	select {
	case <-a.heard:
		return ""
	default:
		why, _ := a.waiting.Load().(string)
		return cmp.Or(why, "it has just started")
	}
}

// host completes what there is to say of this host.
func (a *agent) host(h projection.Host) projection.Host {
	h.Boot = a.boot
	if a.c.cidr.IsValid() {
		h.ServiceCIDR = a.c.cidr.String()
	}
	said, _ := a.saidHost() // whose address stays as long as there is no other: a route may be away for a moment
	h.Cluster, h.Address, h.Version, h.Started = a.c.ClusterName, cmp.Or(a.c.NodeAddress, defaultAddress(), said.Address, "127.0.0.1"), version, a.started.UTC()
	h.Labels = map[string]string{
		"kubernetes.io/hostname": a.c.NodeName, "kubernetes.io/os": runtime.GOOS, "kubernetes.io/arch": runtime.GOARCH}
	maps.Copy(h.Labels, a.c.NodeLabels)
	// Somebody's word that this host is dead is over: it was cut off, and is here. Every reader goes by whether it has
	// started since, and the clock of who gave that word may be ahead.
	if n, _ := projection.Read[projection.Node](a.ledger.View().State, projection.NodeKey(a.c.NodeName)); n.Down.After(h.Started) {
		h.Started = n.Down.Add(time.Millisecond).UTC()
	}
	return h
}

// bootID tells one start of this host's kernel from every other, also where a clock is wrong; "" where it cannot be read: then nothing follows from it.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// defaultAddress is this host's address on the way to everywhere else; "" when there is no way. Nothing is sent.
func defaultAddress() string {
	c, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return ""
	}
	defer c.Close()
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return a.IP.String()
	}
	return ""
}

// document is the state as state.json has it.
func (a *agent) document(s *projection.State) any { return document{a.c.NodeName, s} }

type document struct {
	node  string
	state *projection.State
}

// MarshalJSON gives the document.
func (d document) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := snapshot.WriteDocument(&b, d.node, d.state)
	return b.Bytes(), err
}

// orphans are the reconciler's, as the API lists them.
type orphans struct{ r *podman.Reconciler }

// List gives them as of the reconciler's last look.
func (o orphans) List(context.Context) ([]api.Orphan, error) {
	switch p := o.r.Progress(); {
	case p.Podman != "":
		return nil, apierrors.NewServiceUnavailable("what containers there are is not known: " + p.Podman)
	case p.Stage == "" || p.Stage == podman.Adopting:
		return nil, apierrors.NewServiceUnavailable("what containers there are is not known yet: the agent has just started")
	}
	var all []api.Orphan
	for _, c := range o.r.Orphans() {
		all = append(all, api.Orphan{ID: c.ID, Name: c.Name, Key: c.Pod.Namespace + "/" + c.Pod.Name(),
			Image: c.Image, State: string(c.Status), Created: c.Created, Why: c.Why})
	}
	return all, nil
}

// Adopt makes an orphan the container of its pod.
func (o orphans) Adopt(ctx context.Context, by projection.By, id string) error {
	return known(o.r.AdoptOrphan(ctx, by, id))
}

// Remove stops and removes an orphan.
func (o orphans) Remove(ctx context.Context, by projection.By, id string) error {
	return known(o.r.RemoveOrphan(ctx, by, id))
}

// known says in the API's terms what is wrong about a container.
func known(err error) error {
	switch {
	case errors.Is(err, podman.ErrNotFound), errors.Is(err, podman.ErrNoOrphan):
		return classed{err, fs.ErrNotExist}
	case errors.Is(err, podman.ErrMisfit):
		return classed{err, api.ErrMisfit}
	case errors.Is(err, podman.ErrUnavailable), errors.Is(err, context.DeadlineExceeded): // requests have none, but what Podman is asked
		return apierrors.NewServiceUnavailable(err.Error())
	}
	return err
}

// classed is an error that somebody else knows by another name.
type classed struct {
	error
	class error
}

// Unwrap gives both.
func (c classed) Unwrap() []error { return []error{c.error, c.class} }

// say logs what was found, as the first thing that people look for after a restart.
func (a *agent) say(replayed uint64) {
	v := a.ledger.View()
	count := func(typ string) (n int) {
		for range v.All(typ + "/") {
			n++
		}
		return n
	}
	a.log.Info("storage initialized", "index", v.Index(), "replayed", replayed, "seconds", time.Since(a.started).Seconds())
	a.log.Info(fmt.Sprintf("loaded state: %d deployments, %d services, %d ingresses, %d pods",
		count("deployment"), count("service"), count("ingress"), count(projection.PlacementType)))
	a.log.Info(fmt.Sprintf("cluster initialized with %d nodes", max(1, count(projection.HostType))))
}

// apart are actors whose errors end the agent like any other's, and whose end is not waited for with the others': group does that. Each runs until ctx ends.
func apart(ctx context.Context, group *errgroup.Group, all []func(context.Context) error) (actors []func(context.Context) error) {
	for _, run := range all {
		actors = append(actors, func(parts context.Context) error {
			done := make(chan error, 1)
			group.Go(func() error { done <- run(ctx); return nil })
			select {
			case err := <-done:
				return err
			case <-parts.Done():
				return nil
			}
		})
	}
	return actors
}

package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// host says of every replica that is placed on it what its image's name asks for.
type host struct {
	ledger *projection.Ledger
	name   string
	mute   func(name string) bool // it says nothing for now
}

func (h *host) run(ctx context.Context) error {
	for ctx.Err() == nil {
		v := h.ledger.View()
		if changes, err := h.replicas(v.State); err != nil {
			return err
		} else if len(changes) > 0 && !h.mute(h.name) {
			if err := h.say(ctx, h.replicas); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-v.Changed:
		}
	}
	return nil
}

func (h *host) say(ctx context.Context, what func(*projection.State) ([]projection.Change, error)) error {
	_, err := h.ledger.Record(ctx, projection.By{Actor: "agent", Cause: "as it is"}, what)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// self is the host, said once.
func (h *host) self(s *projection.State) ([]projection.Change, error) {
	if _, ok := s.Lookup(projection.HostKey(h.name)); ok {
		return nil, nil
	}
	return []projection.Change{{Kind: events.Observed, Key: projection.HostKey(h.name), Object: projection.Encode(projection.Host{
		Address: "192.0.2.1", CPUs: 4, Memory: 8 << 30, Version: "v9.9.9", Podman: "5.8.3", OS: "Debian 13", Kernel: "6.12", Arch: "amd64",
		Started: time.Now()})}}, nil
}

// replicas is what is to be said of replicas and has not been.
func (h *host) replicas(s *projection.State) ([]projection.Change, error) {
	var all []projection.Change
	placed := map[string]bool{}
	for p, err := range s.Placements("") {
		if err != nil {
			return nil, err
		}
		if p.Host == h.name {
			placed[p.ReplicaKey(h.name)] = true
		}
		if seen, err := s.Replica(p); err != nil || seen != nil || p.Host != h.name {
			continue
		}
		r, err := replica(p)
		if err != nil {
			return nil, err
		}
		all = append(all, projection.Change{Kind: events.Observed, Key: p.ReplicaKey(h.name), Object: projection.Encode(r)})
	}
	for o := range s.All(projection.ReplicaType + "/") {
		if _, on, ok := projection.PodOf(o.Key); ok && on == h.name && !placed[o.Key] {
			all = append(all, projection.Change{Kind: events.Observed, Key: o.Key})
		}
	}
	return all, nil
}

func replica(p *projection.Placed) (projection.Replica, error) {
	var t corev1.PodTemplateSpec
	if err := json.Unmarshal(p.Template, &t); err != nil {
		return projection.Replica{}, err
	}
	id := fnv.New64a()
	id.Write([]byte(p.Name() + p.SpecHash))
	c := t.Spec.Containers[0]
	now := time.Now().UTC()
	r := projection.Replica{Placement: p.Event(), Phase: projection.Running, Container: fmt.Sprintf("%016x", id.Sum64()),
		Name: p.Name(), Image: "sha256:1", IP: "10.88.0.2", Started: now}
	others := map[string]projection.Replica{}
	for _, other := range t.Spec.Containers[1:] {
		c.Ports = append(c.Ports, other.Ports...)
		part := projection.Replica{Placement: r.Placement, Phase: projection.Running, Container: fmt.Sprintf("%016x", id.Sum64()+1),
			Name: p.Name() + "." + other.Name, Image: "sha256:1", Started: now}
		if strings.Contains(other.Image, "crash") {
			part.Phase, part.Reason, part.ExitCode, part.Restarts, part.Finished = projection.Exited, "CrashLoopBackOff", 7, 3, now
		}
		others[other.Name] = part
	}
	for _, init := range t.Spec.InitContainers {
		part := projection.Replica{Placement: r.Placement, Phase: projection.Exited, Reason: "Completed", Container: fmt.Sprintf("%016x", id.Sum64()+2), Started: now, Finished: now}
		if strings.Contains(init.Image, "crash") {
			part.Reason, part.ExitCode, part.Restarts = "CrashLoopBackOff", 7, 3
			first := projection.Replica{Placement: r.Placement, Phase: projection.Pending, Reason: "PodInitializing"}
			return *first.Whole(map[string]projection.Replica{init.Name: part}, nil, now, nil, now), nil
		}
		others[init.Name] = part
	}
	for i, port := range c.Ports {
		host := int(port.HostPort)
		if host == 0 {
			host = 40000 + 10*p.Ordinal + i
		}
		r.Ports = append(r.Ports, projection.Port{Name: port.Name, Container: int(port.ContainerPort), Host: host, Protocol: string(port.Protocol)})
	}
	switch {
	case strings.Contains(c.Image, "missing"):
		r = projection.Replica{Placement: r.Placement, Phase: projection.Pending, Reason: "ImagePullBackOff",
			Message: "pull " + c.Image + ": no such image"}
	case strings.Contains(c.Image, "slow"):
		r = projection.Replica{Placement: r.Placement, Phase: projection.Pending, Reason: "ContainerCreating"}
	case strings.Contains(c.Image, "crash"):
		r.Phase, r.Reason, r.Message = projection.Exited, "CrashLoopBackOff", "ended with exit code 7, 3 times in a row; next try in 40s"
		r.ExitCode, r.Restarts, r.Started, r.Finished = 7, 3, now.Add(-time.Second), now
	}
	if len(others) == 0 {
		return r, nil
	}
	var run []string
	for _, other := range t.Spec.Containers[1:] {
		run = append(run, other.Name)
	}
	return *r.Whole(others, run, r.Started, nil, now), nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// reached is how far a host has come: which events it has folded, and to what.
type reached struct {
	Digest string
	Index  uint64
	Vector map[string]struct {
		Seq  uint64
		Hash string
	}
}

func stateOf(ctx context.Context, h *street.Host) (r reached, err error) {
	return r, trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/state", &r)
}

// agree asks all hosts until they have folded the same events to the same state.
func agree(ctx context.Context, hosts []*street.Host) error {
	began := time.Now()
	for {
		same, why, err := compare(ctx, hosts)
		if err != nil || same {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("after %.0f s the hosts do not agree: %s", time.Since(began).Seconds(), why)
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// compare looks once. It is an error when equal vectors have unequal digests, which no time heals.
func compare(ctx context.Context, hosts []*street.Host) (same bool, why string, err error) {
	var first reached
	for n, h := range hosts {
		r, err := stateOf(ctx, h)
		switch {
		case err != nil:
			return false, fmt.Sprintf("%s: %v", h.Name, err), nil
		case n == 0:
			first = r
		case !maps.Equal(first.Vector, r.Vector):
			return false, fmt.Sprintf("%s has %v, %s has %v", hosts[0].Name, first.Vector, h.Name, r.Vector), nil
		case first.Digest != r.Digest:
			return false, "", fmt.Errorf("%s and %s have folded the same events %v to different states: %s and %s",
				hosts[0].Name, h.Name, r.Vector, first.Digest, r.Digest)
		}
	}
	return true, "", nil
}

// shown is what a host's API says that there is: the value of each object of the load.
func shown(ctx context.Context, h *street.Host) (map[id]uint64, error) {
	all := map[id]uint64{}
	for n, path := range []string{"/api/v1/services", "/apis/networking.k8s.io/v1/ingresses", "/apis/apps/v1/deployments"} {
		var list struct {
			Items []struct {
				Metadata struct {
					Name        string
					Annotations map[string]string
				}
			}
		}
		if err := trial.JSON(ctx, h.Client(), h.URL()+path, &list); err != nil {
			return nil, err
		}
		for _, o := range list.Items {
			name := o.Metadata.Name
			if strings.HasPrefix(name, "own-") || strings.HasPrefix(name, "shared-") {
				value, _ := strconv.ParseUint(o.Metadata.Annotations[annotation], 10, 64) // 0, which nobody wrote, when it is none
				all[id{kinds[n], name}] = value
			}
		}
	}
	return all, nil
}

// deployment is as much of one as is looked at.
type deployment struct {
	Metadata struct{ Name string }
	Spec     struct{ Replicas int }
}

func deployments(ctx context.Context, h *street.Host) ([]deployment, error) {
	var list struct{ Items []deployment }
	err := trial.JSON(ctx, h.Client(), h.URL()+"/apis/apps/v1/deployments", &list)
	return list.Items, err
}

// event is as much of a line of the log as is looked at.
type event struct {
	Stamp, Kind, Key, UID, Base string
	Ends                        []struct{ UID, Base string }
	Object                      *struct {
		Metadata struct{ Annotations map[string]string }
	}
}

// id is how an apply's answer names the event.
func (e *event) id() string {
	_, id, _ := strings.Cut(e.Stamp, "-")
	return id
}

// value is the one that the event gave its object; 0 when it ended it.
func (e *event) value() uint64 {
	if e.Object == nil {
		return 0
	}
	n, _ := strconv.ParseUint(e.Object.Metadata.Annotations[annotation], 10, 64)
	return n
}

// eventsAfter are the declared events of a host's log from the one after the index on.
func eventsAfter(ctx context.Context, h *street.Host, index uint64) ([]event, error) {
	body, err := trial.Do(ctx, h.Client(), http.MethodGet, fmt.Sprint(h.URL(), "/swarm/v1/events?after=", index), "")
	if err != nil {
		return nil, err
	}
	var all []event
	for line := range bytes.Lines(body) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read the events of %s: %w", h.Name, err)
		}
		if e.Kind == "declared" {
			all = append(all, e)
		}
	}
	return all, nil
}

// conflictsOf are the stamps of the changes that a host lists as lost unseen.
func conflictsOf(ctx context.Context, h *street.Host) ([]string, error) {
	var list []struct{ Stamp string }
	if err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/conflicts", &list); err != nil {
		return nil, err
	}
	var all []string
	for _, c := range list {
		all = append(all, c.Stamp)
	}
	slices.Sort(all)
	return all, nil
}

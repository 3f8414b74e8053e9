package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// leaving are containers that are to go with what is deleted. That they are gone is in the log: their host says so.
type leaving struct {
	*program
	c     *client.Client
	after uint64          // index in the log before the deletion
	pods  map[string]bool // NAMESPACE/NAME of those that have a container
}

// leaving looks, before anything is deleted, at which containers go with it.
func (d *deleter) leaving(ctx context.Context, c *client.Client, victims []victim) (*leaving, error) {
	l := &leaving{program: d.program, c: c, pods: map[string]bool{}}
	var st client.Status
	if err := c.Get(ctx, "/swarm/v1/status", nil, &st); err != nil {
		return nil, err
	}
	l.after = st.Index
	for _, v := range victims {
		in := v.namespace
		switch v.Kind {
		case "Deployment":
		case "Namespace":
			in = v.name
		default:
			continue
		}
		var pods corev1.PodList
		if err := c.Get(ctx, the("Pod").list(in), nil, &pods); err != nil {
			return nil, err
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			runs := slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.ContainerID != "" })
			if runs && (v.Kind == "Namespace" || (deployment{in, v.name}).owns(pod)) {
				l.pods[in+"/"+pod.Name] = true
			}
		}
	}
	return l, nil
}

// errGone ends the reading of the log when nothing is left to wait for.
var errGone = errors.New("all gone")

// waitGone returns when the containers are gone, or with a timeoutError.
func (l *leaving) waitGone(ctx context.Context, timeout time.Duration) error {
	if len(l.pods) == 0 {
		return nil
	}
	show := l.newProgress(l.err)
	say := func() {
		text := "none"
		if len(l.pods) > 0 {
			text = andWord(slices.Sorted(maps.Keys(l.pods)))
		}
		show.show([]progressLine{{name: "containers left", text: text}})
	}
	say()
	wait, cancel := context.WithTimeoutCause(ctx, timeout, &timeoutError{"time is up"})
	defer cancel()
	query := func() url.Values { return url.Values{"after": {strconv.FormatUint(l.after, 10)}, "follow": {"true"}} }
	err := l.c.Follow(wait, "/swarm/v1/events", query, l.lost, func(raw json.RawMessage) error {
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("event after index %d: %w", l.after, err)
		}
		l.after = e.Index
		pod, ok := replicaPod(e.Key)
		if !ok || len(e.Object) > 0 || !l.pods[pod] {
			return nil
		}
		delete(l.pods, pod)
		say()
		if len(l.pods) == 0 {
			return errGone
		}
		return nil
	})
	var late *timeoutError
	switch {
	case errors.Is(err, errGone):
		return nil
	case errors.As(err, &late):
		return &timeoutError{fmt.Sprintf("time is up after %v, and these still have containers: %s\nThe objects are deleted; "+
			"their containers are still being stopped. To see how: psctl events --follow",
			timeout, andWord(slices.Sorted(maps.Keys(l.pods))))}
	case ctx.Err() != nil:
		return &interruptedError{fmt.Sprintf("interrupted. The objects are deleted; these containers are still being stopped: %s\n"+
			"To see how: psctl events --follow", andWord(slices.Sorted(maps.Keys(l.pods))))}
	}
	return err
}

// replicaPod is the pod, as NAMESPACE/NAME, that a host says something of under the key.
func replicaPod(key string) (string, bool) {
	parts := strings.Split(key, "/") // replica/NAMESPACE/DEPLOYMENT/ORDINAL/HOST
	if len(parts) != 5 || parts[0] != "replica" {
		return "", false
	}
	return parts[1] + "/" + parts[2] + "-" + parts[3], true
}

package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// leastGrace is what is left, as in Kubernetes, of a grace period that was all spent on what is done before the stop.
const leastGrace = 2 * time.Second

// preStop is what is to be done before the container is stopped, as its label keeps it: the placement that says so may be over
// by then, and not to be found any more, so the label says of itself which port it asks, and where if that is the host's own. "" for nothing.
func (p *pod) preStop() (string, error) {
	if p.one.Lifecycle == nil || p.one.Lifecycle.PreStop == nil {
		return "", nil
	}
	h := p.one.Lifecycle.PreStop.DeepCopy()
	if get := h.HTTPGet; get != nil {
		for _, port := range p.one.Ports {
			if get.Port.Type == intstr.String && port.Name == get.Port.StrVal {
				get.Port = intstr.FromInt32(port.ContainerPort)
			}
		}
		if p.spec.HostNetwork && get.Host == "" { // Podman knows no address of such a container, and no ports
			get.Host = ownHost
		}
	}
	b, err := json.Marshal(h)
	return string(b), err
}

// quit ends a container's program within grace, in which it does first what is to be done before; 0: the container's own.
func (t *turn) quit(ctx context.Context, c *Container, grace time.Duration) error {
	whole := grace
	if whole == 0 {
		whole = c.Grace
	}
	if text := c.Labels[LabelPreStop]; text != "" && t.prober != nil {
		began := time.Now()
		if err := t.beforeStop(ctx, c, text, whole); err != nil && ctx.Err() == nil && t.Log != nil {
			t.Log.Warn("preStop did not end well; stopping the container all the same", "namespace", t.Pod.Namespace, "pod", t.Pod.Name(), "err", words(err))
		}
		grace = max(leastGrace, whole-time.Since(began))
	}
	return within(ctx, whole+slow, func(ctx context.Context) error { return t.Engine.Stop(ctx, c.ID, grace) })
}

func (t *turn) beforeStop(ctx context.Context, c *Container, text string, limit time.Duration) error {
	var h corev1.LifecycleHandler
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return fmt.Errorf("read what is to be done before the stop: %w", err)
	}
	to := &target{prober: t.prober, container: c.ID, ip: c.IP, names: map[string]int{}, published: c.Ports}
	if w := t.Whole; w != nil && w.Container == c.Labels[LabelNetwork] && w.Container != "" {
		to.ip, to.published = w.IP, w.Ports
	}
	if r := t.Recorded; r != nil && r.Container == c.ID {
		for _, p := range r.Ports {
			to.names[p.Name] = p.Container
		}
	}
	return within(ctx, limit, func(ctx context.Context) error {
		switch {
		case h.Sleep != nil:
			return Wait(time.Duration(h.Sleep.Seconds) * time.Second)(ctx)
		case h.HTTPGet != nil:
			return to.get(ctx, h.HTTPGet)
		case h.Exec != nil && len(h.Exec.Command) > 0:
			return (&execution{target: to, command: h.Exec.Command}).run(ctx, func() {})
		}
		return errors.New("it says nothing that this agent knows")
	})
}

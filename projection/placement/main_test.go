package placement

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// nowhere is a log that keeps nothing but its end, and fails when told to.
type nowhere struct {
	mu  sync.Mutex
	end events.Position
	err error
}

func (l *nowhere) Append(entries []events.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	for _, e := range entries {
		l.end.Record++
		l.end.Index += uint64(e.Count)
	}
	l.end.At = time.Now()
	return nil
}

func (l *nowhere) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *nowhere) End() events.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

func (l *nowhere) Incarnation() events.Incarnation { return 7 }

func (l *nowhere) Renew() (events.Incarnation, error) { return 7, nil }

func (l *nowhere) Scan(uint64, func(events.Record) error) error { return nil }

// house is a host with its ledger, whose containers are only claims.
type house struct {
	t testing.TB
	*projection.Ledger
	log *nowhere
	now time.Time
	ran time.Duration // how long what is started has run when that is first seen
	as  *Cluster      // how things stand, but for the time; nil: "h" is alone
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, log: &nowhere{}, now: time.Now().Truncate(time.Second), ran: steady}
	var err error
	if h.Ledger, err = projection.OpenLedger(h.log, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); h.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

func (h *house) record(changes ...projection.Change) {
	h.t.Helper()
	_, err := h.Record(context.Background(), projection.By{Actor: "someone"},
		func(*projection.State) ([]projection.Change, error) { return changes, nil })
	if err != nil {
		h.t.Fatal(err)
	}
}

// deploy declares a Deployment with the image "v1", after each of the edits.
func (h *house) deploy(name string, replicas int32, edits ...func(*appsv1.Deployment)) {
	h.t.Helper()
	h.record(declare(h.t, "default", name, replicas, edits...))
}

func declare(t testing.TB, namespace, name string, replicas int32, edits ...func(*appsv1.Deployment)) projection.Change {
	t.Helper()
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	d.Spec.Replicas = &replicas
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Image: "v1"}}
	for _, edit := range edits {
		edit(d)
	}
	manifest.Default(d)
	raw, err := manifest.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	return projection.Change{Kind: events.Declared, Key: projection.DeploymentKey(namespace, name), Object: raw}
}

func selector(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

func image(name string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = name }
}

func rolling(surge, unavailable string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		s, u := intstr.Parse(surge), intstr.Parse(unavailable)
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
			RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &s, MaxUnavailable: &u}}
	}
}

func recreate(d *appsv1.Deployment) {
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
}

func paused(d *appsv1.Deployment) { d.Spec.Paused = true }

func port(host int32, ip string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		c := &d.Spec.Template.Spec.Containers[0]
		c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: 80, HostPort: host, HostIP: ip, Protocol: corev1.ProtocolTCP})
	}
}

// label has the host say that it has one label.
func (h *house) label(key, value string) {
	h.t.Helper()
	h.record(projection.Change{Kind: events.Observed, Key: projection.HostKey("h"),
		Object: projection.Encode(projection.Host{Labels: map[string]string{key: value}})})
}

func (h *house) remove(name string) {
	h.t.Helper()
	h.record(projection.Change{Kind: events.Declared, Key: projection.DeploymentKey("default", name)})
}

// cluster is how things stand now.
func (h *house) cluster() Cluster {
	c := Cluster{Host: "h", Alone: true}
	if h.as != nil {
		c = *h.as
	}
	c.Now = h.now
	return c
}

// once decides once, records it, and returns what was decided, as text: "+web-0 v1 -web-1".
func (h *house) once(name string) string {
	h.t.Helper()
	changes, _, err := Decide(h.View().State, h.cluster(), "default", name)
	if err != nil {
		h.t.Fatal(err)
	}
	if len(changes) == 0 {
		return ""
	}
	h.record(changes...)
	var said []string
	for _, c := range changes {
		pod, _, _ := projection.PodOf(c.Key)
		if c.Object == nil {
			said = append(said, "-"+pod.Name())
			continue
		}
		p, err := h.View().Placement(pod)
		if err != nil {
			h.t.Fatal(err)
		}
		what := imageOf(p)
		if p.Host == "" {
			what = p.Why
		}
		said = append(said, "+"+pod.Name()+" "+what)
	}
	slices.Sort(said)
	return strings.Join(said, ", ")
}

// want decides once and holds what was decided to what is wanted.
func (h *house) want(name, want string) {
	h.t.Helper()
	if got := h.once(name); got != want {
		h.t.Errorf("decided %q, want %q", got, want)
	}
}

func imageOf(p *projection.Placed) string {
	_, rest, _ := strings.Cut(string(p.Template), `"image":"`)
	img, _, _ := strings.Cut(rest, `"`)
	return img
}

// work has the host do what was decided: containers of images that begin with "bad" never start.
func (h *house) work() (did bool) {
	h.t.Helper()
	s := h.View().State
	for p, err := range s.Placements("") {
		if err != nil {
			h.t.Fatal(err)
		}
		if r, err := s.Replica(p); err != nil {
			h.t.Fatal(err)
		} else if r == nil && p.Host != "" && !h.dead(p.Host) {
			h.seen(p, running(imageOf(p), h.now.Add(-h.ran)))
			did = true
		}
	}
	for o := range s.All(projection.ReplicaType + "/") {
		pod, host, _ := projection.PodOf(o.Key)
		if p, _ := s.Placement(pod); (p == nil || p.Host != host) && !h.dead(host) {
			h.record(projection.Change{Kind: events.Observed, Key: o.Key})
			did = true
		}
	}
	return did
}

// dead reports whether a host does nothing.
func (h *house) dead(host string) bool {
	if h.as == nil {
		return host != "h"
	}
	return slices.ContainsFunc(h.as.Peers, func(p Peer) bool { return p.Host == host && !p.Silent.IsZero() })
}

func running(image string, now time.Time) projection.Replica {
	if strings.HasPrefix(image, "bad") {
		return projection.Replica{Phase: projection.Pending, Reason: "ImagePullBackOff", Message: "no such image"}
	}
	return projection.Replica{Phase: projection.Running, Started: now}
}

func (h *house) seen(p *projection.Placed, r projection.Replica) {
	h.t.Helper()
	r.Placement = p.Event()
	h.record(projection.Change{Kind: events.Observed, Key: p.ReplicaKey(p.Host), Object: projection.Encode(r)})
}

// fail has a running replica exit.
func (h *house) fail(ordinal int, name string) {
	h.t.Helper()
	p, err := h.View().Placement(projection.Pod{Namespace: "default", Deployment: name, Ordinal: ordinal})
	if err != nil || p == nil {
		h.t.Fatalf("replica %d of %s: %v, %v", ordinal, name, p, err)
	}
	h.seen(p, projection.Replica{Phase: projection.Exited, Reason: "Error", Started: h.now.Add(-time.Minute), Finished: h.now})
}

func (h *house) rollout(name string) *Rollout {
	h.t.Helper()
	o, ok := h.View().Lookup(projection.DeploymentKey("default", name))
	if !ok {
		h.t.Fatalf("no Deployment %s", name)
	}
	r, err := Of(h.View().State, o, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// settle lets decider and host work until neither finds anything to do, and returns what was decided on the way.
func (h *house) settle(name string) string {
	h.t.Helper()
	var steps []string
	for range 1000 {
		said := h.once(name)
		if said != "" {
			steps = append(steps, said)
		}
		if did := h.work(); !did && said == "" {
			return strings.Join(steps, "; ")
		}
	}
	h.t.Fatalf("%s does not settle: %s", name, strings.Join(steps[max(0, len(steps)-5):], "; "))
	return ""
}

// shape is how many replicas there are of each image, and how many are available.
func (h *house) shape(name string) string {
	h.t.Helper()
	r := h.rollout(name)
	count := map[string]int{}
	available := 0
	for i := range r.Replicas {
		count[imageOf(r.Replicas[i].Placed)]++
		if r.Replicas[i].Available {
			available++
		}
	}
	return fmt.Sprint(count, available)
}

package podman_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/podman/podmantest"
	"github.com/podman-swarm/podman-swarm/projection"
)

const (
	host  = "one"
	image = "localhost/web:1"
)

// world is a host with its log, and a reconciler that comes and goes.
type world struct {
	t      *testing.T
	engine podman.Engine
	fake   *podmantest.Fake // nil on a real one
	log    *podmantest.Log
	ledger *projection.Ledger
	said   *lines

	*podman.Reconciler
	stop func()
}

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.all {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "")
}

// newWorld is a host with an empty log on a Fake. It belongs into a synctest bubble.
func newWorld(t *testing.T) *world {
	fake := podmantest.New(image, "localhost/web:2")
	return worldOn(t, fake, fake)
}

// running is newWorld, where one replica runs.
func running(t *testing.T) *world {
	w := newWorld(t)
	w.place(host, template(), pod("web", 0))
	w.run()
	w.ready()
	return w
}

func worldOn(t *testing.T, engine podman.Engine, fake *podmantest.Fake) *world {
	w := &world{t: t, engine: engine, fake: fake, said: &lines{}}
	w.fresh()
	t.Cleanup(func() {
		if w.stop != nil {
			w.stop()
		}
		if t.Failed() {
			t.Logf("the reconciler said:\n%s", w.said)
		}
	})
	return w
}

// fresh gives the host an empty log.
func (w *world) fresh() {
	w.log = podmantest.NewLog()
	w.ledger, _ = podmantest.Ledger(w.t, w.log)
}

// run starts a reconciler; change may set its fields.
func (w *world) run(change ...func(*podman.Reconciler)) {
	w.t.Helper()
	w.Reconciler = &podman.Reconciler{Engine: w.engine, Ledger: w.ledger, Host: host,
		Log: slog.New(slog.NewTextHandler(w.said, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, c := range change {
		c(w.Reconciler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func(r *podman.Reconciler) { done <- r.Run(ctx) }(w.Reconciler)
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
}

// restart stops the reconciler, opens the ledger anew from its log, and starts another.
func (w *world) restart(change ...func(*podman.Reconciler)) {
	w.t.Helper()
	w.stop()
	w.ledger, _ = podmantest.Ledger(w.t, w.log)
	w.run(change...)
}

// settled lets everything happen that happens within d.
func (w *world) settled(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func pod(deployment string, n int) projection.Pod {
	return projection.Pod{Namespace: "default", Deployment: deployment, Ordinal: n}
}

// template is a pod template of one container.
func template(change ...func(*corev1.PodSpec)) []byte {
	t := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "web", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80, Protocol: corev1.ProtocolTCP}}}}}}
	t.Labels = map[string]string{"app": "web"}
	for _, c := range change {
		c(&t.Spec)
	}
	b, err := json.Marshal(t)
	if err != nil {
		panic(err)
	}
	return b
}

func args(a ...string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.Containers[0].Args = a }
}

// place records that the pods run on a host from a template.
func (w *world) place(on string, template []byte, pods ...projection.Pod) {
	w.t.Helper()
	var changes []projection.Change
	for _, p := range pods {
		object := projection.Encode(projection.Placement{Host: on, Owner: events.ID{Inc: 1, Seq: 1},
			SpecHash: manifest.SpecHash(template), Template: template, Why: "test"})
		changes = append(changes, projection.Change{Kind: events.Decided, Key: p.PlacementKey(), Object: object})
	}
	w.record(changes...)
}

// end takes the placements back.
func (w *world) end(pods ...projection.Pod) {
	w.t.Helper()
	var changes []projection.Change
	for _, p := range pods {
		changes = append(changes, projection.Change{Kind: events.Decided, Key: p.PlacementKey()})
	}
	w.record(changes...)
}

func (w *world) record(changes ...projection.Change) {
	w.t.Helper()
	_, err := w.ledger.Record(context.Background(), projection.By{Actor: "test", Cause: "test"},
		func(*projection.State) ([]projection.Change, error) { return changes, nil })
	if err != nil {
		w.t.Fatal(err)
	}
}

// fact is what the host has recorded of the pod; nil for nothing.
func (w *world) fact(p projection.Pod) *projection.Replica {
	w.t.Helper()
	o, ok := w.ledger.View().Lookup(p.ReplicaKey(host))
	if !ok {
		return nil
	}
	return readReplica(w.t, o.Version.Object)
}

func readReplica(t *testing.T, object []byte) *projection.Replica {
	t.Helper()
	var r projection.Replica
	if err := json.Unmarshal(object, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// of gives the containers of the pod.
func (w *world) of(p projection.Pod) []podman.Container {
	var all []podman.Container
	for _, c := range w.fake.Containers() {
		if c.Labels[podman.LabelPod] == p.Name() {
			all = append(all, c)
		}
	}
	return all
}

// one is the pod's only container.
func (w *world) one(p projection.Pod) podman.Container {
	w.t.Helper()
	all := w.of(p)
	if len(all) != 1 {
		w.t.Fatalf("pod %s has %d containers, want 1: %+v", p.Name(), len(all), all)
	}
	return all[0]
}

// runs fails the test unless the pod has exactly one container, which runs and is recorded as it is.
func (w *world) runs(p projection.Pod) podman.Container {
	w.t.Helper()
	c := w.one(p)
	f := w.fact(p)
	if f == nil || f.Phase != projection.Running || f.Container != c.ID || !f.Started.Equal(c.Started) || c.Status != podman.StatusRunning {
		w.t.Fatalf("pod %s: container %+v, recorded %+v; want it running and recorded so", p.Name(), c, f)
	}
	placed, err := w.ledger.View().Placement(p)
	if err != nil || placed == nil || f.Placement != placed.Event() {
		w.t.Fatalf("pod %s: recorded for placement %s, held is %+v, %v", p.Name(), f.Placement, placed, err)
	}
	return c
}

// ready waits until the recovery is done.
func (w *world) ready() {
	w.t.Helper()
	w.settled(10 * time.Second)
	if w.Recovering() {
		w.t.Fatalf("still recovering: %+v", w.Progress())
	}
}

// foreign makes a container that is none of ours.
func (w *world) foreign(name string, labels map[string]string) podman.Container {
	w.t.Helper()
	id, err := w.engine.Create(w.t.Context(), &podman.Spec{Name: name, Image: image, Labels: labels, RestartPolicy: "no", StopTimeout: 10})
	if err == nil {
		err = w.engine.Start(w.t.Context(), id)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := w.engine.Inspect(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func stamp(c podman.Container) string { return fmt.Sprint(c.ID, c.Started) }

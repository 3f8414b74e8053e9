package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// The kinds of object that the load writes.
var kinds = []string{"Service", "Ingress", "Deployment"}

// id is an object, in namespace default.
type id struct{ kind, name string }

func (o id) String() string { return o.kind + " " + o.name }

// own is an object that one writer alone writes, through one host. A value is written at most once; 0 is: not there.
type own struct {
	acked []uint64 // what it was when all agreed last, and all that was acknowledged since
	open  []uint64 // what requests without an answer wanted since
}

// written is a change of an object that writers on all hosts write.
type written struct {
	id     id
	value  uint64 // 0: deleted
	host   int
	commit string
}

// writer is one client of one host. It has objects of its own, pairs of a Service and an Ingress, and at most one
// Deployment; and it writes to those that all writers of its cluster share.
type writer struct {
	host   *street.Host
	rnd    *rand.Rand
	pairs  []string
	deploy string // name of its Deployment; "": none
	shared []string
	last   uint64 // value
	every  time.Duration

	mu     sync.Mutex
	owned  map[id]*own
	shares []written // that were acknowledged since all agreed last
	count  int       // of all that was acknowledged
	wrong  []string  // answers that are wrong by themselves
}

// newWriter is the n-th writer of the trial.
func newWriter(n int, h *street.Host, cluster string, seed uint64) *writer {
	w := &writer{host: h, rnd: rand.New(rand.NewPCG(seed, 1000+uint64(n))), owned: map[id]*own{}, last: uint64(n+1) << 40,
		every: 40 * time.Millisecond}
	for i := range 6 {
		w.pairs = append(w.pairs, fmt.Sprintf("own-%d-%d", n, i))
	}
	for i := range 4 {
		w.shared = append(w.shared, fmt.Sprintf("shared-%s-%d", cluster, i))
	}
	return w
}

// run writes until ctx ends, whether the host answers or not.
func (w *writer) run(ctx context.Context) {
	transport := &http.Transport{DialContext: w.host.Dial, MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	turn := time.Now()
	for ctx.Err() == nil {
		reached := false
		switch dice := w.rnd.IntN(100); {
		case w.deploy != "" && time.Since(turn) > time.Second:
			turn = time.Now()
			reached = w.change(client, []id{{"Deployment", w.deploy}}, w.rnd.IntN(5) == 0)
		case dice < 30:
			reached = w.share(client, w.shared[w.rnd.IntN(len(w.shared))])
		default:
			name := w.pairs[w.rnd.IntN(len(w.pairs))]
			if objects := []id{{"Service", name}, {"Ingress", name}}; dice < 80 {
				reached = w.change(client, objects, false)
			} else {
				reached = w.change(client, objects[dice%2:dice%2+1], true)
			}
		}
		if !reached {
			pause(ctx, 100*time.Millisecond)
		}
		pause(ctx, time.Duration(w.rnd.Int64N(int64(2*w.every))))
	}
}

// change applies objects of the writer's own with one manifest, or deletes one, and reports whether the host was
// reached.
func (w *writer) change(client *http.Client, objects []id, remove bool) bool {
	value := uint64(0)
	if remove && w.now(objects[0]) == 0 {
		return true
	}
	_, err := w.send(client, objects, remove, &value)
	outcome := judge(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	var status *trial.StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound && remove && len(w.own(objects[0]).open) > 0 {
		return true // an earlier request without an answer may have deleted it
	}
	for _, o := range objects {
		switch outcome {
		case done:
			w.own(o).acked = append(w.own(o).acked, value)
		case unknown:
			w.own(o).open = append(w.own(o).open, value)
		case refused:
			w.wrong = append(w.wrong, fmt.Sprintf("%s by %s: a good request was refused: %v", o, w.host.Name, err))
		}
	}
	if outcome == done {
		w.count++
	}
	return outcome != unsent
}

// share changes an object that others write too.
func (w *writer) share(client *http.Client, name string) bool {
	o, value, remove := id{"Service", name}, uint64(0), w.rnd.IntN(6) == 0
	commit, err := w.send(client, []id{o}, remove, &value)
	outcome := judge(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	var status *trial.StatusError
	switch {
	case outcome == done:
		w.shares = append(w.shares, written{o, value, w.host.Number, commit})
		w.count++
	case outcome == refused && !(remove && errors.As(err, &status) && status.Code == http.StatusNotFound):
		w.wrong = append(w.wrong, fmt.Sprintf("%s by %s: a good request was refused: %v", o, w.host.Name, err))
	}
	return outcome != unsent
}

// send makes a request, with a new value unless something is deleted.
func (w *writer) send(client *http.Client, objects []id, remove bool, value *uint64) (commit string, err error) {
	ctx := context.Background() // not cut off when the load ends: only a disaster leaves a request without an answer
	if remove {
		return "", trial.Delete(ctx, client, w.host.URL(), objects[0].kind, objects[0].name)
	}
	w.last++
	*value = w.last
	manifest := ""
	for _, o := range objects {
		manifest += "---\n" + document(o, *value)
	}
	applied, err := trial.Apply(ctx, client, w.host.URL(), manifest)
	return applied.Commit, err
}

func (w *writer) own(o id) *own {
	if w.owned[o] == nil {
		w.owned[o] = &own{acked: []uint64{0}}
	}
	return w.owned[o]
}

// now is what the object is by the last answer.
func (w *writer) now(o id) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	acked := w.own(o).acked
	return acked[len(acked)-1]
}

// judge says what is wrong with an object that is so when all agree; "" when nothing is. blind: the host may have lost
// what nobody else had heard of.
func (o *own) judge(value uint64, blind bool) (what string) {
	want := o.acked[len(o.acked)-1]
	switch {
	case value == want || slices.Contains(o.open, value) || blind && slices.Contains(o.acked, value):
		return ""
	case want == 0 && slices.Contains(o.acked, value):
		return resurrected
	case value == 0 || slices.Contains(o.acked, value):
		return lost
	}
	return wrong
}

type outcome int

const (
	done    outcome = iota
	refused         // the host says that the request is wrong
	unsent          // it surely was not carried out
	unknown         // it may have been, or still be
)

func judge(err error) outcome {
	var status *trial.StatusError
	var op *net.OpError
	switch {
	case err == nil:
		return done
	case errors.As(err, &op) && op.Op == "dial":
		return unsent
	case errors.As(err, &status) && (status.Code == http.StatusServiceUnavailable || status.Code == http.StatusInsufficientStorage):
		return unsent
	case errors.As(err, &status) && status.Code < 500:
		return refused
	}
	return unknown
}

// annotation keeps an object's value.
const annotation = "trial/value"

// document is the manifest of an object with that value.
func document(o id, value uint64) string {
	api := map[string]string{"Service": "v1", "Ingress": "networking.k8s.io/v1", "Deployment": "apps/v1"}[o.kind]
	head := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n  annotations: {%s: \"%d\"}\nspec:\n",
		api, o.kind, o.name, annotation, value)
	switch o.kind {
	case "Service":
		return head + fmt.Sprintf("  selector: {app: %s}\n  ports: [{name: http, port: 80}]\n", o.name)
	case "Ingress":
		return head + fmt.Sprintf("  defaultBackend: {service: {name: %s, port: {name: http}}}\n", o.name)
	}
	return head + trial.DeploymentSpec(o.name, int(value%3), "")
}

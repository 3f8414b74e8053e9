package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// writer makes random changes through one host, to objects that nobody else writes: so what a host knows of an object is what came
// last to it, in whatever order the hosts hear of each other.
type writer struct {
	host  *street.Host
	rnd   *rand.Rand
	names []string
	there map[string]bool // by kind and name
}

func newWriter(h *street.Host, seed uint64, n int) *writer {
	w := &writer{host: h, rnd: rand.New(rand.NewPCG(seed, uint64(n)+1)), there: map[string]bool{}}
	for i := range 30 {
		w.names = append(w.names, fmt.Sprintf("%s-%d", h.Name, i))
	}
	return w
}

// run makes n changes, one after the other.
func (w *writer) run(ctx context.Context, n int) error {
	transport := &http.Transport{DialContext: w.host.Dial, MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for i := range n {
		name := w.names[w.rnd.IntN(len(w.names))]
		kind := []string{"service", "deployment", "ingress", "namespace"}[w.rnd.IntN(4)]
		if key := kind + "/" + name; w.there[key] && w.rnd.IntN(4) == 0 {
			path := "/api/v1/manifests/default/" + name + "?kind=" + kind
			if kind == "namespace" {
				path = "/api/v1/namespaces/" + name
			}
			if _, err := trial.Do(ctx, client, http.MethodDelete, w.host.URL()+path, ""); err != nil {
				return fmt.Errorf("delete %s: %w", key, err)
			}
			w.there[key] = false
			continue
		}
		kinds := []string{kind}
		if w.rnd.IntN(3) == 0 {
			kinds = []string{"service", "ingress"}
		}
		var docs []string
		for _, kind := range kinds {
			docs = append(docs, w.manifest(kind, name, i))
			w.there[kind+"/"+name] = true
		}
		if _, err := trial.Apply(ctx, client, w.host.URL(), strings.Join(docs, "---\n")); err != nil {
			return fmt.Errorf("apply %s: %w", name, err)
		}
	}
	return nil
}

// manifest is one object, other than it was. Deployments have no replicas: what runs is looked at apart.
func (w *writer) manifest(kind, name string, n int) string {
	head := func(api, kind string) string {
		return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n  annotations: {change: \"%d\"}\n", api, kind, name, n)
	}
	switch kind {
	case "service":
		return head("v1", "Service") + fmt.Sprintf("spec:\n  selector: {app: %s}\n  ports: [{port: %d}]\n", name, 1+w.rnd.IntN(60000))
	case "ingress":
		return head("networking.k8s.io/v1", "Ingress") + fmt.Sprintf("spec:\n  rules:\n  - host: %s.example.com\n    http:\n      paths:\n      - path: /%d\n"+
			"        pathType: Prefix\n        backend: {service: {name: %s, port: {number: 80}}}\n", name, w.rnd.IntN(100), name)
	case "namespace":
		return head("v1", "Namespace")
	}
	return head("apps/v1", "Deployment") + "spec:\n" + trial.DeploymentSpec(name, 0, fmt.Sprint(w.rnd.IntN(1000)))
}

// told is what is needed of an event as a host tells it.
type told struct {
	Index  uint64
	Kind   string
	Key    string
	Commit struct{ First uint64 }
	Object json.RawMessage
}

// past is the log of a host.
type past struct{ events []told }

// readPast reads all that a host tells.
func readPast(ctx context.Context, h *street.Host) (p past, err error) {
	b, err := trial.Do(ctx, h.Client(), http.MethodGet, h.URL()+"/swarm/v1/events", "")
	if err != nil {
		return p, err
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var e told
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return p, fmt.Errorf("read an event of %s: %w", h.Name, err)
		}
		p.events = append(p.events, e)
	}
	return p, lines.Err()
}

// last is the index of the newest event.
func (p *past) last() uint64 { return p.events[len(p.events)-1].Index }

// objects are declared objects, by key.
type objects map[string]string

// declared reports whether a key is that of something that the drill looks at.
func declared(key string) bool {
	typ, _, _ := strings.Cut(key, "/")
	return slices.Contains([]string{"deployment", "service", "ingress", "namespace"}, typ)
}

// at is what was there once the event of an index had come, and all of its commit.
func (p *past) at(index uint64) objects {
	all := objects{}
	for _, e := range p.events {
		if e.Commit.First > index {
			break
		}
		switch {
		case e.Kind != "declared" || !declared(e.Key):
		case len(e.Object) == 0 || string(e.Object) == "null":
			delete(all, e.Key)
		default:
			all[e.Key] = string(e.Object)
		}
	}
	return all
}

// now is what a host shows.
func now(ctx context.Context, h *street.Host) (all objects, digest string, err error) {
	type section map[string]struct{ Object json.RawMessage }
	var state struct {
		Deployments, Services, Ingresses, Namespaces section
		Digest                                       string
	}
	if err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/state", &state); err != nil {
		return nil, "", err
	}
	all = objects{}
	for typ, s := range map[string]section{"deployment": state.Deployments, "service": state.Services, "ingress": state.Ingresses, "namespace": state.Namespaces} {
		for key, o := range s {
			all[typ+"/"+key] = string(o.Object)
		}
	}
	return all, state.Digest, nil
}

// differ names what is otherwise in one than in the other, ten keys at most.
func differ(got, want objects) []string {
	keys := maps.Clone(got)
	maps.Copy(keys, want)
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if got[key] != want[key] && len(lines) < 10 {
			lines = append(lines, fmt.Sprintf("%s: got %q, want %q", key, got[key], want[key]))
		}
	}
	return lines
}

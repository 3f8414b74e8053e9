package snapshot

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// DocumentVersion is the schema version of state.json. Version 1 was written by agents that had no log.
const DocumentVersion = 2

// Deployment is an entry of "deployments" in state.json, keyed "namespace/name".
type Deployment struct {
	Name            string          `json:"name"`
	Namespace       string          `json:"namespace"`
	DesiredReplicas int             `json:"desired_replicas"`
	Pods            []Pod           `json:"pods"`
	UID             events.ID       `json:"uid"`
	Stamp           events.Stamp    `json:"stamp"`
	Object          json.RawMessage `json:"object"`
}

// Declared is an entry of "services", "ingresses" and "namespaces".
type Declared struct {
	Name      string          `json:"name"`
	Namespace string          `json:"namespace,omitempty"`
	UID       events.ID       `json:"uid"`
	Stamp     events.Stamp    `json:"stamp"`
	Object    json.RawMessage `json:"object"`
}

// Pod is an entry of "pods", and of a Deployment's.
type Pod struct {
	Name       string            `json:"name"`
	Namespace  string            `json:"namespace"`
	Deployment string            `json:"deployment"`
	Node       string            `json:"node"`
	State      projection.Phase  `json:"state"`
	Reason     string            `json:"reason,omitempty"`
	Message    string            `json:"message,omitempty"`
	Container  string            `json:"container,omitempty"`
	IP         string            `json:"ip,omitempty"`
	Ports      []projection.Port `json:"ports,omitempty"`
	Restarts   int               `json:"restarts,omitempty"`
	Started    time.Time         `json:"started,omitzero"`
	Placement  events.ID         `json:"placement"`
}

// Fact is an entry of "facts": whatever else the state holds, kinds that this version does not know included.
type Fact struct {
	Kind   events.Kind     `json:"kind"`
	UID    events.ID       `json:"uid"`
	Stamp  events.Stamp    `json:"stamp"`
	Object json.RawMessage `json:"object"`
}

// Lost is an entry of "conflicts".
type Lost struct {
	Key    string          `json:"key"`
	UID    events.ID       `json:"uid"`
	Stamp  events.Stamp    `json:"stamp"`
	Ended  bool            `json:"ended,omitempty"`
	Object json.RawMessage `json:"object"`
}

// head is an entry of "vector".
type head struct {
	Seq  uint64      `json:"seq"`
	Hash events.Hash `json:"hash"`
}

// WriteDocument writes the state as state.json has it, entry by entry, so that a large state needs no more memory
// than its largest Deployment.
func WriteDocument(w io.Writer, node string, s *projection.State) error {
	d := &writer{w: w}
	d.raw("{")
	d.document(node, s)
	d.raw("\n}\n")
	return d.flush()
}

// document writes the fields of state.json.
func (d *writer) document(node string, s *projection.State) {
	d.section("deployments")
	for o := range s.All("deployment/") {
		d.deployment(s, o)
	}
	for _, section := range [...]struct{ name, typ string }{
		{"services", "service"}, {"ingresses", "ingress"}, {"namespaces", "namespace"}} {
		d.section(section.name)
		for o := range s.All(section.typ + "/") {
			ns, name := split(o.Key)
			d.entry(o.Key[len(section.typ)+1:], Declared{name, ns, o.UID, o.Stamp, nil}, o.Version.Object)
		}
	}
	d.section("pods")
	for p, err := range s.Placements("") {
		if err == nil { // one that cannot be read stands among the facts
			d.entry(p.Namespace+"/"+p.Name(), podOf(s, p), nil)
		}
	}
	d.section("facts")
	for o := range s.All("") {
		if !hasSection(o.Key) {
			d.entry(o.Key, Fact{o.Kind, o.UID, o.Stamp, nil}, o.Version.Object)
		}
	}
	d.end("}")
	var lost []Lost
	for _, c := range s.Conflicts() {
		lost = append(lost, Lost{c.Key, c.UID, c.Stamp, c.Ended, c.Version.Object})
	}
	vector := map[string]head{}
	for _, h := range s.Vector() {
		vector[h.Inc.String()] = head{h.Seq, h.Hash}
	}
	d.field("conflicts", append([]Lost{}, lost...))
	d.field("node", node)
	d.field("index", s.Index())
	d.field("vector", vector)
	d.field("digest", s.Digest())
	d.field("last_modified", s.At().UTC().Format(time.RFC3339Nano))
	d.field("version", DocumentVersion)
}

// writer writes one JSON object of sections, each an object of entries on a line of their own.
type writer struct {
	w       io.Writer
	buf     []byte // what is still to be written
	err     error
	fields  int
	entries int
	open    bool
}

func (d *writer) raw(s string) { d.buf = append(d.buf, s...) }

func (d *writer) json(v any) {
	b, err := json.Marshal(v)
	if err != nil && d.err == nil {
		d.err = fmt.Errorf("state.json: %w", err)
	}
	d.buf = append(d.buf, b...)
}

// flush writes what has been gathered.
func (d *writer) flush() error {
	if d.err == nil {
		_, d.err = d.w.Write(d.buf)
	}
	d.buf = d.buf[:0]
	return d.err
}

func (d *writer) name(name string) {
	if d.fields > 0 {
		d.raw(",")
	}
	d.fields++
	d.raw("\n  ")
	d.json(name)
	d.raw(": ")
}

func (d *writer) field(name string, v any) {
	d.name(name)
	d.json(v)
}

// section begins the next section and ends the one before.
func (d *writer) section(name string) {
	if d.open {
		d.end("}")
	}
	d.open, d.entries = true, 0
	d.name(name)
	d.raw("{")
}

func (d *writer) end(s string) {
	if d.entries > 0 {
		d.raw("\n  ")
	}
	d.raw(s)
}

// entry writes v under the key. An object is put as it stands in the log where v ends with none: with v it would be marshalled as well, byte for
// byte, which for a large state is most of the work.
func (d *writer) entry(key string, v any, object json.RawMessage) {
	if d.entries > 0 {
		d.raw(",")
	}
	d.entries++
	d.raw("\n    ")
	d.json(key)
	d.raw(": ")
	d.json(v)
	if len(object) > 0 {
		if d.err == nil && !json.Valid(object) { // by a faulty agent: nothing else looks into what it cannot use
			d.err = fmt.Errorf("state.json: the object of %s is no JSON", key)
		}
		d.buf = append(d.buf[:len(d.buf)-len("null}")], object...)
		d.raw("}")
	}
	if len(d.buf) > 1<<16 {
		_ = d.flush() // an error stays until the end
	}
}

func (d *writer) deployment(s *projection.State, o projection.Object) {
	ns, name := split(o.Key)
	e := Deployment{Name: name, Namespace: ns, DesiredReplicas: 1, Pods: []Pod{}, UID: o.UID, Stamp: o.Stamp}
	if n, ok := replicasOf(o.Version.Object); ok {
		e.DesiredReplicas = n
	}
	for p, err := range s.Placements(ns + "/" + name + "/") {
		if err == nil {
			e.Pods = append(e.Pods, podOf(s, p))
		}
	}
	d.entry(ns+"/"+name, e, o.Version.Object)
}

func podOf(s *projection.State, p *projection.Placed) Pod {
	pod := Pod{Name: p.Name(), Namespace: p.Namespace, Deployment: p.Pod.Deployment, Node: p.Host,
		State: projection.Pending, Message: p.Why, Placement: p.Event()}
	if r, err := s.Replica(p); err != nil {
		pod.Message = err.Error()
	} else if r != nil {
		pod.State, pod.Reason, pod.Message, pod.Container = r.Phase, r.Reason, r.Message, r.Container
		pod.IP, pod.Ports, pod.Restarts, pod.Started = r.IP, r.Ports, r.Restarts, r.Started
	}
	return pod
}

// split takes the key of a declared object apart; namespace is "" where it has none.
func split(key string) (namespace, name string) {
	parts := strings.Split(key, "/")
	if len(parts) == 3 {
		namespace = parts[1]
	}
	return namespace, parts[len(parts)-1]
}

func hasSection(key string) bool {
	typ, _, _ := strings.Cut(key, "/")
	switch typ {
	case "deployment", "service", "ingress", "namespace":
		return true
	}
	return false
}

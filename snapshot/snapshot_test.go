package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// host is a log, its ledger, and what this package keeps of it.
type host struct {
	*projection.Ledger
	log    *events.Log
	dir    string
	view   *View
	folds  *Folds
	said   bytes.Buffer
	cancel context.CancelFunc
	done   chan error
}

func open(t testing.TB, dir string) *host {
	t.Helper()
	return openWith(t, dir, events.Options{})
}

func openWith(t testing.TB, dir string, o events.Options) *host {
	t.Helper()
	h := &host{dir: dir, done: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(&h.said, nil))
	var err error
	if h.log, err = events.Open(filepath.Join(dir, "events"), o); err != nil {
		t.Fatal(err)
	}
	all := &History{Log: h.log, Dir: filepath.Join(dir, "backups")}
	h.folds = &Folds{Dir: filepath.Join(dir, "events"), Source: all, Key: o.Key, Log: log}
	start, from, err := h.folds.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.Ledger, err = projection.OpenLedger(all, start, from, o.Now); err != nil {
		t.Fatal(err)
	}
	h.folds.Ledger = h.Ledger
	h.view = &View{Path: filepath.Join(dir, "state.json"), Sums: filepath.Join(dir, "events", "state.sum"), Node: "a", Ledger: h.Ledger, Key: o.Key, Log: log}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	go func() { h.done <- h.Ledger.Run(ctx) }()
	t.Cleanup(h.close)
	return h
}

func (h *host) close() {
	if h.cancel != nil {
		h.cancel()
		<-h.done
		h.cancel = nil
		h.log.Close()
	}
}

func (h *host) apply(t testing.TB, key, object string) projection.Receipt {
	t.Helper()
	r, err := h.Record(t.Context(), projection.By{Actor: "test", Cause: "apply"}, func(*projection.State) ([]projection.Change, error) {
		var b []byte
		if object != "" {
			b = []byte(object)
		}
		return []projection.Change{{Kind: events.Declared, Key: key, Object: b}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *host) place(t *testing.T, pod projection.Pod) {
	t.Helper()
	p := projection.Placement{Host: "a", Template: json.RawMessage(`{}`), Why: "only host"}
	if _, err := h.Record(t.Context(), projection.By{Actor: "test"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: events.Decided, Key: pod.PlacementKey(), Object: projection.Encode(p)}}, nil
	}); err != nil {
		t.Fatal(err)
	}
}

const web = `{"kind":"Deployment","metadata":{"name":"web","namespace":"default"},"spec":{"replicas":3}}`

// Failures A.12 and A.23: the view says what is, in the shape of the document, with its schema version.
func TestWriteDocument(t *testing.T) {
	h := open(t, t.TempDir())
	h.apply(t, "deployment/default/web", web)
	h.apply(t, "service/default/web", `{"kind":"Service"}`)
	h.apply(t, "ingress/default/web", `{"kind":"Ingress"}`)
	h.apply(t, "namespace/default", `{"kind":"Namespace"}`)
	h.place(t, projection.Pod{Namespace: "default", Deployment: "web"})
	s := h.View().State
	var b bytes.Buffer
	if err := WriteDocument(&b, "a", s); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Deployments map[string]Deployment `json:"deployments"`
		Services    map[string]Declared   `json:"services"`
		Ingresses   map[string]Declared   `json:"ingresses"`
		Namespaces  map[string]Declared   `json:"namespaces"`
		Pods        map[string]Pod        `json:"pods"`
		Facts       map[string]Fact       `json:"facts"`
		Index       uint64                `json:"index"`
		Digest      string                `json:"digest"`
		Modified    time.Time             `json:"last_modified"`
		Version     int                   `json:"version"`
	}
	if err := json.Unmarshal(b.Bytes(), &d); err != nil {
		t.Fatalf("%v in:\n%s", err, b.Bytes())
	}
	dep := d.Deployments["default/web"]
	if dep.Name != "web" || dep.Namespace != "default" || dep.DesiredReplicas != 3 || string(dep.Object) != web {
		t.Errorf("deployment is %+v", dep)
	}
	if len(dep.Pods) != 1 || dep.Pods[0].Name != "web-0" || dep.Pods[0].Node != "a" || dep.Pods[0].State != projection.Pending {
		t.Errorf("its pods are %+v", dep.Pods)
	}
	if d.Pods["default/web-0"].Deployment != "web" || d.Services["default/web"].Name != "web" || d.Ingresses["default/web"].Namespace != "default" || d.Namespaces["default"].Name != "default" {
		t.Errorf("sections are %+v, %+v, %+v, %+v", d.Pods, d.Services, d.Ingresses, d.Namespaces)
	}
	if _, ok := d.Facts["placement/default/web/0"]; !ok || len(d.Facts) != 1 {
		t.Errorf("facts are %v, want the placement", d.Facts)
	}
	if d.Version != DocumentVersion || d.Index != s.Index() || d.Digest != s.Digest() || d.Modified.IsZero() {
		t.Errorf("version %d, index %d, digest %q, last modified %v", d.Version, d.Index, d.Digest, d.Modified)
	}
}

// What a faulty agent of another host has recorded for an object does not make a state.json, or a backup, that nobody can read.
func TestWriteDocument_noJSON(t *testing.T) {
	for _, object := range []string{`{"a":`, `{"a":1}}`, `{"a":1},"b":{}`} {
		id := events.ID{Inc: 7, Seq: 1}
		c := &events.Commit{Inc: id.Inc, Seq: id.Seq, Events: []events.Event{{Kind: events.Declared, Key: "service/default/web", UID: id, Object: []byte(object)}}}
		s := projection.NewState().Fold(c, events.Hash{}, 1, time.Now())
		if err := WriteDocument(io.Discard, "a", s); err == nil || !strings.Contains(err.Error(), "default/web") {
			t.Errorf("%s: state.json: got %v", object, err)
		}
		if err := WriteBackup(io.Discard, About{}, s); err == nil {
			t.Errorf("%s: a backup was made of it", object)
		}
	}
}

func TestWriteDocument_empty(t *testing.T) {
	var b bytes.Buffer
	if err := WriteDocument(&b, "a", projection.NewState()); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b.Bytes()) {
		t.Errorf("not JSON:\n%s", b.Bytes())
	}
}

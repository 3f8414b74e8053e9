package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
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
	h := &host{dir: dir, done: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(&h.said, nil))
	var err error
	if h.log, err = events.Open(filepath.Join(dir, "events"), events.Options{}); err != nil {
		t.Fatal(err)
	}
	h.folds = &Folds{Dir: filepath.Join(dir, "events"), Source: h.log, Log: log}
	start, from, err := h.folds.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.Ledger, err = projection.OpenLedger(h.log, start, from, nil); err != nil {
		t.Fatal(err)
	}
	h.folds.Ledger = h.Ledger
	h.view = &View{Path: filepath.Join(dir, "state.json"), Sums: filepath.Join(dir, "events", "state.sum"), Node: "a", Ledger: h.Ledger, Log: log}
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

func TestWriteDocument_empty(t *testing.T) {
	var b bytes.Buffer
	if err := WriteDocument(&b, "a", projection.NewState()); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b.Bytes()) {
		t.Errorf("not JSON:\n%s", b.Bytes())
	}
}

func TestView_writesWholeFilesWithTheirMode(t *testing.T) {
	h := open(t, t.TempDir())
	h.apply(t, "service/default/web", `{}`)
	if err := os.WriteFile(h.view.Path+".tmp", []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := h.view.Write(h.View().State)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(h.view.Path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o640 || info.Size() != n {
		t.Errorf("state.json has mode %v and %d bytes, want 0640 and %d", info.Mode().Perm(), info.Size(), n)
	}
	if _, err := os.Stat(h.view.Path + ".tmp"); err == nil {
		t.Error("a temporary file is left")
	}
}

func TestView_inspectSetsAsideWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	if aside, err := h.view.Inspect(); aside != "" || err != nil {
		t.Errorf("Inspect of nothing = %q, %v", aside, err)
	}
	write := func() {
		t.Helper()
		if _, err := h.view.Write(h.View().State); err != nil {
			t.Fatal(err)
		}
	}
	h.apply(t, "service/default/web", `{"a":1}`)
	write()
	first, err := os.ReadFile(h.view.Path)
	if err != nil {
		t.Fatal(err)
	}
	h.apply(t, "service/default/web", `{"a":2}`)
	write()
	if aside, err := h.view.Inspect(); aside != "" || err != nil {
		t.Errorf("Inspect of its own = %q, %v, want it left", aside, err)
	}

	// The power goes between the note of what is coming and the rename: what stands there is still known.
	h.apply(t, "service/default/web", `{"a":3}`)
	before, _ := os.ReadFile(h.view.Path)
	write()
	if err := os.WriteFile(h.view.Path, before, 0o640); err != nil {
		t.Fatal(err)
	}
	if aside, err := h.view.Inspect(); aside != "" || err != nil {
		t.Errorf("Inspect after a crash = %q, %v, want it left", aside, err)
	}

	for name, content := range map[string][]byte{"older": first, "foreign": []byte(`{"version":1}`), "empty": {}, "torn": first[:len(first)/2]} {
		if err := os.WriteFile(h.view.Path, content, 0o640); err != nil {
			t.Fatal(err)
		}
		aside, err := h.view.Inspect()
		if err != nil || aside == "" {
			t.Fatalf("%s: Inspect = %q, %v, want it set aside", name, aside, err)
		}
		if got, _ := os.ReadFile(aside); !bytes.Equal(got, content) {
			t.Errorf("%s: what was set aside has changed", name)
		}
		if _, err := os.Stat(h.view.Path); err == nil {
			t.Errorf("%s: it is still there", name)
		}
	}
}

// fixed is a ledger whose view a test sets.
type fixed struct{ v *projection.View }

func (f *fixed) View() *projection.View { return f.v }

func TestView_runRetriesAndWritesAtTheEnd(t *testing.T) {
	h := open(t, t.TempDir())
	h.apply(t, "service/default/web", `{}`)
	v := h.View()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		changed := make(chan struct{})
		l := &fixed{&projection.View{State: v.State, Changed: changed}}
		w := &View{Path: filepath.Join(dir, "missing", "state.json"), Sums: filepath.Join(dir, "sums"), Ledger: l, Log: h.view.Log}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		if w.Written().Err == nil {
			t.Fatal("a write into a folder that is not there went well")
		}
		if err := os.Mkdir(filepath.Join(dir, "missing"), 0o750); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.Written(); got.Err != nil || got.Index != v.Index() {
			t.Fatalf("after a second: %+v, want it written up to %d", got, v.Index())
		}
		if err := os.Remove(w.Path); err != nil {
			t.Fatal(err)
		}
		l.v = &projection.View{State: projection.NewState(), Changed: make(chan struct{})}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(w.Path); err != nil {
			t.Errorf("what came last was not written at the end: %v", err)
		}
	})
}

func TestFolds_roundTrip(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	for i := range 50 {
		h.apply(t, fmt.Sprintf("service/default/s%d", i%7), fmt.Sprintf(`{"i":%d}`, i))
	}
	h.apply(t, "service/default/s3", "")
	saved := h.View().State
	if err := h.folds.Save(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	h.apply(t, "service/default/late", `{}`)
	want := h.View().Digest()
	h.close()

	h = open(t, dir)
	if got := h.folds.Last(); got != saved.Index() {
		t.Errorf("started from a snapshot at %d, want %d", got, saved.Index())
	}
	if got := h.View().Digest(); got != want {
		t.Errorf("digest is %s after the restart, want %s", got, want)
	}
}

// Failure A.4: damage is passed over by name, for an older snapshot or the log; never an empty start.
func TestFolds_damagedIsPassedOverByName(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	var names []string
	for i := range 4 {
		h.apply(t, "service/default/web", fmt.Sprintf(`{"i":%d}`, i))
		if err := h.folds.Save(t.Context(), h.View().State); err != nil {
			t.Fatal(err)
		}
	}
	names, err := h.folds.names()
	if err != nil || len(names) != keep {
		t.Fatalf("snapshots are %v (%v), want %d", names, err, keep)
	}
	want := h.View().Digest()
	h.close()

	newest, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, last uint64, said ...string) {
		t.Helper()
		h := open(t, dir)
		defer h.close()
		if h.folds.Last() != last || h.View().Digest() != want {
			t.Errorf("%s: started from %d with digest %s, want %d and %s", what, h.folds.Last(), h.View().Digest(), last, want)
		}
		for _, s := range said {
			if !strings.Contains(h.said.String(), s) {
				t.Errorf("%s: %q is not said in:\n%s", what, s, h.said.String())
			}
		}
	}
	for i := range newest {
		damaged := bytes.Clone(newest)
		damaged[i] ^= 0x10
		if err := os.WriteFile(names[1], damaged, 0o640); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("byte %d", i), 3, filepath.Base(names[1]))
	}
	for n := range newest {
		if err := os.WriteFile(names[1], newest[:n], 0o640); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("cut at %d", n), 3, filepath.Base(names[1]))
	}
	if err := os.WriteFile(names[0], nil, 0o640); err != nil {
		t.Fatal(err)
	}
	check("both", 0, filepath.Base(names[0]), filepath.Base(names[1]))
}

func TestFolds_ofAnotherLogIsPassedOver(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	a, b := open(t, from), open(t, to)
	for _, h := range []*host{a, b} {
		h.apply(t, "service/default/web", `{}`)
		h.apply(t, "service/default/other", `{}`)
	}
	if err := a.folds.Save(t.Context(), a.View().State); err != nil {
		t.Fatal(err)
	}
	want := b.View().Digest()
	b.close()
	names, _ := a.folds.names()
	content, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []string{"2", "9"} {
		name := filepath.Join(to, "events", "fold-0000000000000000000"+index+".snap")
		if err := os.WriteFile(name, content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	b = open(t, to)
	if b.folds.Last() != 0 || b.View().Digest() != want {
		t.Errorf("a snapshot of another log was believed")
	}
	if !strings.Contains(b.said.String(), "of another log") {
		t.Errorf("it was not said:\n%s", b.said.String())
	}
}

func TestFolds_runSavesWhenEnoughCame(t *testing.T) {
	h := open(t, t.TempDir())
	h.folds.Events = 10
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.folds.Run(ctx) }()
	for i := range 25 {
		h.apply(t, "service/default/web", fmt.Sprintf(`{"i":%d}`, i))
	}
	deadline := time.After(10 * time.Second)
	for h.folds.Last() < 10 {
		select {
		case <-deadline:
			t.Fatal("no snapshot was made")
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

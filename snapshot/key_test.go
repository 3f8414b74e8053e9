package snapshot

import (
	"bytes"
	"os"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// Snapshots of the fold and state.json are sealed with the log: they tell nothing, are believed by who has the key, and are passed over by who has another.
func TestSealed_foldsAndView(t *testing.T) {
	h := open(t, t.TempDir())
	key, err := events.NewKey(bytes.Repeat([]byte{1}, events.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	other, err := events.NewKey(bytes.Repeat([]byte{2}, events.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	h.apply(t, "deployment/default/precious", `{"n":"precious"}`)
	h.folds.Key, h.view.Key = key, key
	s := h.View().State
	if err := h.folds.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := h.view.Write(s); err != nil {
			t.Fatal(err)
		}
		if foreign, err := (&View{Path: h.view.Path, Sums: h.view.Sums, Log: h.view.Log}).Foreign(); err != nil || foreign {
			t.Errorf("its own state.json: foreign %v, %v", foreign, err)
		}
	}
	names, err := h.folds.names()
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range append(names, h.view.Path) {
		b, err := os.ReadFile(name)
		if err != nil || bytes.Contains(b, []byte("precious")) || !events.SealedFile(b) {
			t.Errorf("%s tells what is in it, %v", name, err)
		}
	}
	for _, c := range []struct {
		key  *events.Key
		want bool
	}{{key, true}, {other, false}, {nil, false}} {
		h.folds.Key = c.key
		got, next, err := h.folds.Load(t.Context())
		if err != nil || (got != nil) != c.want || c.want && (got.Digest() != s.Digest() || next != 2) {
			t.Errorf("key %v: got %v, %d, %v", c.key.ID(), got, next, err)
		}
	}
	h.folds.Key = nil // a plain one in a folder that is sealed is nobody's word
	if err := h.folds.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	h.folds.Key = key
	if got, _, err := h.folds.Load(t.Context()); err != nil || got != nil {
		t.Errorf("a plain snapshot is believed: %v, %v", got, err)
	}
}

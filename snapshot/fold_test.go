package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFolds_roundTrip(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	for i := range 50 {
		h.apply(t, fmt.Sprintf("service/default/s%d", i%7), fmt.Sprintf(`{"i":%d}`, i))
	}
	h.apply(t, "service/default/s3", "")
	saved := h.View().State
	if err := os.WriteFile(filepath.Join(h.folds.Dir, "fold.tmp"), []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.folds.Save(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(h.folds.Dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left: %v", left)
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

// Who is told to stop while snapshots are read says so, and nothing of the snapshots.
func TestFolds_stoppedIsNotDamaged(t *testing.T) {
	h := open(t, t.TempDir())
	h.apply(t, "service/default/web", `{}`)
	if err := h.folds.Save(t.Context(), h.View().State); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, _, err := h.folds.Load(ctx); !errors.Is(err, context.Canceled) || s != nil {
		t.Errorf("Load = %v, %v", s, err)
	}
	if err := h.folds.cover(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cover = %v", err)
	}
	if said := h.said.String(); said != "" {
		t.Errorf("it says: %s", said)
	}
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

// A snapshot that is whole and of this log, but in the form of another version, or of a log that went on further.
func TestFolds_ofAnotherVersionOrBeyondTheLogIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.apply(t, "service/default/web", `{"i":1}`)
	want := h.View().Digest()
	h.close()
	earlier := t.TempDir()
	if err := os.CopyFS(earlier, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir)
	if err := h.folds.Save(t.Context(), h.View().State); err != nil {
		t.Fatal(err)
	}
	h.apply(t, "service/default/web", `{"i":2}`)
	if err := h.folds.Save(t.Context(), h.View().State); err != nil {
		t.Fatal(err)
	}
	names, err := h.folds.names()
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	for i, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			b[len(foldMagic)-2]++
			sum := sha256.Sum256(b[:len(b)-sha256.Size])
			b = append(b[:len(b)-sha256.Size], sum[:]...)
		}
		if err := os.WriteFile(filepath.Join(earlier, "events", filepath.Base(name)), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	h = open(t, earlier)
	if h.folds.Last() != 0 || h.View().Digest() != want {
		t.Errorf("started from %d with digest %s, want %s", h.folds.Last(), h.View().Digest(), want)
	}
	for _, s := range []string{"not a snapshot of this version", "event 2 is not in the log, which ends at 1"} {
		if !strings.Contains(h.said.String(), s) {
			t.Errorf("%q is not said in:\n%s", s, h.said.String())
		}
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

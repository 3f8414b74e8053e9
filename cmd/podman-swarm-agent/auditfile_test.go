package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// audited is a log that is written to an audit file.
type audited struct {
	t      *testing.T
	ledger *projection.Ledger
	tail   *tail.Tail
	path   string
	said   lines
	hup    chan os.Signal
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	dir := t.TempDir()
	l, err := events.Open(filepath.Join(dir, "events"), events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(l, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ran, l.Close()); err != nil {
			t.Error(err)
		}
	})
	return &audited{t: t, ledger: ledger, path: filepath.Join(dir, "audit.jsonl"), hup: make(chan os.Signal, 1),
		tail: &tail.Tail{ID: l.ID(), Read: l.Read, View: func() (uint64, <-chan struct{}) { v := ledger.View(); return v.Index(), v.Changed }}}
}

// record records some changes.
func (a *audited) record(n int) {
	a.t.Helper()
	for range n {
		var all []projection.Change
		for i := range 3 {
			all = append(all, projection.Change{Kind: events.Observed, Key: fmt.Sprintf("host/h%d", i), Object: []byte(`{"version":"v1"}`)})
		}
		_, err := a.ledger.Record(a.t.Context(), projection.By{Actor: "agent"}, func(*projection.State) ([]projection.Change, error) { return all, nil })
		if err != nil {
			a.t.Fatal(err)
		}
	}
}

// run writes the file until end is called.
func (a *audited) run(change func(*audit)) (au *audit, end func()) {
	au = &audit{tail: a.tail, path: a.path, log: slog.New(slog.NewTextHandler(&a.said, nil)), reopen: a.hup, every: time.Millisecond}
	if change != nil {
		change(au)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- au.Run(ctx) }()
	return au, func() {
		cancel()
		if err := <-done; err != nil {
			a.t.Error(err)
		}
	}
}

// until waits until the file has all that the log has.
func (a *audited) until(what string, done func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("%s: does not come; said: %s", what, &a.said)
		}
	}
}

// told are the indexes in the files, in the order of the files' names and then of their lines.
// What is not whole yet is left out, unless all has to be.
func (a *audited) told(whole bool) (all []int) {
	a.t.Helper()
	names, err := filepath.Glob(a.path + "*")
	if err != nil {
		a.t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			a.t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			var e struct {
				Index    int
				Position string
				Bookmark string
			}
			if err := json.Unmarshal(line, &e); whole && (err != nil || e.Position+e.Bookmark == "") {
				a.t.Fatalf("%s: %q: %v", name, line, err)
			}
			if e.Index > 0 {
				all = append(all, e.Index)
			}
		}
	}
	return all
}

// once checks that each event is in the files, once.
func (a *audited) once() {
	a.t.Helper()
	seen := map[int]int{}
	for _, i := range a.told(true) {
		seen[i]++
	}
	for i := 1; i <= int(a.ledger.View().Index()); i++ {
		if seen[i] != 1 {
			a.t.Errorf("event %d is there %d times", i, seen[i])
		}
	}
	if len(seen) != int(a.ledger.View().Index()) {
		a.t.Errorf("got %d events, want %d", len(seen), a.ledger.View().Index())
	}
}

func (a *audited) all() bool { return len(a.told(false)) == int(a.ledger.View().Index()) }

// Each event is written once, whenever the agent ends, whatever the power cut leaves of the last line, and whoever moves the
// file away.
func TestAudit_eachEventOnce(t *testing.T) {
	a := newAudited(t)
	for round := range 24 {
		au, end := a.run(func(au *audit) { au.most = 4 << 10 })
		a.record(3 + round%3)
		a.until("some of it", func() bool { return au.wrote.Load() > 0 })
		if round%6 == 5 { // as logrotate does it
			a.until("a file to move away", func() bool { return os.Rename(a.path, fmt.Sprintf("%s-%d", a.path, round)) == nil })
			a.hup <- syscall.SIGHUP
			a.record(1)
			a.until("a new file", func() bool { _, err := os.Stat(a.path); return err == nil })
		}
		end()
		switch round % 4 {
		case 1: // a crash: the line was not finished
			a.tear(func(b []byte) []byte { return append(b, `{"index":99999,"position":"99999@`...) })
		case 2: // or is not all there any more
			a.tear(func(b []byte) []byte { return b[:len(b)-7] })
		case 3: // or zeros stand where it was, or before it
			a.tear(func(b []byte) []byte {
				clear(b[max(0, len(b)-200):max(0, len(b)-150)]) // of a new file there may be less
				return append(b, make([]byte, 100)...)
			})
		}
	}
	_, end := a.run(nil)
	a.until("all of it", a.all)
	end()
	a.once()
	if names, err := filepath.Glob(a.path + ".*"); err != nil || len(names) < 5 {
		t.Errorf("got %q, %v: want the file to have been put aside at its size", names, err)
	}
	if st, err := os.Stat(a.path); err != nil || st.Mode().Perm()&^0o640 != 0 {
		t.Errorf("got mode %v, %v, want 0640 at most", st.Mode(), err)
	}
}

func (a *audited) tear(change func([]byte) []byte) {
	a.t.Helper()
	b, err := os.ReadFile(a.path)
	if err == nil && len(b) > 0 {
		err = os.WriteFile(a.path, change(b), 0o640)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// A file that cannot be written holds up no change, is said once, and is caught up.
func TestAudit_failingDisk(t *testing.T) {
	a := newAudited(t)
	if err := os.Symlink("/dev/full", a.path); err != nil {
		t.Fatal(err)
	}
	au, end := a.run(nil)
	defer end()
	a.record(10)
	a.until("the failure", func() bool { return au.errors.Load() > 3 })
	if p := au.problems(); len(p) != 1 || !strings.Contains(p[0].Why, "no space left") {
		t.Errorf("got %v", p)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(&followers{a.tail, au})
	s := gathered(t, r)
	if wrong := s.are(samples{"audit_file_failing": 1, "audit_file_lag_events": 30, "events_followers": 1, "events_followers_dropped_total": 0}); wrong != nil || s["audit_file_errors_total"] < 4 {
		t.Errorf("%v errors; %s", s["audit_file_errors_total"], strings.Join(wrong, "; "))
	}
	if err := os.Remove(a.path); err != nil {
		t.Fatal(err)
	}
	a.until("all of it", func() bool { _, err := os.Stat(a.path); return err == nil && a.all() })
	a.once()
	a.until("the end of it", func() bool { return len(au.problems()) == 0 })
	a.tail.Drop()
	if wrong := gathered(t, r).are(samples{"audit_file_failing": 0, "audit_file_lag_events": 0, "events_followers_dropped_total": 1}); wrong != nil {
		t.Error(strings.Join(wrong, "; "))
	}
	if s := a.said.String(); strings.Count(s, "cannot be written") != 1 || strings.Count(s, "is written again") != 1 {
		t.Errorf("said: %s", s)
	}
}

// What is no audit file is left as it is; of those put aside as many stay as were asked for; of another log it tells anew.
func TestAudit_files(t *testing.T) {
	a := newAudited(t)
	const foreign = "root:x:0:0\n"
	if err := os.WriteFile(a.path, []byte(foreign+"torn"), 0o640); err != nil {
		t.Fatal(err)
	}
	au, end := a.run(func(au *audit) { au.most, au.keep = 2<<10, 2 })
	a.record(30)
	a.until("the refusal", func() bool { return au.errors.Load() > 0 })
	if b, err := os.ReadFile(a.path); err != nil || string(b) != foreign+"torn" || !strings.Contains(a.said.String(), "is no audit file") {
		t.Errorf("got %q, %v; said: %s", b, err, &a.said)
	}
	if err := os.Remove(a.path); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		a.record(10)
		a.until("all of it", func() bool { return au.wrote.Load() == a.ledger.View().Index() })
	}
	end()
	if all, err := au.aside(); err != nil || len(all) != 2 {
		t.Errorf("got %v aside, %v; want 2", all, err)
	}
	b := newAudited(t)
	b.path = a.path
	b.record(1)
	au, end = b.run(nil)
	b.until("all of it", func() bool { return au.wrote.Load() == 3 })
	end()
	if got, err := os.ReadFile(b.path); err != nil || !strings.Contains(string(got), "is of another log than this one") {
		t.Errorf("got %s, %v: want it to say where another log begins", got, err)
	}
}

// Files of another log, that was here before, are in nobody's way: they count as the older ones, whatever their numbers.
func TestAudit_filesOfAnotherLog(t *testing.T) {
	a := newAudited(t)
	long := time.Now().Add(-time.Hour)
	for i, name := range []string{".99999", ".3", ".6"} {
		if err := os.WriteFile(a.path+name, []byte(`{"bookmark":"3@00000000"}`+"\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(a.path+name, long, long.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	au, end := a.run(func(au *audit) { au.most = 100 })
	for range 6 {
		a.record(1)
		a.until("all of it", func() bool { return au.wrote.Load() == a.ledger.View().Index() })
	}
	end()
	a.once()
	all, err := au.aside()
	if err != nil || len(all) < 5 || all[0] != a.path+".99999" || all[2] != a.path+".6" || all[3] != a.path+".9" {
		t.Errorf("got %q, %v", all, err)
	}
	au.keep = 4
	if err := au.prune(); err != nil {
		t.Fatal(err)
	}
	if left, err := au.aside(); err != nil || len(left) != 4 || left[3] != all[len(all)-1] {
		t.Errorf("got %q, %v", left, err)
	}
}

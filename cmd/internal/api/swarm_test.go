package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestSwarm_status(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		s.Health = func() Health {
			return Health{ReadOnly: "disk is full", Podman: "connection refused", Snapshot: time.Now().Add(-2 * time.Second), Snapshots: "no room"}
		}
		s.Orphans = &orphanList{all: []Orphan{{ID: "cafe"}}}
	})
	a.want(200, "POST", apply, deployment("web", 3, "w"))
	pod := func(n int) projection.Pod {
		return projection.Pod{Namespace: "default", Deployment: "web", Ordinal: n}
	}
	id := a.place(pod(0), "h1", "")
	a.observe(pod(0), "h1", &projection.Replica{Placement: id, Phase: projection.Running})
	id = a.place(pod(1), "h1", "")
	a.observe(pod(1), "h1", &projection.Replica{Placement: id, Phase: projection.Pending, Reason: "ErrImagePull", Message: "no such image"})
	a.place(pod(2), "", "no host fits")
	var st Status
	got := a.want(200, "GET", "/swarm/v1/status", "")
	if err := json.Unmarshal(got.body, &st); err != nil {
		t.Fatal(err)
	}
	if st.Host != "h1" || st.Index != a.index() || st.ReadOnly != "disk is full" || st.Podman != "connection refused" || st.SnapshotError != "no room" ||
		st.SnapshotAge == nil || *st.SnapshotAge < 1 || st.Orphans != 1 || st.Replicas != 3 || st.Running != 1 || st.Version != "v1.2.3" {
		t.Errorf("got %s", got.body)
	}
	want := []NotRunning{{Pod: "default/web-1", Host: "h1", Why: "ErrImagePull: no such image"}, {Pod: "default/web-2", Why: "no host fits"}}
	if fmt.Sprint(st.NotRunning) != fmt.Sprint(want) {
		t.Errorf("not running: got %v, want %v", st.NotRunning, want)
	}
}

type orphanList struct {
	all  []Orphan
	done []string
}

func (o *orphanList) List(context.Context) ([]Orphan, error) { return o.all, nil }
func (o *orphanList) Adopt(_ context.Context, _ projection.By, id string) error {
	return o.do("adopt", id)
}
func (o *orphanList) Remove(_ context.Context, _ projection.By, id string) error {
	return o.do("remove", id)
}
func (o *orphanList) do(what, id string) error {
	if id != "cafe" {
		return fmt.Errorf("orphan %s: %w", id, fs.ErrNotExist)
	}
	o.done = append(o.done, what)
	return nil
}

func TestSwarm_orphans(t *testing.T) {
	o := &orphanList{}
	a := start(t, t.TempDir(), func(s *Server) { s.Orphans = o })
	if got := a.want(200, "GET", "/swarm/v1/orphans", ""); string(got.body) != "[]\n" {
		t.Errorf("got %s", got.body)
	}
	o.all = []Orphan{{ID: "cafe", Name: "web-0", Key: "default/web-0", Why: "nothing is known of it"}}
	if got := a.want(200, "GET", "/swarm/v1/orphans", ""); got.field("0.id") != "cafe" || got.field("0.why") == "" {
		t.Errorf("got %s", got.body)
	}
	a.want(200, "POST", "/swarm/v1/orphans/cafe/adopt", "")
	a.want(200, "POST", "/swarm/v1/orphans/cafe/remove", "")
	if got := a.want(404, "POST", "/swarm/v1/orphans/beef/remove", ""); got.field("reason") != "NotFound" {
		t.Errorf("got %s", got.body)
	}
	a.want(405, "GET", "/swarm/v1/orphans/cafe/remove", "")
	if fmt.Sprint(o.done) != "[adopt remove]" {
		t.Errorf("done: %v", o.done)
	}
}

func TestSwarm_documents(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		s.Recovery = func() projection.Recovery { return projection.Recovery{Adopted: 3} }
		s.Document = func(st *projection.State) any { return map[string]uint64{"index": st.Index()} }
	})
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	if got := a.want(200, "GET", "/swarm/v1/state", ""); got.field("index") != "1" {
		t.Errorf("state: got %s", got.body)
	}
	if got := a.want(200, "GET", "/swarm/v1/recovery", ""); got.field("adopted") != "3" {
		t.Errorf("recovery: got %s", got.body)
	}
	if got := a.want(200, "GET", "/api/v1/health", ""); got.field("status") != "healthy" || got.field("index") != "1" {
		t.Errorf("health: got %s", got.body)
	}
	b := start(t, t.TempDir(), func(s *Server) { s.Events = nil })
	for _, path := range []string{"state", "recovery", "events", "orphans"} {
		if got := b.want(501, "GET", "/swarm/v1/"+path, ""); got.field("kind") != "Status" {
			t.Errorf("%s: got %s", path, got.body)
		}
	}
}

// A change that nobody saw lose is listed.
func TestSwarm_conflicts(t *testing.T) {
	a := start(t, t.TempDir())
	if got := a.want(200, "GET", "/swarm/v1/conflicts", ""); string(got.body) != "[]\n" {
		t.Errorf("got %s", got.body)
	}
	// Two hosts change the same version of one object without having heard of each other.
	st := projection.NewState()
	seq := map[events.Incarnation]uint64{}
	heads := map[events.Incarnation]events.Hash{}
	fold := func(inc events.Incarnation, at events.Time, e events.Event) events.Stamp {
		c := &events.Commit{Inc: inc, Seq: seq[inc] + 1, Time: at, Prev: heads[inc], Node: "x", Events: []events.Event{e}}
		if e.UID.IsZero() {
			c.Events[0].UID = c.ID(0)
		}
		seq[inc]++
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		heads[inc] = events.HashOf(b)
		st = st.Fold(c, heads[inc], st.Index()+1, time.Now())
		return c.Stamp(0)
	}
	e := events.Event{Kind: events.Declared, Key: "service/default/a", Object: []byte(`{"v":0}`)}
	base := fold(1, 1, e)
	e.UID, e.Base, e.Object = base.ID, base, []byte(`{"v":1}`)
	lost := fold(1, 2, e)
	e.Object = []byte(`{"v":2}`)
	fold(2, 3, e)
	b := start(t, t.TempDir(), func(s *Server) { s.Ledger = still{&projection.View{State: st}} })
	got := b.want(200, "GET", "/swarm/v1/conflicts", "")
	if got.field("0.key") != "service/default/a" || got.field("0.stamp") != lost.String() || got.field("0.object.v") != "1" || got.field("1") != "" {
		t.Errorf("got %s", got.body)
	}
	if got := b.want(200, "GET", "/swarm/v1/status", ""); got.field("conflicts") != "1" {
		t.Errorf("got %s", got.body)
	}
}

// still is a ledger at one state of another's making.
type still struct{ v *projection.View }

func (s still) View() *projection.View { return s.v }
func (s still) Record(context.Context, projection.By, func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	return projection.Receipt{}, projection.ErrClosed
}

// lines is a log that goes on until it is closed.
type lines struct {
	*io.PipeReader
	*io.PipeWriter
	closed chan struct{}
}

func (l lines) Close() error {
	close(l.closed)
	return errors.Join(l.PipeWriter.Close(), l.PipeReader.Close())
}

func TestPodLog(t *testing.T) {
	var asked LogOptions
	var where string
	open := func(o LogOptions) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("one\ntwo\n")), nil }
	a := start(t, t.TempDir(), func(s *Server) {
		s.Logs = func(_ context.Context, host, container string, o LogOptions) (io.ReadCloser, error) {
			asked, where = o, host+"/"+container
			return open(o)
		}
	})
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	p := projection.Pod{Namespace: "default", Deployment: "web"}
	const path = "/api/v1/namespaces/default/pods/web-0/log"
	a.want(404, "GET", path, "")
	id := a.place(p, "h1", "")
	if got := a.want(400, "GET", path, ""); !strings.Contains(got.field("message"), "waiting for host h1") {
		t.Errorf("got %s", got.body)
	}
	a.observe(p, "h1", &projection.Replica{Placement: id, Phase: projection.Pending, Reason: "ErrImagePull", Message: "no such image"})
	if got := a.want(400, "GET", path, ""); !strings.Contains(got.field("message"), "ErrImagePull: no such image") {
		t.Errorf("got %s", got.body)
	}
	a.observe(p, "h1", &projection.Replica{Placement: id, Phase: projection.Running, Container: "cafe"})
	if got := a.want(200, "GET", path, ""); string(got.body) != "one\ntwo\n" || where != "h1/cafe" || asked != (LogOptions{Tail: -1}) {
		t.Errorf("got %q from %s with %+v", got.body, where, asked)
	}
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := a.want(200, "GET", path+"?container=web&timestamps=true&tailLines=0&limitBytes=5&sinceTime="+since.Format(time.RFC3339), "")
	if want := (LogOptions{Timestamps: true, Since: since}); string(got.body) != "one\nt" || asked != want {
		t.Errorf("got %q with %+v, want %+v", got.body, asked, want)
	}
	for _, query := range []string{"?container=other", "?tailLines=-1", "?tailLines=x", "?limitBytes=x", "?sinceTime=x", "?sinceSeconds=-1", "?previous=true"} {
		a.want(400, "GET", path+query, "")
	}
	a.want(405, "POST", path, "")

	// What follows ends with its client, and closes the container's log.
	more := lines{closed: make(chan struct{})}
	more.PipeReader, more.PipeWriter = io.Pipe()
	open = func(LogOptions) (io.ReadCloser, error) { return more, nil }
	w := a.follow(path + "?follow=true")
	if _, err := io.WriteString(more.PipeWriter, "now\n"); err != nil {
		t.Fatal(err)
	}
	if got := w.next(); got != "now" || !asked.Follow {
		t.Errorf("got %q with %+v", got, asked)
	}
	w.close()
	select {
	case <-more.closed:
	case <-time.After(patience):
		t.Error("the log of a client that has left stays open")
	}
}

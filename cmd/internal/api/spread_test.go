package api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// A write waits until as many hosts have it as was asked for, and says so. When time is up, it stands all the same.
func TestSpread(t *testing.T) {
	var asked []string
	reachable := true
	a := start(t, t.TempDir(), func(s *Server) {
		s.Spread = func(ctx context.Context, commit events.ID, hosts int) (have, missing []string, err error) {
			asked = append(asked, fmt.Sprintf("%v %d", commit, hosts))
			if reachable || hosts == 1 {
				return []string{"h1", "h2"}, nil, nil
			}
			<-ctx.Done()
			return []string{"h1"}, []string{"h2"}, ctx.Err()
		}
	})
	a.join("h1", "h2")
	wait := func(n string) []string {
		return []string{HeaderWaitFor + ": " + n, HeaderWaitTimeout + ": 20ms"}
	}
	got := a.want(200, "POST", apply, deployment("web", 1, "w"), wait("2")...)
	if got.header.Get(HeaderDead) != "" || got.header.Get(HeaderOnDisk) != "h1, h2" || got.header.Get("Warning") != "" || got.field("on_disk.enough") != "true" {
		t.Errorf("got %v %s", got.header, got.body)
	}
	if want := got.field("commit") + " 2"; len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %v, want %s once", asked, want)
	}
	commit := got.field("commit")
	a.want(200, "GET", webPath, "", wait("all")...) // nothing to wait for
	a.want(200, "POST", apply+"?dryRun=All", deployment("web", 2, "w"), wait("all")...)
	if len(asked) != 1 {
		t.Errorf("asked %v", asked)
	}

	reachable = false
	got = a.want(200, "POST", apply, deployment("web", 1, "w"), wait("all")...) // again: of what is there already
	if len(asked) != 2 || asked[1] != commit+" 0" || got.field("on_disk.enough") != "false" || got.field("results.0.action") != "unchanged" {
		t.Errorf("asked %v, got %s", asked, got.body)
	}
	for _, c := range []struct {
		code               int
		method, path, body string
	}{
		{200, "PATCH", webPath, `{"spec":{"replicas":3}}`},
		{201, "POST", deploymentsPath, deployment("other", 1, "w")},
		{200, "PUT", webPath + "/scale", `{"spec":{"replicas":4}}`},
		{200, "PATCH", "/api/v1/nodes/h2", `{"spec":{"unschedulable":true}}`},
		{200, "POST", "/swarm/v1/nodes/h2/drain", ""},
		{200, "DELETE", deploymentsPath + "/other", ""},
	} {
		headers := wait("2")
		if c.method == "PATCH" {
			headers = append(headers, asMerge)
		}
		before := a.index()
		got := a.want(c.code, c.method, c.path, c.body, headers...)
		if a.index() == before {
			t.Errorf("%s %s: nothing was recorded", c.method, c.path)
		}
		if got.header.Get(HeaderOnDisk) != "h1" || got.header.Get(HeaderNotOnDisk) != "h2" ||
			!strings.Contains(got.header.Get("Warning"), "the change is made and stands") || !strings.Contains(got.header.Get("Warning"), "time was up after 20ms") {
			t.Errorf("%s %s: got %v", c.method, c.path, got.header)
		}
	}
	before := a.index()
	for _, headers := range [][]string{wait("0"), wait("3"), wait("most"), {HeaderWaitFor + ": 1", HeaderWaitTimeout + ": x"}} {
		a.want(400, "POST", apply, deployment("web", 7, "w"), headers...)
	}
	if a.index() != before {
		t.Error("what cannot be waited for was recorded")
	}
}

// All are not those of which somebody has said that they are dead; and which those are is said.
func TestSpread_dead(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) {
		s.Spread = func(context.Context, events.ID, int) (have, missing []string, err error) {
			return []string{"h1"}, nil, nil
		}
	})
	a.join("h1", "h2", "h3")
	a.silence("h2", "h3")
	a.want(200, "POST", "/swarm/v1/nodes/h2/down", "")
	got := a.want(200, "POST", apply, deployment("web", 1, "w"), HeaderWaitFor+": all")
	if got.header.Get(HeaderDead) != "h2" || got.field("on_disk.dead") != `["h2"]` || got.field("on_disk.enough") != "true" {
		t.Errorf("got %v %s", got.header, got.body)
	}
	if got := a.want(200, "POST", apply, deployment("web", 2, "w"), HeaderWaitFor+": 1"); got.header.Get(HeaderDead) != "" || got.field("on_disk.dead") != "" {
		t.Errorf("got %v %s", got.header, got.body)
	}
}

func TestSpread_notServed(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(501, "POST", apply, deployment("web", 1, "w"), HeaderWaitFor+": 1")
	if a.index() != 0 {
		t.Error("it was recorded")
	}
}

// Of a restore the last commit is waited for, with which a host has all of it.
func TestSpread_ofARestore(t *testing.T) {
	var asked events.ID
	a := restoring(t, func(s *Server) {
		s.Spread = func(_ context.Context, commit events.ID, _ int) (have, missing []string, err error) {
			asked = commit
			return []string{"h1", "h2"}, nil, nil
		}
	})
	a.join("h1", "h2")
	a.want(200, "POST", apply, deployment("web", 1, "w"))
	backup := a.want(201, "POST", "/swarm/v1/backups", "").field("name")
	a.want(200, "POST", apply, deployment("web", 2, "w"))
	path := "/swarm/v1/backups/" + backup + "/restore"
	for range 2 { // it, and its undo
		asked = events.ID{}
		got := a.want(200, "POST", path, "", HeaderWaitFor+": 2")
		if got.header.Get(HeaderOnDisk) != "h1, h2" {
			t.Errorf("%s: got %v", path, got.header)
		}
		r, _ := a.Ledger.View().LookupRestore(got.field("id"))
		if last := len(r.Spans) - 1; last < 0 || asked != r.Spans[last].First || a.index() != asked.Seq-1+uint64(r.Spans[last].Count) {
			t.Errorf("%s: asked for %v, want the last of %+v, which end at %d", path, asked, r.Spans, a.index())
		}
		if path = "/swarm/v1/restores/" + got.field("id") + "/undo"; r.Undoes != "" {
			path = "/swarm/v1/restores/" + r.Undoes + "/undo"
		}
	}
	before := asked
	asked = events.ID{}
	if a.want(200, "POST", path, "", HeaderWaitFor+": 2"); asked != before { // which changes nothing any more
		t.Errorf("taken back again: asked for %v, want %v as before", asked, before)
	}
}

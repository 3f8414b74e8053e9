package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
)

func TestOwn_judge(t *testing.T) {
	for _, c := range []struct {
		acked, open []uint64
		value       uint64
		blind       bool
		want        string
	}{
		{[]uint64{0, 1, 2}, nil, 2, false, ""},
		{[]uint64{0, 1, 2}, nil, 1, false, lost},
		{[]uint64{0, 1, 2}, nil, 0, false, lost},
		{[]uint64{0, 1, 2}, nil, 3, false, wrong},
		{[]uint64{0, 1, 0}, nil, 1, false, resurrected},
		{[]uint64{0, 1, 0}, nil, 7, false, wrong},
		{[]uint64{0, 1}, []uint64{2, 0}, 2, false, ""},
		{[]uint64{0, 1}, []uint64{2, 0}, 0, false, ""},
		{[]uint64{0, 1, 2}, nil, 1, true, ""},
		{[]uint64{0, 1, 2}, nil, 3, true, wrong},
	} {
		if got := (&own{c.acked, c.open}).judge(c.value, c.blind); got != c.want {
			t.Errorf("acked %v, open %v, is %d, disk lost %v: got %q, want %q", c.acked, c.open, c.value, c.blind, got, c.want)
		}
	}
}

// wrote is a declared event of Service x.
func wrote(n int, base string, value uint64) event {
	e := event{Stamp: fmt.Sprintf("%016x-a-%d", n, n), Kind: "declared", Key: "service/default/x", UID: "a-1", Base: base}
	e.Object = &struct {
		Metadata struct{ Annotations map[string]string }
	}{}
	e.Object.Metadata.Annotations = map[string]string{annotation: fmt.Sprint(value)}
	return e
}

func TestJudgeShared(t *testing.T) {
	x := id{"Service", "x"}
	one := wrote(1, "", 1)
	seen := wrote(2, one.Stamp, 2)
	unseen := wrote(2, "", 2)
	deleted := event{Stamp: "3-a-3", Kind: "declared", Key: "service/default/x", UID: "a-1"}
	deleted.Ends = append(deleted.Ends, struct{ UID, Base string }{"a-1", one.Stamp})
	shares := []written{{x, 1, 0, "a-1"}, {x, 2, 1, "a-2"}}
	for name, c := range map[string]struct {
		shares    []written
		there     uint64
		events    []event
		conflicts []string
		blind     map[int]bool
		want      []string
	}{
		"there":                             {shares[:1], 1, []event{one}, nil, nil, nil},
		"replaced by who had seen it":       {shares, 2, []event{one, seen}, nil, nil, nil},
		"lost unseen and listed":            {shares, 2, []event{one, unseen}, []string{one.Stamp}, nil, nil},
		"lost unseen and not listed":        {shares, 2, []event{one, unseen}, nil, nil, []string{lost}},
		"not in the log":                    {shares, 2, []event{unseen}, nil, nil, []string{lost}},
		"not in the log, but its disk lost": {shares, 2, []event{unseen}, nil, map[int]bool{0: true}, nil},
		"deleted by who had seen it":        {shares[:1], 0, []event{one, deleted}, nil, nil, nil},
		"deleted and there":                 {shares[:1], 1, []event{one, deleted}, nil, nil, []string{resurrected}},
	} {
		var got []string
		for _, f := range judgeShared(c.shares, map[id]uint64{x: c.there}, c.events, c.conflicts, c.blind) {
			got = append(got, f.what)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestWatch_movesAndDuplicates(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(1000+seconds), 0) }
	p := pod{"uid", standing + "a-0"}
	newWatch := func() *watch {
		return &watch{hosts: []*street.Host{{Name: "h1"}, {Name: "h2"}}, reschedule: 10 * time.Second, standing: standing, report: &report{},
			at: map[pod]int{}, twice: map[pod]*span{}, quiet: make([][]span, 2), healed: at(0)}
	}
	note := func(w *watch, seconds int, hosts ...int) { w.note(map[pod][]int{p: hosts}, nil, at(seconds)) }

	w := newWatch()
	note(w, 0, 0)
	note(w, 1, 1)
	if w.moves != 1 || w.report.count(needless) != 1 {
		t.Errorf("a move of a host that was heard: got %d moves, %d needless; want 1, 1", w.moves, w.report.count(needless))
	}

	w = newWatch()
	note(w, 0, 0)
	w.quiet[0] = []span{{at(1), at(13)}}
	w.healed = at(13)
	note(w, 12, 0, 1)
	note(w, 14, 0, 1)
	note(w, 15, 1)
	if w.moves != 1 || w.report.count(needless) != 0 {
		t.Errorf("a move of a silent host: got %d moves, %d needless; want 1, 0", w.moves, w.report.count(needless))
	}
	if n, longest := w.duplicates(); n != 1 || longest != 2*time.Second {
		t.Errorf("duplicates: got %d, longest %v; want 1, 2s after the heal", n, longest)
	}

	w = newWatch()
	note(w, 0, 0)
	w.quiet[0] = []span{{at(1), at(6)}}
	note(w, 7, 1)
	if w.report.count(needless) != 1 {
		t.Error("a move of a host that was silent for half as long as it takes is not seen to be needless")
	}
	w = newWatch()
	note(w, 0, 0)
	note(w, 1, 0, 0)
	note(w, 2, 0)
	if n, _ := w.duplicates(); n != 1 {
		t.Errorf("twice on one host: got %d duplicates, want 1", n)
	}
}

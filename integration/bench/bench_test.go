package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func TestInterleave_takesTurns(t *testing.T) {
	var order strings.Builder
	of := func(name string) *series {
		return &series{name: name, once: func() (time.Duration, error) {
			order.WriteString(name)
			return time.Duration(order.Len()), nil
		}}
	}
	a, b := of("a"), of("b")
	if err := interleave(t.Context(), 3, a, b); err != nil {
		t.Fatal(err)
	}
	if got, want := order.String(), "abbaab"; got != want {
		t.Errorf("order: got %s, want %s", got, want)
	}
	if got, want := a.median(), time.Duration(4); got != want {
		t.Errorf("median of %v: got %d, want %d", a.took, got, want)
	}
}

func TestInterleave_endsWithTheFirstError(t *testing.T) {
	lost := errors.New("lost")
	a := timed("a", func() error { return lost })
	if err := interleave(t.Context(), 3, a); !errors.Is(err, lost) || !strings.HasPrefix(err.Error(), "a: ") || len(a.took) > 0 {
		t.Errorf("got %v after %d, want the error at once, with the name", err, len(a.took))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := interleave(ctx, 3, a); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestPrinter_table(t *testing.T) {
	var out bytes.Buffer
	p := printer{w: &out}
	rows := []row{
		row{Figure: "a  x", Ours: "2 µs", With: "raw", Theirs: "1 µs", Ratio: 2}.aim("<= 1.3", false).note("as measured"),
		row{Figure: "b  y", Ours: "1 µs", With: "raw", Theirs: "20 µs", Ratio: 0.05}.aim("<= 1.3", true),
	}
	if err := p.rows(rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.00   <= 1.3  MISSED", "0.05   <= 1.3  met", "\na  x: as measured\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// What was missed is named in the end, where who started it looks; what has no aim, or reached it, is not.
func TestMissed(t *testing.T) {
	rows := []row{
		row{Figure: "a  x", Ours: "2 µs", With: "raw", Theirs: "1 µs", Ratio: 2}.aim("<= 1.3", false),
		row{Figure: "b  y", Ours: "1 µs"}.aim("<= 1.3 µs", true),
		{Figure: "c  z", Ours: "1 GB"},
	}
	if err := missed(rows[1:]); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	rows = append(rows, row{Figure: "d  w", Ours: "3 s"}.aim("<= 2 s", false))
	want := "missed aims: 2\n  a  x: 2 µs, ratio 2.00, aim <= 1.3\n  d  w: 3 s, aim <= 2 s"
	if err := missed(rows); err == nil || err.Error() != want {
		t.Errorf("got %v, want\n%s", err, want)
	}
}

// A missed aim ends the run with an error only with -strict, whose table is there all the same.
func TestRun_strict(t *testing.T) {
	late := part{"z", "what comes too late", "host", func(*bench, context.Context) ([]row, error) {
		return []row{row{Figure: "z  late", Ours: "3 s"}.aim("<= 2 s", false)}, nil
	}}
	for _, strict := range []bool{false, true} {
		args := []string{"-dir", t.TempDir()}
		if strict {
			args = append(args, "-strict")
		}
		var out bytes.Buffer
		err := runParts(t.Context(), []part{late}, args, &out, io.Discard)
		if (err != nil) != strict || strict && !strings.Contains(err.Error(), "z  late") {
			t.Errorf("strict %t: got %v", strict, err)
		}
		if !strings.Contains(out.String(), "MISSED") {
			t.Errorf("strict %t: no table in\n%s", strict, &out)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{span(1234 * time.Nanosecond), "1.23 µs"},
		{span(45 * time.Millisecond), "45.0 ms"},
		{span(2500 * time.Millisecond), "2.50 s"},
		{size(999), "999 B"},
		{size(1853), "1.85 kB"},
		{size(25.3e9), "25.3 GB"},
		{rate(1_000_000), "1,000,000/s"},
		{count(999), "999"},
		{count(10_000), "10,000"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	got, err := choose(parts(), "h, a")
	if err != nil || len(got) != 2 || got[0].name != "h" || got[1].name != "a" {
		t.Errorf("got %v, %v, want parts h and a", got, err)
	}
	if got, err := choose(parts(), "sync"); err != nil || len(got) != 6 || got[0].name != "i" {
		t.Errorf("got %v, %v, want the parts from i on", got, err)
	}
	if _, err := choose(parts(), "a,z"); err == nil || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("got %v, want an error that names z", err)
	}
}

func TestObjects_oneSize(t *testing.T) {
	for _, size := range []int{objectSize, smallSize} {
		all, err := newObjects(size)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 7, 99_999} {
			b := all.of(i, i+1)
			var o struct {
				Metadata struct {
					Name        string
					Annotations map[string]string
				}
			}
			if err := json.Unmarshal(b, &o); err != nil || len(b) != size {
				t.Fatalf("object %d: %d bytes, %v, want %d of JSON", i, len(b), err, size)
			}
			if want := fmt.Sprintf("%08d", i); o.Metadata.Name != want {
				t.Errorf("name: got %q, want %q", o.Metadata.Name, want)
			}
			if want := fmt.Sprintf("%08d", i+1); !strings.Contains(fmt.Sprint(o.Metadata.Annotations), want) {
				t.Errorf("annotations: got %v, want version %s", o.Metadata.Annotations, want)
			}
		}
	}
}

// The parts that need no Podman run whole, as short as they can be, and leave nothing behind.
func TestRun_withoutPodman(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-short", "-only", "a,b,h", "-dir", dir}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"machine  ", "a  flat", "b  64 writers", "h  apply, 1,000 objects"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

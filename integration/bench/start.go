package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// start measures (e): from the start of the agent's process until it is ready, with a long log and many containers.
func (b *bench) start(ctx context.Context) (rows []row, err error) {
	s, err := b.openStreet(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	containers, keys, versions := b.scale(100, 5), b.scale(1000, 100), b.scale(100, 5)
	if err := s.run(ctx, containers); err != nil {
		return nil, err
	}
	fmt.Fprintf(b.say, "  %d containers run; appending %d events\n", containers, keys*versions)
	if err := s.apply(ctx, keys, versions); err != nil {
		return nil, err
	}
	if err := s.agent.Kill(); err != nil {
		return nil, err
	}
	ours, whole := s.starts(ctx, "start of the agent", containers), s.starts(ctx, "start without the snapshot", containers)
	quick := whole.once
	whole.once = func() (took time.Duration, err error) {
		err = s.aside("fold-*.snap", func() error {
			took, err = quick()
			return err
		})
		return took, err
	}
	inspect := func(ctx context.Context, id string) error {
		var v any
		return s.call(ctx, http.MethodGet, "containers/"+id+"/json", &v)
	}
	one := timed("Podman's calls", func() error { return s.each(ctx, 1, inspect) })
	eight := timed("Podman's calls, 8 at a time", func() error { return s.each(ctx, 8, inspect) })
	if err := interleave(ctx, b.scale(11, 2), &ours.series, &whole.series, one, eight); err != nil {
		return nil, err
	}
	best := min(one.median(), eight.median())
	of := func(what string, o *starts) row {
		beyond := o.median() - best
		return row{Figure: "e  start to ready" + what, Ours: span(o.median()), With: "Podman: list, and inspect each", Theirs: span(best),
			Ratio: float64(o.median()) / float64(best)}.aim("< 1 s beyond", beyond < time.Second).
			note("of it %s; %s events were replayed", o.spent(), count(o.replayed))
	}
	rows = append(rows, of("", ours), of(", without a snapshot of the fold", whole))
	rows[1].Note += fmt.Sprintf("; %s events in the log, %d containers run; SIGKILLed before each start; Podman's calls one at a time %s, "+
		"8 at a time %s", count(keys*versions), containers, span(one.median()), span(eight.median()))
	return rows, nil
}

// starts is how long the agent takes to start, and what it says of that itself.
type starts struct {
	series
	replayed int
	phases   map[string]*series
}

// starts makes a series of starts, each of an agent that has been killed, in which that many containers are adopted.
func (s *street) starts(ctx context.Context, name string, containers int) *starts {
	o := &starts{series: series{name: name}, phases: map[string]*series{}}
	o.once = func() (time.Duration, error) {
		began := time.Now()
		if err := s.agent.Up(ctx); err != nil {
			return 0, err
		}
		took := time.Since(began)
		var r struct {
			Replayed, Adopted int
			Seconds           map[string]float64
		}
		if err := trial.GetJSON(ctx, s.agent.URL()+"/swarm/v1/recovery", &r); err != nil {
			return 0, err
		}
		if r.Adopted != containers {
			return 0, fmt.Errorf("%d containers adopted, want %d", r.Adopted, containers)
		}
		o.replayed = r.Replayed
		for phase, seconds := range r.Seconds {
			if o.phases[phase] == nil {
				o.phases[phase] = &series{}
			}
			o.phases[phase].took = append(o.phases[phase].took, time.Duration(seconds*float64(time.Second)))
		}
		return took, s.agent.Kill()
	}
	return o
}

// spent says what the phases took.
func (o *starts) spent() string {
	var all []string
	for _, phase := range slices.Sorted(maps.Keys(o.phases)) {
		all = append(all, phase+" "+span(o.phases[phase].median()))
	}
	return strings.Join(all, ", ")
}

// aside has files of the agent's log folder under another name while do runs.
func (s *street) aside(pattern string, do func() error) error {
	names, err := filepath.Glob(filepath.Join(s.agent.DataDir, "events", pattern))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Rename(name, name+".aside"); err != nil {
			return err
		}
	}
	err = do()
	for _, name := range names {
		err = errors.Join(err, os.Rename(name+".aside", name))
	}
	return err
}

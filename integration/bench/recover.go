package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// recovery measures (f): from the start of the agent's process until all containers that have exited run again.
func (b *bench) recovery(ctx context.Context) (rows []row, err error) {
	s, err := b.openStreet(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	n := b.scale(20, 4)
	if err := s.run(ctx, n); err != nil {
		return nil, err
	}
	if err := s.agent.Kill(); err != nil {
		return nil, err
	}
	// exited is a series of how long do takes to bring back containers that have all been killed.
	exited := func(name string, do func() error) *series {
		return &series{name: name, once: func() (time.Duration, error) {
			if err := s.killAll(ctx, n); err != nil {
				return 0, err
			}
			began := time.Now()
			if err := do(); err != nil {
				return 0, err
			}
			took := time.Since(began)
			return took, errors.Join(s.all(ctx, n, "running"), s.agent.Kill())
		}}
	}
	ours := exited("recovery", func() error { return s.agent.Up(ctx) })
	calls := exited("start by API", func() error {
		return s.each(ctx, n, func(ctx context.Context, id string) error {
			return s.call(ctx, http.MethodPost, "containers/"+id+"/start", nil)
		})
	})
	commands := exited("podman start", func() error {
		return s.each(ctx, n, func(ctx context.Context, id string) error {
			_, err := s.host.Podman(ctx, "start", id)
			return err
		})
	})
	if err := interleave(ctx, b.scale(7, 1), ours, commands, calls); err != nil {
		return nil, err
	}
	figure := fmt.Sprintf("f  recovery of %d exited containers", n)
	against := func(with string, theirs *series) row {
		return row{Figure: figure, Ours: span(ours.median()), With: with, Theirs: span(theirs.median()), Ratio: ours.over(theirs)}.
			aim("<= 1.1", ours.over(theirs) <= 1.1)
	}
	return []row{
		against(fmt.Sprintf("podman start, %d at once", n), commands),
		against(fmt.Sprintf("start by Podman's API, %d at once", n), calls).
			note("from the start of the agent's process until it is ready, with all containers running"),
	}, nil
}

// killAll kills all containers, and waits until Podman has seen them exit and cleaned up after them.
func (s *street) killAll(ctx context.Context, n int) error {
	all, err := s.containers(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	for _, c := range all {
		group.Go(func() error { return s.call(ctx, http.MethodPost, "containers/"+c.ID+"/kill?signal=KILL", nil) })
	}
	return errors.Join(group.Wait(), s.all(ctx, n, "exited"))
}

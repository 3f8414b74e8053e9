package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// agree waits until all hosts have the same state, and gives what they show.
func (d *drill) agree(ctx context.Context) (all objects, err error) {
	err = until(ctx, time.Minute, func() error {
		var first string
		for n, h := range d.street.Hosts {
			shown, digest, err := now(ctx, h)
			switch {
			case err != nil:
				return err
			case n == 0:
				first, all = digest, shown
			case digest != first:
				return fmt.Errorf("%s and %s do not agree", d.street.Hosts[0].Name, h.Name)
			}
		}
		return nil
	})
	return all, err
}

// restore restores a moment that is drawn, by the log of a host or by one of its backups, and takes that back.
func (d *drill) restore(ctx context.Context, n int) error {
	before, err := d.agree(ctx)
	if err != nil {
		return err
	}
	on := d.rnd.IntN(d.hosts)
	h := d.street.Hosts[on]
	path, index, what, err := d.draw(ctx, on, n)
	if err != nil {
		return err
	}
	began := time.Now()
	var done struct {
		ID    string
		Count int
	}
	if err := post(ctx, h, path, &done); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := d.same(ctx, what, d.pasts[on].at(index)); err != nil {
		return err
	}
	d.figures.restoring = append(d.figures.restoring, time.Since(began))
	if err := post(ctx, h, "/swarm/v1/restores/"+url.PathEscape(done.ID)+"/undo", &done); err != nil {
		return fmt.Errorf("take back: %s: %w", what, err)
	}
	d.figures.undone++
	return d.same(ctx, "taken back: "+what, before)
}

// draw gives how a moment of a host is restored, and which it is: each fifth time by a backup that the host made meanwhile.
func (d *drill) draw(ctx context.Context, on, n int) (path string, index uint64, what string, err error) {
	h, first, last := d.street.Hosts[on], d.stood[on], d.pasts[on].last()
	var all []struct{ Name string }
	if n%5 == 4 {
		if err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/backups", &all); err != nil {
			return "", 0, "", err
		}
	}
	for _, i := range d.rnd.Perm(len(all)) {
		b := all[i]
		var verified struct {
			About *struct{ Index uint64 }
		}
		if err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/backups/"+url.PathEscape(b.Name)+"/verify", &verified); err != nil {
			return "", 0, "", err
		}
		if verified.About == nil {
			d.figures.differences = append(d.figures.differences, fmt.Sprintf("%s of %s is not whole", b.Name, h.Name))
			continue
		}
		if index = verified.About.Index; first <= index && index <= last {
			d.figures.backups++
			return "/swarm/v1/backups/" + url.PathEscape(b.Name) + "/restore?cause=drill", index, fmt.Sprintf("%s of %s", b.Name, h.Name), nil
		}
	}
	d.figures.restores++
	index = first + d.rnd.Uint64N(last-first+1)
	return fmt.Sprintf("/swarm/v1/restores?at=%d&cause=drill", index), index, fmt.Sprintf("event %d of %s", index, h.Name), nil
}

// same notes where a host shows something else than it should, once all agree.
func (d *drill) same(ctx context.Context, what string, want objects) error {
	if _, err := d.agree(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, h := range d.street.Hosts {
		got, _, err := now(ctx, h)
		if err != nil {
			return err
		}
		for _, line := range differ(got, want) {
			d.figures.differences = append(d.figures.differences, fmt.Sprintf("%s, on %s: %s", what, h.Name, line))
		}
	}
	return nil
}

func post(ctx context.Context, h *street.Host, path string, v any) error {
	b, err := trial.Do(ctx, h.Client(), http.MethodPost, h.URL()+path, "")
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

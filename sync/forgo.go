package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// look has the whole log be read beside the steps, since that takes long, and what is to be done about what was found be done in a step. One at a time.
// job is called in another goroutine: it must not use the core.
func (c *core) look(job func(ctx context.Context) (then func())) {
	c.looking = true
	looked := func(ctx context.Context) func() {
		then := job(ctx)
		return func() {
			c.looking = false
			then()
		}
	}
	if c.beside == nil {
		looked(c.ctx)()
		return
	}
	c.beside(looked)
}

// forgo gives up what others have given up, as the incarnations tell under which that was recorded again. It looks each time that there is another
// incarnation.
func (c *core) forgo() {
	for !c.looking && !c.now.Before(c.forgoAt) {
		var all events.Incarnation
		for _, h := range c.ledger.View().OnDisk().Vector() {
			if h.Seq > 0 {
				all += h.Inc
			}
		}
		if all == c.known {
			return
		}
		c.known = all
		ledger, jumps := c.ledger, c.jumps
		c.look(func(ctx context.Context) func() {
			inc, seq, found, err := ledger.Forgone(ctx)
			return func() {
				if c.jumps != jumps { // it may be another's number by now, whose commit stands
					c.known = 0
					return
				}
				c.foundForgone(inc, seq, found, err)
			}
		})
	}
}

// foundForgone is told what others have given up of what is held here, of which there may be more.
func (c *core) foundForgone(inc events.Incarnation, seq uint64, found bool, err error) {
	if err != nil {
		c.known, c.forgoAt = 0, c.now.Add(c.every.sync)
		c.fails(finding, err)
		return
	}
	c.works(finding)
	if !found {
		c.solved(forgoing)
		return
	}
	c.known = 0
	c.say.Warn("others have given up commits that this host holds: it does the same, and nothing is lost", "incarnation", inc, "after", seq)
	c.counts.Forks++
	c.jumps++
	if err := c.ledger.GiveUp(c.ctx, inc, seq, fmt.Sprintf("others have given up what was written under incarnation %v after event %d", inc, seq)); err != nil {
		c.forgoAt = c.now.Add(c.every.sync)
		c.unended(forgoing, inc, err)
		return
	}
	c.solved("fork " + inc.String())
	c.gaveUp()
}

// forgoing is the problem that what others have given up cannot be given up here: it is over when nothing of that is found any more, however
// that came.
const forgoing = "forgo"

// unended tells of a fork that cannot be ended, and what helps.
func (c *core) unended(problem string, inc events.Incarnation, err error) {
	if c.ends(err) {
		return
	}
	do := "stop the agent of this host, move its events folder aside and start it: the others tell it their state; " + aside
	if errors.Is(err, events.ErrFull) { // it is tried again
		do = "make room on the disk of this host"
	}
	c.problem(problem, "a fork of incarnation "+inc.String()+" cannot be ended: "+err.Error(), do)
}

// What may fail since the log cannot be read now, or never again.
const (
	finding   = "whether others have given up commits that this host holds cannot be found out"
	repeating = "what others have said of commits that were given up cannot be recorded again"
)

// fails tells of what will be tried again, once; and as a problem when that does not help.
func (c *core) fails(what string, err error) {
	var damage *events.CorruptError
	if errors.As(err, &damage) {
		c.damaged(damage)
	}
	since, ok := c.failing[what]
	switch {
	case c.ends(err):
	case !ok:
		c.failing[what] = c.now
		c.say.Warn(what+" yet", "err", err)
	case c.now.Sub(since) >= c.every.stands:
		c.problem(what, what+": "+err.Error(), "see that the events folder of this host, and the increments beside its backups, can be read")
	}
}

// works takes that back.
func (c *core) works(what string) {
	delete(c.failing, what)
	c.solved(what)
}

// ends reports whether an error says only that this host's agent is about to end.
func (c *core) ends(err error) bool {
	return c.ctx.Err() != nil || errors.Is(err, projection.ErrClosed)
}

// sayAgain records again what others have said of what was given up, and what came later than that.
func (c *core) sayAgain() {
	if !c.lateSaid || c.looking || c.now.Before(c.forgoAt) {
		return
	}
	c.lateSaid = false // what comes while it is looked for may be missed by that
	ledger := c.ledger
	c.look(func(ctx context.Context) func() {
		n, err := ledger.Late(ctx)
		return func() { c.saidAgain(n, err) }
	})
}

// saidAgain is told how many commits were recorded again.
func (c *core) saidAgain(n int, err error) {
	if err == nil || errors.Is(err, events.ErrTrimmed) {
		c.works(repeating)
	}
	switch {
	case errors.Is(err, events.ErrTrimmed): // what it was said of cannot be read any more, nor later
		c.say.Warn("what others may have said of commits that were given up cannot be recorded again: the log was trimmed", "err", err)
	case err != nil:
		c.lateSaid = true
		if c.forgoAt = c.now.Add(c.every.sync); errors.Is(err, events.ErrFull) {
			return // which is told of already
		}
		c.fails(repeating, err)
	case n > 0:
		c.say.Warn("others have said something of commits that were given up before that came: it is recorded again as well", "commits", n)
		c.seen = vectors{}
	}
}

package sync

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Sync keeps this host and the others on the same state. Its fields are its configuration and must not be changed once
// Run has been called; the durations have defaults.
type Sync struct {
	Bus     Bus
	Ledger  Ledger
	Log     Log
	Node    string
	Cluster string
	Version string // of this agent, for others to see
	Address string // of this host's cluster port, for others to remember
	// Ready says whether this host still recovers, and whether its log takes nothing.
	Ready func() (starting, readOnly bool)
	Say   *slog.Logger
	// Claims are those of before the start, as Status gave them.
	Claims []Claim
	Now    func() time.Time // the wall clock, by which offsets are measured; nil: time.Now

	Beat    time.Duration // how often this host says how far it has come; zero: 2 s
	Silence time.Duration // after which a host that is not heard counts as silent; zero: 5 s
	Every   time.Duration // the longest that a difference may stay unnoticed; zero: 30 s

	core   *core
	jobs   chan func()
	ended  chan struct{}             // closed when Run has returned
	busy   atomic.Pointer[time.Time] // since when the core does something; nil: it does nothing
	status atomic.Pointer[reported]
}

// reported is a Status, and how to wait for the next.
type reported struct {
	*Status
	next chan struct{} // closed when there is a newer one
}

// Open prepares Run, after which the other methods may be called.
func (s *Sync) Open() {
	every := times{cmp.Or(s.Beat, 2*time.Second), cmp.Or(s.Silence, 5*time.Second), cmp.Or(s.Every, 30*time.Second), 5 * time.Second, time.Minute}
	wall := s.Now
	if wall == nil {
		wall = time.Now
	}
	out := &sender{node: s.Node, send: func(subject string, data []byte) {
		if err := s.Bus.Publish(subject, data); err != nil {
			s.Say.Debug("a message could not be sent; it will be asked for", "subject", subject, "err", err)
		}
	}}
	out.parts.Store(rand.Uint64() >> 12) // so that pieces of before a restart are told apart
	s.core = newCore(s.Node, rand.Uint64()>>11, wall().UnixMilli(), every, s.Ledger, s.Log, out, s.Say)
	s.core.asked = rand.Uint64() >> 12 // an answer to what was asked before a restart must not pass for one to what is asked now
	s.core.wall, s.core.ready, s.core.subject = wall, s.Ready, subjects{s.Cluster}
	s.core.remember(s.Claims)
	s.core.about = answer{Version: s.Version, Address: s.Address}
	s.jobs, s.ended = make(chan func()), make(chan struct{})
	s.status.Store(&reported{&Status{}, make(chan struct{})})
}

// inbox is how many messages may wait. More wait in the Bus, and are lost if that has no room.
const inbox = 256

// tickEvery is how often is looked at what time alone changes.
const tickEvery = 200 * time.Millisecond

// Run syncs until ctx ends, and then it is nil. It ends before that, with an error, when another agent of this host's name
// was there first, or when the Bus cannot be listened to. It records nothing of its own; a crash leaves what the ledger has.
func (s *Sync) Run(ctx context.Context) error {
	defer close(s.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan message, inbox)
	deliver := func(subject string, data []byte) {
		select {
		case in <- message{subject, data}:
		case <-ctx.Done():
		}
	}
	for _, pattern := range []string{s.core.subject.log(), s.core.subject.host(s.Node)} {
		stop, err := s.Bus.Subscribe(pattern, deliver)
		if err != nil {
			return err
		}
		defer stop()
	}
	pub := &publisher{ledger: s.Ledger, log: s.Log, out: s.core.out, subject: s.core.subject.commit(s.Node), say: s.Say}
	pub.begin()
	var beside sync.WaitGroup
	defer func() { cancel(); beside.Wait() }() // also when Run ends by itself
	s.core.beside = func(job func(context.Context) func()) {
		beside.Go(func() {
			then := job(ctx)
			select {
			case s.jobs <- then:
			case <-ctx.Done():
			}
		})
	}
	beside.Go(func() {
		for ctx.Err() == nil {
			v := s.Ledger.View()
			pub.publish(ctx)
			select {
			case <-v.Changed:
			case <-ctx.Done():
			}
		}
	})
	beside.Go(func() { s.live(ctx) })
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	last := time.Now()
	var deaf time.Time               // until when this host may not have heard yet what came while it did not listen
	do, ticked := s.core.tick, false // at once: who hears this host says how far it is
	for {
		now := time.Now()
		if now.Sub(last) >= s.core.every.silence/2 { // the core was busy, or the whole process stopped: nobody is silent for that
			deaf = now.Add(2 * tickEvery)
		}
		if last = now; !ticked || !now.Before(deaf) {
			s.busy.Store(&now)
			s.core.step(ctx, now, do)
			s.busy.Store(nil)
			if s.core.fatal != nil {
				return s.core.fatal
			}
			s.core.counts.Published = pub.events.Load()
			s.core.counts.BytesOut = s.core.out.bytes.Load()
			if !now.Before(deaf) {
				s.report()
			}
		}
		var changed <-chan struct{}
		if len(s.core.holding) > 0 {
			changed = s.Ledger.View().Changed
		}
		ticked = false
		select {
		case <-ctx.Done():
			return nil
		case m := <-in:
			all := gather(in, m)
			do = func() { s.core.receive(all) }
		case do = <-s.jobs:
		case <-changed:
			do = func() {} // what is asked for may be on disk now
		case <-tick.C:
			do, ticked = s.core.tick, true
		}
	}
}

// live says for a core that is busy that this host lives, until ctx ends. A step may take long: a large state, a slow disk. Its containers
// run meanwhile, and need not move; once it takes too long, others are told as well that the host takes no changes.
func (s *Sync) live(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	var stuck *time.Time // since when the core is, as others have been told
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := s.busy.Load()
		if stuck != nil && began != stuck {
			s.Say.Info("sync goes on", "stood", time.Since(*stuck))
			stuck = nil
		}
		if began == nil {
			continue
		}
		if stuck == nil && time.Since(*began) >= s.core.every.silence {
			stuck = began
			s.stands(*began)
		}
		s.core.pulse.again(time.Now(), s.core.every.beat, stuck != nil, s.core.publishBeat)
	}
}

// stands lets others see that the core does nothing else. How they are heard stays as it was known last.
func (s *Sync) stands(since time.Time) {
	p := Problem{What: "sync stands still: what came from other hosts is not written to the disk of this host, which takes no changes",
		Do: "see whether its disk answers (dmesg, iostat); its containers run on", Since: since}
	s.Say.Error(p.What, "do", p.Do)
	st := *s.status.Load().Status
	st.Problems = append(slices.Clone(st.Problems), p)
	s.show(&st)
}

// gather takes what else has come.
func gather(in <-chan message, first message) []message {
	all := []message{first}
	for len(all) < inbox {
		select {
		case m := <-in:
			all = append(all, m)
		default:
			return all
		}
	}
	return all
}

// report lets others see how things are, not more often than anybody needs it.
func (s *Sync) report() {
	if s.core.now.Sub(s.status.Load().At) >= tickEvery/2 {
		s.show(s.core.status())
	}
}

// show has a status be the newest.
func (s *Sync) show(st *Status) {
	close(s.status.Swap(&reported{st, make(chan struct{})}).next)
}

// Status is how things are, some tenths of a second ago at most, and a channel that is closed when that is known anew.
func (s *Sync) Status() (*Status, <-chan struct{}) {
	r := s.status.Load()
	return r.Status, r.next
}

// do has Run's goroutine do something, and waits until it has.
func (s *Sync) do(ctx context.Context, job func()) {
	done := make(chan struct{})
	select {
	case s.jobs <- func() { job(); close(done) }:
		<-done
	case <-s.ended:
	case <-ctx.Done():
	}
}

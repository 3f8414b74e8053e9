package sync

import (
	"slices"
	"sync"
	"time"
)

// pulse says the beats of a host, each with as little as it takes. Most say no more than that all is as it was said before; so what
// idle hosts say does not grow with what there would be to say. It is safe for concurrent use: the core says how things are, and
// while it is busy others say for it that the host lives.
type pulse struct {
	mu     sync.Mutex
	number uint64    // of the newest beat
	whole  beat      // the newest that said everything
	last   beat      // the newest, and everything that it stands for
	at     time.Time // when that was said
	anew   bool      // the next is to say everything: somebody may not have heard what it would be about
}

// say says b, and nothing else in between.
func (p *pulse) say(b beat, now time.Time, send func(*beat)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = now
	send(p.next(b))
}

// again says that the host lives, if nobody has said so for as long as every, while it is busy: what it said last, and so nothing
// that might not be on disk; it tells of no beat of another, and vouches for none. Once it is stuck it takes no change and hears nobody.
func (p *pulse) again(now time.Time, every time.Duration, stuck bool, send func(*beat)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() || now.Sub(p.at) < every {
		return
	}
	b := p.last
	b.Waits, b.Told, b.Up = b.Hears, nil, b.Up+now.Sub(p.at).Milliseconds() // it listens to nobody, so whether they live is not known
	if stuck {
		b.ReadOnly, b.Hears = true, nil
	}
	p.at = now
	send(p.next(b))
}

// next gives the beat by which to say b.
func (p *pulse) next(b beat) *beat {
	p.number++
	b.Number = p.number
	settled := b.stands(&p.last) && !b.stands(&p.whole) // to say it once and for all is shorter than again and again
	p.last = b
	if p.anew || settled || b.Starting != p.whole.Starting || b.ReadOnly != p.whole.ReadOnly || !slices.Equal(b.Hears, p.whole.Hears) {
		p.whole, p.anew = b, false
		return &b
	}
	short := beat{Number: b.Number, As: b.Number - p.whole.Number, Waits: b.Waits, Told: b.Told}
	if !b.stands(&p.whole) {
		short.Inc, short.Seq, short.Hash, short.Vector, short.Digest = b.Inc, b.Seq, b.Hash, b.Vector, b.Digest
	}
	return &short
}

// differs reports whether that is not what was said last.
func (p *pulse) differs(starting, readOnly bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return starting != p.last.Starting || readOnly != p.last.ReadOnly
}

// once gives a beat that says all of b to one host alone, which the next to all must then do as well.
func (p *pulse) once(b beat) *beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number++
	b.Number, p.anew = p.number, true
	return &b
}

// all has the next beat say everything.
func (p *pulse) all() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.anew = true
}

// pass has the beats go on after a number, unless that is nonsense.
func (p *pulse) pass(number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if number > p.number && number-p.number < 1<<42 { // a hundred years, in milliseconds
		p.number = number
	}
}

// stands reports whether two beats say that the host stands at the same place.
func (b *beat) stands(o *beat) bool {
	return b.Inc == o.Inc && b.Seq == o.Seq && b.Vector == o.Vector && b.Digest == o.Digest
}

// filled gives all that a beat stands for that refers to whole.
func (b *beat) filled(whole beat) beat {
	whole.Number, whole.As, whole.Waits, whole.Told = b.Number, b.As, b.Waits, b.Told
	if b.Inc != 0 {
		whole.Inc, whole.Seq, whole.Hash, whole.Vector, whole.Digest = b.Inc, b.Seq, b.Hash, b.Vector, b.Digest
	}
	return whole
}

package sync

import (
	"context"
	"testing"
	"time"
)

// What no beat tells of is noticed within --sync-interval, whatever that is. A beat that tells of something strange may be ahead of what is under way,
// so nothing is asked for that; the next would prove a gap, and none of them comes.
func TestTick_aGapIsNoticedWithinTheInterval(t *testing.T) {
	for _, every := range []time.Duration{20 * time.Second, 50 * time.Second} {
		s := settled(t, 1, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		a.core.every.sync, a.core.every.silence = every, time.Hour // so that b counts as heard all the time
		a.core.nextLook = s.now
		looks := a.core.looks
		for looked := s.now; a.core.looks == looks && s.now.Sub(looked) <= tickEvery; {
			s.run(time.Millisecond)
		}
		looked := s.now // and found nothing
		if _, err := b.ledger.Admit(context.Background(), chain(t, 9, 1)); err != nil {
			t.Fatal(err)
		}
		tell, told := b.core.out.send, 0
		b.core.out.send = func(subject string, data []byte) {
			if kind, _ := b.core.subject.read(subject); kind == "beat" {
				if told++; told > 1 {
					return
				}
			}
			tell(subject, data)
		}
		for a.core.peers["b"].strange == 0 {
			s.run(time.Millisecond)
		}
		for a.ledger.View().Head(9).Seq == 0 {
			if s.run(time.Millisecond); s.now.Sub(looked) > every+tickEvery+3*s.delay {
				t.Fatalf("with an interval of %v, a has not noticed %v after it looked last what it lacks", every, s.now.Sub(looked))
			}
		}
		if took := s.now.Sub(looked); took < every {
			t.Errorf("a has noticed %v after it looked last: something else told it, and the test tells nothing of an interval of %v", took, every)
		}
	}
}

package podman_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// loopUnseen is for how long a crash loop is not to be seen at most, by who looks once a minute. An alert looks further back (integration/monitoring:
// PodmanSwarmCrashLoop).
const loopUnseen = 13 * time.Minute

// Of a loop it is told for as long as that goes on, however long the program lives, and by another agent as well; and not any more once it is mended.
func TestProgress_looping(t *testing.T) {
	for _, runs := range []time.Duration{0, time.Second, 30 * time.Second, time.Minute, 10*time.Minute - time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.run()
			w.ready()
			w.place(host, template(args("-exit-after="+runs.String(), "-exit-code=3")), pod("web", 0), pod("web", 1))
			w.place(host, template(), pod("well", 0))
			var seen time.Time
			for range 2 {
				if seen.IsZero() || runs > time.Minute { // a wait of some seconds after a long run is easily missed
					w.settled(15*time.Minute + 8*runs)
					seen = time.Now()
				}
				for range 90 {
					w.settled(time.Minute)
					switch n := w.Progress().Looping; {
					case n == 2:
						seen = time.Now()
					case n > 2:
						t.Fatalf("runs of %s: %d replicas are in a crash loop, want 2", runs, n)
					}
					if ago := time.Since(seen); ago > loopUnseen {
						t.Fatalf("runs of %s: nothing was to be seen of the loop for %s", runs, ago)
					}
				}
				w.restart() // which begins to count anew
				w.ready()
			}
			w.place(host, template(), pod("web", 0), pod("web", 1))
			w.settled(10 * time.Second)
			if n := w.Progress().Looping; n != 0 {
				t.Errorf("runs of %s: it is mended, and %d replicas are in a crash loop", runs, n)
			}
		})
	}
}

// What a reboot has ended, or a program that ends once in a while, is in no loop.
func TestProgress_rebootIsNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.place(host, template(), pod("web", 0), pod("web", 1), pod("web", 2), pod("web", 3), pod("web", 4), pod("web", 5))
		w.place(host, template(args("-exit-after=11m")), pod("now-and-then", 0))
		w.run()
		w.ready()
		w.stop()
		w.fake.Reboot()
		w.settled(time.Minute)
		w.restart()
		for range 3600 {
			w.settled(time.Second)
			if n := w.Progress().Looping; n != 0 {
				t.Fatalf("%d replicas are in a crash loop", n)
			}
		}
		if n := w.Stats().Restarts.Load(); n < 7+4 {
			t.Errorf("counted %d restarts, want that all were started again", n)
		}
	})
}

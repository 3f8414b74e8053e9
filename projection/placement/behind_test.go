package placement

import (
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// A placement may be for a version that no host has, or has under this number: it was recorded again, or lost with its host. It is decided
// about all the same, and what is decided is shown: else it would be decided again and again.
func TestDecide_forAVersionThatIsNotHeld(t *testing.T) {
	for _, c := range []struct {
		name string
		of   func(d events.Stamp) events.Stamp
	}{
		{"recorded again", func(d events.Stamp) events.Stamp { return events.Stamp{Time: d.Time, ID: events.ID{Inc: 99, Seq: 5}} }},
		{"lost", func(d events.Stamp) events.Stamp {
			return events.Stamp{Time: d.Time + 1000, ID: events.ID{Inc: 3, Seq: 5}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newCluster(t, "a", "b", "c")
			h.deploy("web", 3)
			h.runs("web", "web-0:a web-1:b web-2:c")
			p := h.placement("web", 2)
			is := c.of(h.rollout("web").Object.Stamp)
			h.record(projection.Change{Kind: events.Decided, Key: p.PlacementKey(), For: is, Object: projection.Encode(p.Placement)})
			h.work()
			h.hear("a", "b")
			h.later(time.Minute)
			h.runs("web", "web-0:a web-1:b web-2:a")
			if got := h.placement("web", 2).For; got != is {
				t.Errorf("it is moved for %v, want %v", got, is)
			}
			h.deploy("web", 3, image("v2")) // which is newer than either
			h.settle("web")
			if got, want := h.shape("web"), "map[v2:3] 3"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

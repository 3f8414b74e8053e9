package placement

import (
	"slices"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// renumber has each placement of the Deployment say that it is of an owner, and for a declaration, as another host had decided before
// the Deployment was given up and recorded again. It returns the events that say so.
func (h *house) renumber(name string, owner events.ID, declared events.Stamp) (all []events.ID) {
	h.t.Helper()
	var placed []*projection.Placed
	for p, err := range h.View().Placements("default/" + name + "/") {
		if err != nil {
			h.t.Fatal(err)
		}
		placed = append(placed, p)
	}
	slices.SortFunc(placed, func(a, b *projection.Placed) int { return a.Object.Stamp.Compare(b.Object.Stamp) })
	for _, p := range placed {
		p.Owner = owner
		h.record(projection.Change{Kind: events.Decided, Key: p.PlacementKey()})
		h.record(projection.Change{Kind: events.Decided, Key: p.PlacementKey(), For: declared, Object: projection.Encode(p.Placement)})
	}
	for p, err := range h.View().Placements("default/" + name + "/") {
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, p.Event())
		h.seen(p, running(imageOf(p), h.now.Add(-h.ran)))
	}
	return all
}

// A Deployment that was given up and recorded again has another uid. What others have decided for it before is its own all the same, and
// says so from then on: nothing goes.
func TestDecide_recordedAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		owner events.ID                         // of the placements
		time  func(d events.Stamp) events.Stamp // that they are for
		own   bool
	}{
		{"its number before means nothing here", events.ID{Inc: 3, Seq: 9}, func(events.Stamp) events.Stamp { return events.Stamp{Time: 1, ID: events.ID{Inc: 3, Seq: 9}} }, true},
		{"its number before means something else", events.ID{Inc: 7, Seq: 2}, func(d events.Stamp) events.Stamp { return events.Stamp{Time: d.Time, ID: events.ID{Inc: 3, Seq: 2}} }, true},
		{"its number before is a greater one", events.ID{Inc: 99, Seq: 2}, func(d events.Stamp) events.Stamp { return events.Stamp{Time: d.Time, ID: events.ID{Inc: 99, Seq: 2}} }, true},
		{"it was made anew", events.ID{Inc: 7, Seq: 2}, func(d events.Stamp) events.Stamp {
			return events.Stamp{Time: d.Time - 1, ID: events.ID{Inc: 3, Seq: 2}}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.deploy("web", 2)
			h.settle("web")
			d := h.rollout("web")
			before := h.renumber("web", c.owner, c.time(d.Object.Stamp))
			if st := h.rollout("web").Status(); c.own != (st.UpdatedReplicas == 2 && st.AvailableReplicas == 2) {
				t.Errorf("its status is %+v", st)
			}
			if !c.own {
				h.want("web", "+web-2 v1, +web-3 v1, -web-0, -web-1")
				return
			}
			h.want("web", "+web-0 v1, +web-1 v1")
			h.want("web", "")
			var now []events.ID
			for _, r := range h.rollout("web").Replicas {
				if r.Owner != d.Object.UID || len(r.Was) != 1 || r.Event() == r.Was[0] || r.Seen == nil {
					t.Errorf("%s is decided as %+v, and its host says %+v", r.Name(), r.Placement, r.Seen)
				}
				now = append(now, r.Was...)
			}
			if !slices.Equal(now, before) {
				t.Errorf("they were known as %v, want %v", now, before)
			}
			h.deploy("web", 1) // and it is decided about as ever
			h.want("web", "-web-1")
		})
	}
}

// While a Deployment is paused, what was decided last is what it says: that stays so.
func TestDecide_recordedAgainWhilePaused(t *testing.T) {
	h := newHouse(t)
	h.deploy("web", 1)
	h.settle("web")
	h.deploy("web", 1, image("v2"), rolling("1", "0"))
	h.settle("web")
	h.deploy("web", 1, image("v3"), rolling("1", "0"))
	h.want("web", "+web-0 v3")
	h.deploy("web", 3, image("v4"), rolling("1", "0"), paused)
	h.renumber("web", events.ID{Inc: 3, Seq: 9}, events.Stamp{})
	h.want("web", "+web-0 v3, +web-1 v2")
	h.want("web", "+web-2 v3")
}

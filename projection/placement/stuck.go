package placement

import (
	"fmt"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Stuck says, of each replica that is placed nowhere, or on a host that it should leave or that is not heard, what it
// waits for or why it does not move. It is for people. What cannot be read is left out: whoever decides says so.
func Stuck(s *projection.State, c Cluster) map[projection.Pod]string {
	inv := inventoryOf(s)
	p := newPass(s, c.hosts(s, inv.register), inv)
	all := map[projection.Pod]string{}
	for placed, err := range s.Placements("") {
		if err != nil || inv.slots[placed.Pod] == nil {
			continue
		}
		if why := p.stuck(&Replica{Placed: placed}); why != "" {
			all[placed.Pod] = why
		}
	}
	return all
}

func (p *pass) stuck(r *Replica) string {
	if r.Host == "" {
		return "not placed: " + r.Why
	}
	h, writable := p.hosts.at(r.Host), p.writable(r)
	gone := !h.silent.IsZero() || h.gone != ""
	unwanted := p.unwanted(r)
	switch {
	case !gone && unwanted == "":
		return ""
	case !gone && writable != "":
		return fmt.Sprintf("stays on %s, which is %s: has a writable hostPath %s; delete the Deployment, or move its data and change the manifest",
			h.name, unwanted, writable)
	case !gone:
		if why := p.nowhere(r); why != "" {
			return fmt.Sprintf("stays on %s, which is %s: %s", h.name, unwanted, why)
		}
		return fmt.Sprintf("leaves %s, which is %s, once another runs in its place", h.name, unwanted)
	case writable != "" && !h.down && !h.removed:
		return fmt.Sprintf("not moved: has a writable hostPath %s: if %s is dead, psctl node down %s", writable, h.quiet(), h.name)
	case h.gone == "" && !p.majority:
		return fmt.Sprintf("not moved: %s; if %s is dead, psctl node down %s", h.held, h.name, h.name)
	}
	switch why, at := p.moves(r); {
	case why != "":
		if why := p.nowhere(r); why != "" {
			return "not moved: " + why
		}
		return fmt.Sprintf("moves to another host (%s)", why)
	case at.Equal(h.due):
		return h.held
	default:
		return fmt.Sprintf("waiting until %s (%s; moved %d times, last at %s)", clock(at), h.quiet(), r.Moves, clock(r.Moved))
	}
}

// nowhere says why no other host can take the replica; "" when one can.
func (p *pass) nowhere(r *Replica) string {
	mark := p.given.mark()
	defer p.given.back(mark)
	if host, why := p.place(r.Pod, r.Template, r.SpecHash); host == "" {
		return why
	}
	return ""
}

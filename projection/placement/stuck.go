package placement

import (
	"bytes"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Stuck says, of each replica that is placed nowhere, or on a host that it should leave or that is not heard, what it
// waits for or why it does not move. It is for people. What cannot be read is left out: whoever decides says so.
func Stuck(s *projection.State, c Cluster) map[projection.Pod]string {
	all := map[projection.Pod]string{}
	r := register{}
	hs := c.hosts(s, r)
	var troubled []*Replica
	for o := range s.All(projection.PlacementType + "/") {
		host, ok := hostOf(o.Version.Object)
		if ok && host != "" && !hs.at(host).troubled() {
			continue // nearly all, and reading the rest of them costs more
		}
		switch p, err := projection.AsPlacement(o); {
		case err != nil:
		case p.Host == "":
			all[p.Pod] = "not placed: " + p.Why
		case hs.at(p.Host).troubled():
			troubled = append(troubled, &Replica{Placed: p})
		}
	}
	if len(troubled) == 0 {
		return all
	}
	p := newPass(s, hs, inventoryOf(s))
	for _, rep := range troubled {
		if p.given.slots[rep.Pod] == nil {
			continue
		}
		if why := p.stuck(rep); why != "" {
			all[rep.Pod] = why
		}
	}
	return all
}

// hostOf is the host of a placement as Encode writes it; false when it is written otherwise.
func hostOf(placement []byte) (host string, ok bool) {
	rest, ok := bytes.CutPrefix(placement, []byte(`{"host":"`))
	if !ok {
		return "", false
	}
	name, _, ok := bytes.Cut(rest, []byte(`"`))
	return string(name), ok && !bytes.ContainsRune(name, '\\')
}

// troubled reports whether there may be replicas on the host that should not be, or of which nothing is known.
func (h *host) troubled() bool {
	return !h.silent.IsZero() || h.gone != "" || h.node.Draining ||
		slices.ContainsFunc(h.node.Taints, func(t corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute })
}

// stuck is what there is to say of a replica on a host that is troubled; "" when it is all right.
func (p *pass) stuck(r *Replica) string {
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

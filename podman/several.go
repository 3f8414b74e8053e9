package podman

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Layout is which containers a pod has beside its first.
type Layout struct {
	Init   []string // run to their end one after the other before the first is made
	Others []string // run beside the first, once that does
	Joined bool     // the others have the first's network
}

// layoutOf reads a template's layout: none of one that cannot be read, whose first container tells of that.
func layoutOf(placed *projection.Placed) (l Layout) {
	var t corev1.PodTemplateSpec
	if json.Unmarshal(placed.Template, &t) != nil {
		return l
	}
	for _, c := range t.Spec.InitContainers {
		l.Init = append(l.Init, c.Name)
	}
	for i := 1; i < len(t.Spec.Containers); i++ {
		l.Others = append(l.Others, t.Spec.Containers[i].Name)
	}
	l.Joined = !t.Spec.HostNetwork
	return l
}

func (l *Layout) has(of string) bool {
	return of == "" || slices.Contains(l.Others, of) || slices.Contains(l.Init, of)
}

// joined gives those of mine that have the network of the pod's first container as it now is; the others, whose network will never be
// anybody's again, are removed.
func (d *Decision) joined(c *Case, mine []Container) []Container {
	if c.Of == "" || !c.Layout.Joined || !d.runs(c.Whole) {
		return mine
	}
	return slices.DeleteFunc(mine, func(there Container) bool {
		if there.Labels[LabelNetwork] == c.Whole.Container || c.Recorded != nil && c.Recorded.Container == there.ID && there.Labels[LabelNetwork] == "" {
			return false
		}
		d.Steps = append(d.Steps, Step{Remove, there, true, "the container whose network it has is not the pod's first any more"})
		return true
	})
}

// runs reports whether the pod's first container runs for the placement, as recorded.
func (d *Decision) runs(whole *projection.Replica) bool {
	return whole != nil && d.Placed.Is(whole.Placement) && whole.Phase == projection.Running && whole.Container != ""
}

// outlived reports whether the run of the container that is recorded began before that of the one whose network it has.
func (d *Decision) outlived(c *Case) bool {
	return c.Of != "" && c.Layout.Joined && d.runs(c.Whole) && c.Recorded != nil && c.Recorded.Started.Before(c.Whole.Started)
}

// initialise adds the steps after which an init container has done its work, or is at it. What has exited with 0 has done it, and is not
// run again; that the pod's first container is there says the same.
func (d *Decision) initialise(c *Case, mine []Container) {
	if c.made(d.Placed) {
		for _, there := range mine {
			d.Steps = append(d.Steps, Step{Remove, there, true, "it has done its work"})
		}
		return
	}
	if d.done(c.Recorded) {
		return
	}
	for _, there := range mine {
		if there.Status.Ended() && there.ExitCode == 0 {
			d.Steps = append(d.Steps, Step{Action: Adopt, Container: there, Why: "it has done its work"})
			return
		}
	}
	d.carryOut(c, mine)
}

// done reports whether an init container of which this is recorded has done its work for the placement.
func (d *Decision) done(part *projection.Replica) bool {
	return part != nil && d.Placed.Is(part.Placement) && part.Phase == projection.Exited && part.ExitCode == 0 && !part.OOMKilled
}

// made reports whether the pod's first container has been made for the placement.
func (c *Case) made(placed *projection.Placed) bool {
	if c.Whole != nil && c.Whole.Container != "" && placed.Is(c.Whole.Placement) {
		return true
	}
	return slices.ContainsFunc(c.Rest, func(first Container) bool {
		id, why := carriesOut(&first, nil)
		return first.Labels[LabelContainer] == "" && why == "" && placed.Is(id)
	})
}

// await leaves out the steps before which something is to be done about another container of the pod.
func (d *Decision) await(known Known, c *Case) {
	for i, s := range d.Steps {
		switch s.Action {
		case Create, Start:
			d.Waits = d.before(c)
		case Remove:
			d.Waits = c.users(known, s.Container.ID)
		case Forget: // with it goes what is recorded of the others
			if c.Of == "" && c.Whole != nil && len(c.Whole.Others) > 0 && len(c.Rest) > 0 {
				d.Waits = "its other containers have to go first"
			}
		}
		if d.Waits == "" {
			continue
		}
		held := d.Steps[i]
		d.Steps = d.Steps[:i]
		if r := c.Recorded; held.Action == Start && held.Container.Status.Ended() && r != nil && r.Container == held.Container.ID && r.Phase == projection.Running {
			d.Steps = append(d.Steps, Step{Action: Adopt, Container: held.Container, Why: "it has ended, and waits: " + d.Waits})
		}
		return
	}
}

// before says what has to be done before the container is made or started; "" for nothing.
func (d *Decision) before(c *Case) string {
	if slices.Contains(c.Layout.Others, c.Of) {
		if d.runs(c.Whole) {
			return ""
		}
		return "the pod's first container does not run yet"
	}
	if c.Of == "" && slices.ContainsFunc(c.There, func(there Container) bool { return d.Placed.Is(placementOf(&there)) }) {
		return "" // it was made, so they have been done
	}
	for _, name := range c.Layout.Init {
		if name == c.Of {
			return ""
		}
		if !d.done(c.Whole.Part(name)) {
			return fmt.Sprintf("init container %s has not done its work yet", name)
		}
	}
	return ""
}

// users says which of the pod's other containers have the network of the one with that id, which Podman does not remove before them; ""
// for none. What the state has not heard of, or is a copy, is left to Podman to say: nobody removes it.
func (c *Case) users(known Known, id string) string {
	for _, other := range c.Rest {
		placement, why := carriesOut(&other, c.Whole.Part(other.Labels[LabelContainer]))
		if other.Labels[LabelNetwork] == id && why == "" && known.Covers(placement) {
			return fmt.Sprintf("%s, which has its network, has to go first", other.Name)
		}
	}
	return ""
}

// join gives the container the network of another, and with it that one's host name, addresses and resolver.
func (p *pod) join(s *Spec, id string) {
	s.NetNS, s.UTSNS = &Namespace{"container", id}, &Namespace{"container", id}
	s.Hostname, s.HostAdd, s.DNSServers, s.DNSSearch, s.DNSOptions = "", nil, nil, nil, nil
	s.Labels[LabelNetwork] = id
}

// ownerOf is whom a volume belongs to that is made for a container which does not say who it runs as: the first that has it, too, and does.
func (p *pod) ownerOf(volume string) string {
	for _, c := range slices.Concat(p.spec.Containers, p.spec.InitContainers) {
		for _, m := range c.VolumeMounts {
			s := c.SecurityContext
			if p.emptyDir(&m) != volume || s == nil || s.RunAsUser == nil {
				continue
			}
			if s.RunAsGroup != nil {
				return fmt.Sprintf("%d:%d", *s.RunAsUser, *s.RunAsGroup)
			}
			return fmt.Sprint(*s.RunAsUser)
		}
	}
	return ""
}

package placement

import (
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// loop is what a Decider knows while it runs. All of it can be found out anew from the state.
type loop struct {
	*Decider
	view      *projection.View
	peers     []Peer
	since     time.Time
	given     *inventory // in step with view
	hosts     *hosts     // as they were when it was last looked
	standings map[string]standing
	todo      map[deployment]bool      // to be decided now
	unplaced  map[deployment]bool      // with replicas that no host could take
	wake      map[deployment]time.Time // to be decided then
	again     time.Time                // when to go on with todo after an error; zero: there was none
}

// standing is what decides whether replicas may come to a host or must leave it. When it changes, what is there is
// decided anew.
type standing struct {
	silent, gone bool
	closed       string
	evicts       string
}

func newLoop(d *Decider) *loop {
	l := &loop{Decider: &Decider{}, since: time.Now(), given: newInventory(), hosts: &hosts{}, standings: map[string]standing{},
		todo: map[deployment]bool{}, unplaced: map[deployment]bool{}, wake: map[deployment]time.Time{}}
	*l.Decider = *d
	if l.Retry == 0 {
		l.Retry = 5 * time.Second
	}
	return l
}

// cluster is how things stand now.
func (l *loop) cluster() Cluster {
	return Cluster{Host: l.Host, Alone: l.Peers == nil, Peers: l.peers, Since: l.since, Now: time.Now(),
		RescheduleAfter: l.RescheduleAfter, ReturnAfter: l.ReturnAfter}
}

// follow takes over what has happened since it was last looked, and notes what has to be decided anew. heard is closed when
// the hosts are heard differently.
func (l *loop) follow() (heard <-chan struct{}) {
	last := l.view
	l.view = l.Ledger.View()
	if l.Peers != nil {
		l.peers, heard = l.Peers()
	}
	spoken := last == nil // whether anything was said of hosts
	if last != nil {
		steps, ok := l.view.Since(last.Index())
		if !ok {
			spoken = true
			l.given.readAll(l.view.State)
			l.addAll(l.view.State)
		}
		for i := range steps {
			for _, e := range steps[i].Commit.Events {
				spoken = l.collect(e.Key, e.Object == nil || !e.Base.IsZero()) || spoken
			}
		}
	} else {
		l.given.readAll(l.view.State)
	}
	l.look(spoken)
	return heard
}

// collect takes over that a key was changed, and reports whether it is of a host. again: it had been there before.
func (l *loop) collect(key string, again bool) (ofHost bool) {
	typ, _, _ := strings.Cut(key, "/")
	switch typ {
	case projection.HostType, projection.NodeType, projection.MemberType:
		return true
	case projection.PlacementType:
		if pod, _, ok := projection.PodOf(key); ok {
			l.given.follow(l.view.State, pod)
		}
		if again {
			maps.Copy(l.todo, l.unplaced) // there may be room now
		}
	}
	l.add(key)
	return false
}

// look looks at the hosts, and has those Deployments decided anew that what has changed about them may matter to.
func (l *loop) look(spoken bool) {
	was := l.hosts.decider
	l.hosts = l.cluster().hosts(l.view.State, l.given.register)
	for host := range l.given.loads {
		l.hosts.at(host)
	}
	now := map[string]standing{}
	for name, h := range l.hosts.byName {
		now[name] = l.standing(h)
		if now[name] != l.standings[name] {
			spoken = true
			maps.Copy(l.todo, l.given.placedOn(name))
		}
	}
	l.standings = now
	if spoken {
		maps.Copy(l.todo, l.unplaced)
	}
	if is := l.hosts.decider; is != was {
		if is == l.Host {
			l.addAll(l.view.State)
		}
		if l.Peers != nil {
			l.Log.Info("the host that places replicas is another", "host", is, "before", was, "this", is == l.Host)
		}
	}
}

func (l *loop) standing(h *host) standing {
	s := standing{silent: !h.silent.IsZero(), gone: h.gone != "", closed: h.closed}
	for i := range h.node.Taints {
		if t := &h.node.Taints[i]; t.Effect == corev1.TaintEffectNoExecute {
			s.evicts += t.ToString() + " "
		}
	}
	return s
}

func (l *loop) addAll(s *projection.State) {
	for _, typ := range []string{"deployment", projection.PlacementType} {
		for o := range s.All(typ + "/") {
			l.add(o.Key)
		}
	}
}

func (l *loop) add(key string) {
	parts := strings.SplitN(key, "/", 4)
	switch parts[0] {
	case "deployment", projection.PlacementType, projection.ReplicaType:
		if len(parts) >= 3 {
			l.todo[deployment{parts[1], parts[2]}] = true
		}
	}
}

// sleep is how long to sleep when nothing happens.
func (l *loop) sleep() time.Duration {
	first := time.Now().Add(time.Hour)
	if !l.again.IsZero() {
		first = l.again
	}
	earlier := func(at time.Time) {
		if !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	earlier(l.hosts.wake)
	for _, at := range l.wake {
		earlier(at)
	}
	return max(0, time.Until(first))
}

// awake adds the Deployments whose time has come.
func (l *loop) awake() {
	now := time.Now()
	for dep, at := range l.wake {
		if !at.After(now) {
			delete(l.wake, dep)
			l.todo[dep] = true
		}
	}
}

package api

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// Cluster is what this host knows of the others beside what is recorded. One that is alone has no name for it, and no peers.
type Cluster struct {
	Name   string
	Digest string    // of this host's state
	Agrees time.Time // since when all hosts that are alive have the same state; zero: they have not, or are not known to
	Peers  []Peer    // the other hosts
	Lag    uint64    // events of the other hosts, each its own, that this one lacks, by what is heard of them
	Behind float64   // seconds: for how long one has had something that this host lacks
	// Unmoved says of replicas on hosts that are silent, drained or tainted with NoExecute, and that cannot be moved as things are, why, by pod:
	// "default/web-0". Those that are merely not moved yet are not in it.
	Unmoved map[string]string
	Waiting map[string]string // of those that are merely not moved yet, what they wait for
	Stuck   []Problem         // whatever needs a look and is seen from here: streams that stand, forks, certificates, clocks
}

// Peer is another host, as it is heard.
type Peer struct {
	Host, Address, Version string

	Alive       bool
	Elsewhere   time.Time     // not Alive, and others hear it: when this host heard it last; zero: nobody does
	Heard       time.Time     // last; zero: never
	Ready       bool          // its Podman answers, and it has recovered
	Writable    bool          // it takes changes
	Lag         uint64        // events that this host has and it lacks, or of its own that this host lacks
	Behind      float64       // seconds: for how long that is so; with Lag 0: for how long it has had something of third hosts that this host lacks
	Digest      string        // agrees; differs at KEY; unknown
	Agrees      time.Time     // since when
	Offset, RTT time.Duration // of its clock, and of NATS there and back; zero: not measured yet
	Stuck       string        // what of it stands still; "" when nothing does
}

// hosts are all hosts that are known, in order: by what is recorded, and what is heard of them now.
func (s *Server) hosts(l *look) []Host {
	var c Cluster
	if s.Cluster != nil {
		c = s.Cluster()
	}
	return s.hostsOf(l, c)
}

func (s *Server) hostsOf(l *look, c Cluster) []Host {
	all := []Host{}
	for host := range knownHosts(l.State) {
		all = append(all, s.hostOf(l, host))
	}
	for _, p := range c.Peers { // also those that have not spoken of themselves yet
		known := slices.ContainsFunc(all, func(h Host) bool { return h.Host == p.Host })
		if !known && p.Host != s.Node && !l.Removed(p.Host) {
			all = append(all, s.hostOf(l, p.Host))
		}
	}
	for i := range all {
		if all[i].Self {
			all[i].Lag, all[i].Behind = c.Lag, c.Behind
		}
		if at := slices.IndexFunc(c.Peers, func(p Peer) bool { return p.Host == all[i].Host }); at >= 0 {
			all[i].hear(&c.Peers[at])
		}
	}
	slices.SortFunc(all, func(a, b Host) int { return strings.Compare(a.Host, b.Host) })
	for p, err := range l.Placements("") {
		if err != nil {
			continue
		}
		if i := slices.IndexFunc(all, func(h Host) bool { return h.Host == p.Host }); i >= 0 {
			all[i].Replicas++
			if notRunning(l, p, &c) == "" {
				all[i].Running++
			}
		}
	}
	return all
}

// hostOf is a host as it is recorded.
func (s *Server) hostOf(l *look, host string) Host {
	n := said(l.State, host)
	h := Host{Host: host, Self: host == s.Node, State: StateAlive, Cordoned: n.Unschedulable || n.Draining, Draining: n.Draining}
	if f, ok := projection.Read[projection.Host](l.State, projection.HostKey(host)); ok {
		h.Address, h.Version, h.Podman, h.ReadOnly, h.CPUs, h.Memory = f.Address, f.Version, f.Podman, f.ReadOnly, f.CPUs, f.Memory
	}
	if a := l.absence(host); a != nil {
		h.State, h.Why, h.Since = a.state, a.text, &a.since
	}
	h.Ready = h.State == StateAlive && h.Podman != ""
	return h
}

// hear adds what is heard of it now.
func (h *Host) hear(p *Peer) {
	h.Address, h.Version = cmp.Or(p.Address, h.Address), cmp.Or(p.Version, h.Version)
	h.Lag, h.Behind, h.Digest, h.Stuck = p.Lag, p.Behind, p.Digest, p.Stuck
	if !p.Heard.IsZero() {
		h.Heard = &p.Heard
	}
	if !p.Agrees.IsZero() {
		h.Agrees = &p.Agrees
	}
	if !p.Alive {
		if h.State == StateAlive && !p.Elsewhere.IsZero() {
			h.Stuck = "it is heard by others, and not here since " + stamp(p.Elsewhere) + ": is the network between the two whole?"
			return
		}
		if h.Ready = false; h.State == StateAlive {
			h.State, h.Why = StateSilent, "host "+h.Host+" is not heard"
			h.Since = h.Heard
		}
		return
	}
	h.Ready = h.Ready && p.Ready
	if !p.Writable && h.ReadOnly == "" {
		h.ReadOnly = "it takes no changes"
	}
	if p.RTT != 0 {
		offset, rtt := p.Offset.Seconds(), p.RTT.Seconds()
		h.Offset, h.RoundTrip = &offset, &rtt
	}
}

// status answers how this host, and the cluster as it sees it, is doing.
func (s *Server) status(q *request) error {
	v := s.Ledger.View().Durable()
	st := Status{Host: s.Node, Version: s.Version, Index: v.Index(), At: v.At(), Conflicts: len(v.Conflicts())}
	if yes, why := s.recovering(); yes {
		st.Recovering = why
	}
	st.Refused = snapshot.Refused(v.State)
	if s.Health != nil {
		h := s.Health()
		st.ReadOnly, st.Podman, st.SnapshotError, st.BackupError = h.ReadOnly, h.Podman, h.Snapshots, h.Backups
		st.Problems = h.Problems
		if !h.Snapshot.IsZero() {
			age := s.now().Sub(h.Snapshot).Seconds()
			st.SnapshotAge = &age
		}
	}
	if s.Orphans != nil {
		orphans, err := s.Orphans.List(q.Context())
		if st.Orphans = len(orphans); err != nil {
			st.OrphansError = err.Error()
		}
	}
	var c Cluster
	if s.Cluster != nil {
		c = s.Cluster()
		st.Cluster, st.Digest, st.Problems = c.Name, c.Digest, append(st.Problems, c.Stuck...)
		if !c.Agrees.IsZero() {
			st.Agree = &c.Agrees
		}
	}
	l := s.lookAt(v.State)
	st.Hosts = s.hostsOf(l, c)
	var hosts []Problem
	for i := range st.Hosts {
		hosts = append(hosts, st.Hosts[i].problems()...)
	}
	st.Problems = slices.Concat(hosts, st.Problems, s.locked(v.State), s.unfinished(v.State), s.twoNetworks(l))
	for p, err := range v.Placements("") {
		st.Replicas++
		why := ""
		if err != nil {
			why = err.Error()
		} else {
			why = notRunning(l, p, &c)
		}
		pod := p.Namespace + "/" + p.Name()
		_, stays := c.Unmoved[pod]
		switch {
		case why != "":
			st.NotRunning = append(st.NotRunning, NotRunning{Pod: pod, Host: p.Host, Why: why, Stays: stays})
			continue
		case stays, c.Waiting[pod] != "", said(l.State, p.Host).Draining:
			why = cmp.Or(c.Unmoved[pod], c.Waiting[pod], "it has not been given another host yet")
			st.NotMoved = append(st.NotMoved, NotRunning{Pod: pod, Host: p.Host, Why: why, Stays: stays})
		}
		st.Running++
	}
	return q.json(200, st)
}

// twoNetworks is the problem that hosts which may be back give Services addresses of another network than this one does.
func (s *Server) twoNetworks(l *look) []Problem {
	self, _ := projection.Read[projection.Host](l.State, projection.HostKey(s.Node))
	var others []string
	for host := range knownHosts(l.State) {
		h, _ := projection.Read[projection.Host](l.State, projection.HostKey(host))
		if self.ServiceCIDR == "" || h.ServiceCIDR == "" || h.ServiceCIDR == self.ServiceCIDR {
			continue
		}
		if a := l.absence(host); a == nil || a.state != StateDown {
			others = append(others, host+" "+h.ServiceCIDR)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return []Problem{{What: "hosts have different --service-cidrs, this one " + self.ServiceCIDR + ", " + strings.Join(others, ", "),
		Why: "a Service has an address of each, and none of them answers on all hosts",
		Do:  "start all with the same --service-cidr"}}
}

// notRunning says why a replica does not run, as far as is known; "" when it does.
func notRunning(l *look, p *projection.Placed, c *Cluster) string {
	if p.Host == "" {
		return cmp.Or(p.Why, "it is not placed")
	}
	if a := l.absence(p.Host); a != nil {
		return a.text + ", so it is not known whether it runs; " + notMoved(p.Namespace+"/"+p.Name(), c)
	}
	r, err := l.Replica(p)
	switch {
	case err != nil:
		return err.Error()
	case r == nil:
		return "waiting for host " + p.Host + unsaid(l, p.Host, c)
	case r.Phase == projection.Running:
		return ""
	case r.Reason != "" && r.Message != "":
		return r.Reason + ": " + r.Message
	}
	return cmp.Or(r.Reason, r.Message, string(r.Phase))
}

// notMoved says why a pod is still placed on a host that is not there.
func notMoved(pod string, c *Cluster) string {
	switch {
	case c.Unmoved[pod] != "":
		return "not moved: " + c.Unmoved[pod]
	case c.Waiting[pod] != "":
		return "not moved yet: " + c.Waiting[pod]
	}
	return "not moved: no other host has been decided upon yet"
}

// unsaid says of a host that is here why it may not have said yet how a replica is; "" when nothing is known of that.
func unsaid(l *look, host string, c *Cluster) string {
	f, spoken := projection.Read[projection.Host](l.State, projection.HostKey(host))
	readOnly := spoken && f.ReadOnly != ""
	for i := range c.Peers {
		p := &c.Peers[i]
		readOnly = readOnly || p.Host == host && p.Alive && !p.Writable
	}
	switch {
	case readOnly:
		return ", which is read-only: it may run there, and that cannot be recorded"
	case spoken && f.Podman == "":
		return ", whose Podman does not answer"
	}
	return ""
}

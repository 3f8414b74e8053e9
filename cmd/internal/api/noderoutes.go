package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// nodeRoutes are what is done with hosts beyond what Kubernetes has words for.
func (s *Server) nodeRoutes(handle func(string, func(*request) error)) {
	handle("GET /swarm/v1/nodes", func(q *request) error { return q.json(http.StatusOK, s.hosts(s.look())) })
	handle("POST /swarm/v1/nodes/{name}/{verb}", s.nodeVerb)
}

// nodeVerb does one thing with one host.
func (s *Server) nodeVerb(q *request) error {
	if err := q.writable(); err != nil {
		return err
	}
	host, verb := q.PathValue("name"), q.PathValue("verb")
	force, err := q.flag("force")
	if err != nil {
		return err
	}
	decide, ok := map[string]func(*projection.State) ([]projection.Change, error){
		"cordon":   func(st *projection.State) ([]projection.Change, error) { return s.mark(st, host, verb) },
		"uncordon": func(st *projection.State) ([]projection.Change, error) { return s.mark(st, host, verb) },
		"drain":    func(st *projection.State) ([]projection.Change, error) { return s.mark(st, host, verb) },
		"down":     func(st *projection.State) ([]projection.Change, error) { return s.declareDown(st, host) },
		"remove": func(st *projection.State) ([]projection.Change, error) {
			return s.shutOut(st, host, force, cmp.Or(q.URL.Query().Get("cause"), "removed"))
		},
	}[verb]
	if !ok {
		return unknownPath(q.URL.Path)
	}
	changed := false
	r, err := s.record(q, verb+" node", []string{projection.NodeKey(host), projection.MemberKey(host), projection.HostKey(host),
		projection.SightKey(s.Node)}, func(st *projection.State) ([]projection.Change, error) {
		changes, err := decide(st)
		changed = len(changes) > 0
		return changes, err
	})
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, NodeChanged{Host: host, Changed: changed, Commit: r.Stamp.ID.String(), Index: r.State.Index()})
}

// present checks that there is such a host.
func (s *Server) present(st *projection.State, host string) error {
	if _, ok := st.Lookup(projection.HostKey(host)); !ok {
		return apierrors.NewNotFound(nodes().gr(), host)
	}
	if st.Removed(host) {
		return conflict(host, "it has been removed from the cluster, which is for good")
	}
	return nil
}

// conflict refuses to do something with a host as it is.
func conflict(host, why string) error {
	return refused(http.StatusConflict, metav1.StatusReasonConflict, "node "+host+": "+why)
}

// mark cordons, uncordons or drains.
func (s *Server) mark(st *projection.State, host, verb string) ([]projection.Change, error) {
	if err := s.present(st, host); err != nil {
		return nil, err
	}
	n := said(st, host)
	n.Unschedulable, n.Draining = verb != "uncordon", n.Draining && verb != "uncordon" || verb == "drain"
	if _, silent := st.HeardBy(s.Node).Silent[host]; verb == "uncordon" && !silent {
		n.Down = projection.Node{}.Down // whoever said that it is dead was wrong
	}
	return sayNode(st, host, n), nil
}

// declareDown takes somebody's word that a host is dead, unless it is plainly alive.
func (s *Server) declareDown(st *projection.State, host string) ([]projection.Change, error) {
	if err := s.present(st, host); err != nil {
		return nil, err
	}
	if s.alive(st, host) {
		return nil, conflict(host, "it is alive, as this host hears it: nobody needs to say that it is dead; to move what it runs, drain it")
	}
	n := said(st, host)
	newest := s.lastSign(st, host)
	if a := (&look{State: st, self: s.Node}).absence(host); a != nil && a.state == StateDown && !n.Down.Before(newest) {
		return nil, nil
	}
	if n.Down = s.now().UTC(); n.Down.Before(newest) {
		n.Down = newest
	}
	return sayNode(st, host, n), nil
}

// lastSign is after everything by which a host that is to be taken for dead could count as alive since: that it has started, and
// was heard until then, by the clock of whoever says so. The clock of who is asked need not be ahead of all of them.
func (s *Server) lastSign(st *projection.State, host string) (newest time.Time) {
	if h, ok := projection.Read[projection.Host](st, projection.HostKey(host)); ok {
		newest = h.Started
	}
	for other := range knownHosts(st) {
		if since := st.HeardBy(other).Silent[host]; since.After(newest) {
			newest = since
		}
	}
	if !newest.IsZero() {
		newest = newest.Add(time.Millisecond).UTC()
	}
	return newest
}

// shutOut removes a host from the cluster for good. Unless force is given, it must not be alive, and most of the hosts that
// are known must be in sight: it could be this side of a split that is the lesser one.
func (s *Server) shutOut(st *projection.State, host string, force bool, why string) ([]projection.Change, error) {
	if st.Removed(host) {
		return nil, nil
	}
	if err := s.present(st, host); err != nil {
		return nil, err
	}
	if !force {
		known, heard := s.inSight(st)
		switch {
		case s.alive(st, host):
			return nil, conflict(host, "it is alive, and is to be drained and stopped first; to remove it as it is, say --force (?force=true): "+
				"its containers then run on, and nobody looks after them")
		case 2*heard <= known:
			return nil, conflict(host, fmt.Sprintf("only %d of %d known hosts are in sight from here, which is no majority: the others may "+
				"be alive beyond a split; if you know that they are not, say --force (?force=true)", heard, known))
		}
	}
	n := said(st, host)
	n.Unschedulable, n.Down = true, s.now().UTC()
	return append(sayNode(st, host, n), projection.Change{Kind: events.Trust, Key: projection.MemberKey(host),
		Object: projection.Encode(projection.Member{Removed: true, Why: plain(why, 500)})}), nil
}

// alive reports whether this host hears the other one, and it has not said since that it stops.
func (s *Server) alive(st *projection.State, host string) bool {
	if host == s.Node {
		return true
	}
	heard := st.HeardBy(s.Node)
	_, silent := heard.Silent[host]
	_, spoke := projection.Read[projection.Host](st, projection.HostKey(host))
	return spoke && !silent && !heard.Left(st, host)
}

// inSight counts the hosts that are known, and those of them that are alive.
func (s *Server) inSight(st *projection.State) (known, heard int) {
	for host := range knownHosts(st) {
		known++
		if s.alive(st, host) {
			heard++
		}
	}
	return known, heard
}

// evict answers POST of pods/NAME/eviction, by which kubectl drain wants a pod gone from a host that it has cordoned. A
// replica cannot be moved by itself; so that it is moved, its host is drained. Of a host that takes new replicas nothing
// is evicted: the replica might come right back.
func (s *Server) evict(q *request, t target) error {
	if q.Method != http.MethodPost {
		return apierrors.NewMethodNotSupported(t.gr(), strings.ToLower(q.Method))
	}
	if err := q.writable(); err != nil {
		return err
	}
	o, dry, err := q.evictOptions()
	if err != nil {
		return err
	}
	decide := func(st *projection.State) ([]projection.Change, error) {
		shown, err := s.shown(s.lookAt(st), t.resource, t.name)
		if err != nil {
			return nil, err
		}
		if err := s.allowed(st, t, shown, o); err != nil {
			return nil, err
		}
		pod, ok := shown.(*corev1.Pod)
		if !ok || pod.Spec.NodeName == "" {
			return nil, nil // it is on no host
		}
		n := said(st, pod.Spec.NodeName)
		if !n.Unschedulable {
			return nil, modified(t.gr(), t.name.name, "host "+pod.Spec.NodeName+
				" takes new replicas, and could be given this one again: cordon it first (kubectl cordon "+pod.Spec.NodeName+")")
		}
		n.Draining = true
		return sayNode(st, pod.Spec.NodeName, n), nil
	}
	if dry {
		_, err = decide(s.Ledger.View().State)
	} else {
		_, err = s.within(q, "evict pod "+t.namespace+"/"+t.name.name, decide)
	}
	if err != nil {
		return err
	}
	return q.json(http.StatusCreated, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess})
}

// evictOptions reads an Eviction.
func (q *request) evictOptions() (p *metav1.Preconditions, dry bool, err error) {
	data, err := q.object()
	if err != nil {
		return nil, false, err
	}
	var e policyv1.Eviction
	if len(data) > 0 {
		if err := json.Unmarshal(data, &e); err != nil {
			return nil, false, badRequest("Eviction: want JSON: %v", err)
		}
	}
	o := metav1.DeleteOptions{}
	if e.DeleteOptions != nil {
		o = *e.DeleteOptions
	}
	dry, err = q.dry(o.DryRun...)
	return o.Preconditions, dry, err
}

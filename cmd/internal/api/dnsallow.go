package api

import (
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// DNSAllow is the list of names outside of the cluster that may be resolved.
type DNSAllow struct {
	Enabled bool     `json:"enabled"` // the list holds: no other names are resolved
	Hosts   []string `json:"hosts"`   // names, and *.NAME for all that are below one
}

// DNSAllowChanged is the list after it was to be changed.
type DNSAllowChanged struct {
	DNSAllow
	Changed bool   `json:"changed"`          // false: it was so already
	Commit  string `json:"commit,omitempty"` // "" when nothing was recorded
	Index   uint64 `json:"index"`
}

// dnsAllowWish is what a request wants of the list; what is nil is left as it is.
type dnsAllowWish struct {
	Enabled *bool     `json:"enabled"`
	Hosts   *[]string `json:"hosts"`
	Host    string    `json:"host"` // of a POST or DELETE: one more
}

// dnsRoutes are for the list of names that may be resolved. The paths and the fields are the seed's.
func (s *Server) dnsRoutes(handle func(string, func(*request) error)) {
	const path = "/api/v1/dns/whitelist"
	handle("GET "+path, func(q *request) error {
		v, err := q.view()
		if err != nil {
			return err
		}
		return q.json(http.StatusOK, dnsAllowOf(v.State))
	})
	handle("PUT "+path, s.setDNSAllow)
	handle("POST "+path+"/hosts", s.addDNSAllow)
	handle("DELETE "+path+"/hosts", func(q *request) error {
		names, err := dnsNames(q)
		if err != nil {
			return err
		}
		return s.removeDNSAllow(q, names)
	})
	handle("DELETE "+path+"/hosts/{host}", func(q *request) error { return s.removeDNSAllow(q, []string{q.PathValue("host")}) })
}

func dnsAllowOf(st *projection.State) DNSAllow {
	names, holds, _ := st.DNSAllowed()
	return DNSAllow{Enabled: holds, Hosts: append([]string{}, names...)}
}

// setDNSAllow makes the list what it says, and, with "enabled", says whether it holds. Both, or neither.
func (s *Server) setDNSAllow(q *request) error {
	var w dnsAllowWish
	if err := q.strict(&w); err != nil {
		return err
	}
	if w.Host != "" || w.Enabled == nil && w.Hosts == nil {
		return badRequest(`want {"enabled": true or false, "hosts": [NAME, …]}, or one of the two, which leaves the other as it is`)
	}
	var names []string
	if w.Hosts != nil {
		var err error
		if names, err = dnsPatterns(*w.Hosts); err != nil {
			return err
		}
	}
	return s.changeDNSAllow(q, "set DNS allow list", func(st *projection.State) ([]projection.Change, error) {
		there, _, begun := st.DNSAllowed()
		var changes []projection.Change
		for _, name := range there {
			if w.Hosts != nil && !slices.Contains(names, name) {
				changes = append(changes, projection.Change{Kind: events.Declared, Key: projection.DNSAllowKey(name)})
			}
		}
		changes = append(changes, dnsEntries(st, names)...)
		if w.Enabled != nil {
			return append(changes, dnsHolds(st, *w.Enabled)...), nil
		}
		if !begun && len(names) > 0 {
			changes = append(changes, dnsHolds(st, true)...)
		}
		return changes, nil
	})
}

// addDNSAllow adds names. The first ones of all begin the list: from then on it holds.
func (s *Server) addDNSAllow(q *request) error {
	names, err := dnsNames(q)
	if err != nil {
		return err
	}
	if names, err = dnsPatterns(names); err != nil {
		return err
	}
	return s.changeDNSAllow(q, "allow "+strings.Join(names, " "), func(st *projection.State) ([]projection.Change, error) {
		changes := dnsEntries(st, names)
		if _, _, begun := st.DNSAllowed(); !begun {
			changes = append(changes, dnsHolds(st, true)...)
		}
		return changes, nil
	})
}

// dnsNames are the names in the body of a request.
func dnsNames(q *request) (names []string, err error) {
	var w dnsAllowWish
	if err := q.strict(&w); err != nil {
		return nil, err
	}
	if w.Hosts != nil {
		names = *w.Hosts
	}
	if w.Host != "" {
		names = append(names, w.Host)
	}
	if w.Enabled != nil || len(names) == 0 {
		return nil, badRequest(`want {"host": NAME} or {"hosts": [NAME, …]}`)
	}
	return names, nil
}

// removeDNSAllow removes entries: all of them, or none where one is not there. The list goes on to hold, with no entry left as well:
// then nothing is allowed.
func (s *Server) removeDNSAllow(q *request, names []string) error {
	names, err := dnsPatterns(names)
	if err != nil {
		return err
	}
	return s.changeDNSAllow(q, "deny "+strings.Join(names, " "), func(st *projection.State) (changes []projection.Change, err error) {
		var missing []string
		for _, name := range names {
			key := projection.DNSAllowKey(name)
			if _, ok := st.Lookup(key); !ok {
				missing = append(missing, name)
			}
			changes = append(changes, projection.Change{Kind: events.Declared, Key: key})
		}
		if len(missing) > 0 {
			return nil, refused(http.StatusNotFound, metav1.StatusReasonNotFound, "no entry "+strings.Join(missing, ", ")+" on the list of allowed names")
		}
		return changes, nil
	})
}

// changeDNSAllow records what decide wants, and answers with the list as it then is. It is decided upon the whole list, so always within the ledger.
func (s *Server) changeDNSAllow(q *request, cause string, decide func(*projection.State) ([]projection.Change, error)) error {
	if err := q.writable(); err != nil {
		return err
	}
	by, keys := q.by(plain(cause, 200)), []string{}
	var changes []projection.Change
	r, err := s.Ledger.Record(q.Context(), by, func(st *projection.State) (_ []projection.Change, err error) {
		changes, err = decide(st)
		return changes, err
	})
	if err == nil && r.Stamp.IsZero() {
		r, err = s.unrecorded(r.State, decide)
	}
	if err != nil {
		return err
	}
	answer := DNSAllowChanged{DNSAllow: dnsAllowOf(r.State), Changed: !r.Stamp.IsZero(), Index: r.State.Index()}
	if answer.Changed {
		answer.Commit = r.Stamp.ID.String()
		q.recorded(r.Stamp.ID)
	} else {
		q.unchanged(r.State, []string{projection.DNSAllowListKey})
	}
	for i, c := range changes {
		keys = append(keys, c.Key)
		if i < 10 {
			s.log().Info("recorded", "key", c.Key, "deleted", c.Object == nil, "actor", by.Actor, "cause", by.Cause, "index", r.First)
		}
	}
	q.warnOfConflicts(r.State, keys)
	return q.json(http.StatusOK, answer)
}

// dnsEntries are the changes by which these are on the list.
func dnsEntries(st *projection.State, names []string) (changes []projection.Change) {
	for _, name := range names {
		if _, ok := st.Lookup(projection.DNSAllowKey(name)); !ok {
			changes = append(changes, projection.Change{Kind: events.Declared, Key: projection.DNSAllowKey(name), Object: projection.Encode(projection.DNSAllow{})})
		}
	}
	return changes
}

// dnsHolds is the change by which the list holds, or does not; none when it is so.
func dnsHolds(st *projection.State, enabled bool) []projection.Change {
	if _, holds, begun := st.DNSAllowed(); begun && holds == enabled {
		return nil
	}
	return []projection.Change{{Kind: events.Declared, Key: projection.DNSAllowListKey, Object: projection.Encode(projection.DNSAllowList{Enabled: enabled})}}
}

// dnsPatterns are the names as the list has them, sorted, each once; the error tells all that are none.
func dnsPatterns(names []string) ([]string, error) {
	var all, wrong []string
	for _, name := range names {
		pattern := strings.ToLower(strings.TrimSuffix(name, "."))
		if why := wrongPattern(pattern); why != "" {
			wrong = append(wrong, plain(name, 100)+": "+why)
			continue
		}
		all = append(all, pattern)
	}
	if len(wrong) > 0 {
		return nil, badRequest("not to be put on the list of allowed names: %s", strings.Join(wrong, "; "))
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// wrongPattern is what is wrong with a name of the list; "" when nothing is.
func wrongPattern(pattern string) string {
	if pattern == "*" {
		return "allows everything, which is what there is without a list: psctl dns off"
	}
	name := strings.TrimPrefix(pattern, "*.")
	if name == "" || len(name) > 253 {
		return "want a name of 1 to 253 characters, like example.com or *.example.com"
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "" || len(label) > 63:
			return "between the dots, 1 to 63 characters are wanted"
		case strings.Contains(label, "*"):
			return "a * stands for all names below one, and only at the beginning: *.example.com"
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return "letters, digits, - and _ are wanted; other scripts as DNS has them (xn--…)"
		}
	}
	return ""
}

package projection

import (
	"encoding/json"
	"strings"
)

// DNSAllowType is the type of the list of names outside of the cluster that may be resolved: dnsallow/PATTERN, declared, each an
// entry, and dnsallow/LIST, which says whether the list holds.
//
// That it holds is a fact of its own, and not that there are entries: two sides of a split that each remove one of the last two must
// not, together, have allowed everything.
const DNSAllowType = "dnsallow"

// DNSAllowListKey is the key of what is said of the list as a whole. No entry has it: those are in lower case.
const DNSAllowListKey = DNSAllowType + "/LIST"

// DNSAllowKey is the key of an entry: a name in lower case without the last dot, or *. and one, for all names below that.
func DNSAllowKey(pattern string) string { return DNSAllowType + "/" + pattern }

// DNSAllow is an entry of the list: that it is there is what it says.
type DNSAllow struct{}

// DNSAllowList is what is said of the list as a whole.
type DNSAllowList struct {
	Enabled bool `json:"enabled"` // only names of the list may be resolved; otherwise all may
}

// DNSAllowed gives the list, in order, and whether it holds. begun says whether anything has been said of it at all.
func (s *State) DNSAllowed() (patterns []string, holds, begun bool) {
	for o := range s.All(DNSAllowType + "/") {
		if o.Key == DNSAllowListKey {
			holds, begun = dnsListHolds(o), true
			continue
		}
		patterns = append(patterns, strings.TrimPrefix(o.Key, DNSAllowType+"/"))
	}
	return patterns, holds, begun
}

// DNSAllows reports whether a name outside of the cluster, in lower case and without the last dot, may be resolved. It costs a
// look at each of the name's labels, however long the list is.
func (s *State) DNSAllows(name string) bool {
	if o, ok := s.Lookup(DNSAllowListKey); !ok || !dnsListHolds(o) {
		return true
	}
	if _, ok := s.Lookup(DNSAllowKey(name)); ok && !strings.HasPrefix(name, "*.") {
		return true
	}
	for _, above, more := strings.Cut(name, "."); more; _, above, more = strings.Cut(above, ".") {
		if _, ok := s.Lookup(DNSAllowKey("*." + above)); ok {
			return true
		}
	}
	return false
}

// dnsListHolds is so also where it cannot be read: what somebody has restricted is not opened by another version.
func dnsListHolds(o Object) bool {
	var l DNSAllowList
	return json.Unmarshal(o.Version.Object, &l) != nil || l.Enabled
}

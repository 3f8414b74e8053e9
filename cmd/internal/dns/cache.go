package dns

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	maxCached      = 4096            // answers of one generation, of which there are two
	maxCachedBytes = 4096            // of one answer: so all of them have 32 MB at the very most
	maxTTL         = time.Hour       // of what there is
	maxNegativeTTL = 5 * time.Minute // of what there is not
)

// cache are answers of upstream for as long as they say that they hold. Those that nobody asks for go when it is full: what is
// asked for moves from the older of two generations to the newer, and when that is full, the older is forgotten. The zero value is
// empty.
type cache struct {
	mu         sync.Mutex
	young, old map[key]cached
}

type cached struct {
	m         *dns.Msg // shared: never changed
	at, until time.Time
}

// get is a copy of the answer, its TTLs less by what has passed; nil when there is none any more.
func (c *cache) get(k key, now time.Time) *dns.Msg {
	c.mu.Lock()
	is, ok := c.young[k]
	if !ok {
		if is, ok = c.old[k]; ok {
			c.add(k, is)
		}
	}
	c.mu.Unlock()
	if !ok || !now.Before(is.until) {
		return nil
	}
	m := is.m.Copy()
	passed := uint32(now.Sub(is.at) / time.Second)
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			rr.Header().Ttl -= min(passed, rr.Header().Ttl)
		}
	}
	return m
}

// put remembers an answer, if it may be; m must not be changed any more.
func (c *cache) put(k key, m *dns.Msg, now time.Time) {
	life := lifeOf(m)
	if life <= 0 || m.Len() > maxCachedBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(k, cached{m, now, now.Add(life)})
}

func (c *cache) add(k key, is cached) {
	if c.young == nil || len(c.young) >= maxCached {
		c.old, c.young = c.young, map[key]cached{}
	}
	c.young[k] = is
}

// lifeOf is for how long an answer may be told again: the shortest of its records' times, and, where nothing is, as long as the SOA
// record says (RFC 2308); without that it may not.
func lifeOf(m *dns.Msg) time.Duration {
	most := maxTTL
	if m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
		most = 0
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				most = min(maxNegativeTTL, time.Duration(soa.Minttl)*time.Second)
			}
		}
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			most = min(most, time.Duration(rr.Header().Ttl)*time.Second)
		}
	}
	return most
}

package dns

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestCache_holdsAsLongAsItMay(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		what  string
		rcode int
		all   []string
		want  time.Duration
	}{
		{"an address", 0, []string{"x. 300 IN A 1.2.3.4", "x. 200 IN A 1.2.3.5"}, 200 * time.Second},
		{"one for days", 0, []string{"x. 999999 IN A 1.2.3.4"}, time.Hour},
		{"one for now", 0, []string{"x. 0 IN A 1.2.3.4"}, 0},
		{"an alias of nothing", dns.RcodeNameError, []string{"x. 300 IN CNAME y.", rootSOA}, time.Minute},
		{"no such name", dns.RcodeNameError, []string{rootSOA}, time.Minute},
		{"no such record", 0, []string{"ns:com. 30 IN SOA a. b. 1 2 3 4 60"}, 30 * time.Second},
		{"nothing for days", 0, []string{"ns:com. 999999 IN SOA a. b. 1 2 3 4 999999"}, 5 * time.Minute},
		{"nothing, and no word for how long", 0, nil, 0},
	} {
		var cache cache
		k := key{name: "x.", typ: dns.TypeA}
		cache.put(k, records(question("x", dns.TypeA), c.rcode, c.all...), now)
		if got := cache.get(k, now.Add(c.want-time.Nanosecond)) != nil; got != (c.want > 0) {
			t.Errorf("%s: there until %v is %v", c.what, c.want, got)
		}
		if cache.get(k, now.Add(c.want)) != nil {
			t.Errorf("%s: there after %v", c.what, c.want)
		}
	}
}

func TestCache_countsDown(t *testing.T) {
	var cache cache
	now := time.Unix(1000, 0)
	k := key{name: "x.", typ: dns.TypeA}
	cache.put(k, records(question("x", dns.TypeA), 0, "x. 100 IN A 1.2.3.4"), now)
	for _, passed := range []uint32{0, 40, 99} {
		m := cache.get(k, now.Add(time.Duration(passed)*time.Second))
		if got := m.Answer[0].Header().Ttl; got != 100-passed {
			t.Errorf("TTL after %d s: %d", passed, got)
		}
		m.Answer[0].Header().Ttl = 7 // a copy
	}
	full := records(question("x", dns.TypeA), 0, "x. 100 IN A 1.2.3.4", "ns:com. 90 IN NS ns.com.")
	full.Extra = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "ns.com.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 50}}}
	cache.put(k, full, now)
	if m := cache.get(k, now.Add(40*time.Second)); m == nil || m.Ns[0].Header().Ttl != 50 || m.Extra[0].Header().Ttl != 10 {
		t.Errorf("after 40 s: got %v, want what is beside the answer counted down as well", m)
	}
	if cache.get(k, now.Add(50*time.Second)) != nil {
		t.Error("it is there for longer than what is beside the answer")
	}
	for _, other := range []key{{"x.", dns.TypeAAAA, false, false}, {"x.", dns.TypeA, true, false}, {"x.", dns.TypeA, false, true}} {
		if cache.get(other, now) != nil {
			t.Errorf("%v is answered with what %v was", other, k)
		}
	}
}

// It is bounded, in number and in bytes; what is asked for stays.
func TestCache_isBounded(t *testing.T) {
	var cache cache
	now := time.Unix(1000, 0)
	of := func(i int) key { return key{name: fmt.Sprint(i), typ: dns.TypeA} }
	m := records(question("x", dns.TypeA), 0, "x. 100 IN A 1.2.3.4")
	for i := range 3 * maxCached {
		cache.put(of(i), m, now)
		if cache.get(of(0), now) == nil {
			t.Fatalf("what is asked for all the time is gone after %d others", i)
		}
	}
	if n := len(cache.young) + len(cache.old); n > 2*maxCached {
		t.Errorf("it holds %d, want at most %d", n, 2*maxCached)
	}
	if cache.get(of(1), now) != nil {
		t.Error("what nobody asked for is still there")
	}
	var all []string
	for i := range 400 {
		all = append(all, fmt.Sprintf("x. 100 IN A 1.2.%d.%d", i/250, i%250))
	}
	cache.put(key{name: "large."}, records(question("large", dns.TypeA), 0, all...), now)
	if cache.get(key{name: "large."}, now) != nil {
		t.Error("it holds an answer that is larger than it may")
	}
}

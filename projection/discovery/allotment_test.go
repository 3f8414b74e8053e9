package discovery

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
)

// asks is one Service that wants an address.
type asks struct {
	name  Name
	age   age
	asked string
}

func (a asks) into(to *allotment[Name, netip.Addr], from addresses, moved func(Name)) {
	to.insert(a.name, a.age, from.list(a.name, a.asked), moved)
}

// allotted is who has what.
func allotted(all *allotment[Name, netip.Addr]) string {
	m := map[string]string{}
	for n := range all.claims {
		ip, _ := all.get(n)
		m[n.String()] = ip.String()
	}
	return fmt.Sprint(m)
}

// Who comes and goes in which order does not matter: each has the best on its list that no older one has.
func TestAllotment_orderDoesNotMatter(t *testing.T) {
	seed := testSeed(t)
	for round := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, round))
		from := newAddresses(netip.MustParsePrefix("10.0.0.0/27")) // 15 addresses
		var all []asks
		for i := range 1 + r.IntN(22) {
			a := asks{name: Name{"ns", fmt.Sprint("s", i)}, age: age{made: time.Unix(int64(r.IntN(4)), 0), uid: events.ID{Inc: 1, Seq: uint64(i + 1)}}}
			if r.IntN(3) == 0 {
				a.asked = from.at(r.Uint64N(from.size)).String()
			}
			all = append(all, a)
		}
		// As the rule says it: the oldest first, each takes the first that is free.
		want, taken := map[string]string{}, map[netip.Addr]bool{}
		for left := append([]asks{}, all...); len(left) > 0; {
			first := 0
			for i := range left {
				if left[i].age.older(left[first].age) {
					first = i
				}
			}
			a := left[first]
			left = append(left[:first:first], left[first+1:]...)
			has, list := netip.Addr{}, from.list(a.name, a.asked)
			for k := 0; ; k++ {
				ip, ok := list(k)
				if !ok {
					break
				}
				if !taken[ip] {
					has = ip
					taken[ip] = true
					break
				}
			}
			want[a.name.String()] = has.String()
		}
		kept := newAllotment[Name, netip.Addr]()
		told := map[Name]bool{}
		moved := func(n Name) { told[n] = true }
		there := map[Name]bool{}
		change := func(a asks, in bool) {
			before := map[Name]netip.Addr{}
			for n := range there {
				before[n], _ = kept.get(n)
			}
			clear(told)
			if in {
				a.into(kept, from, moved)
			} else {
				kept.remove(a.name, moved)
			}
			for n, was := range before {
				if is, _ := kept.get(n); is != was && n != a.name && !told[n] {
					t.Fatalf("seed %d: %s had %v and has %v, and nobody was told", seed, n, was, is)
				}
			}
			if there[a.name] = in; !in {
				delete(there, a.name)
			}
		}
		for range 60 {
			a := all[r.IntN(len(all))]
			change(a, !there[a.name])
		}
		for _, i := range r.Perm(len(all)) {
			if !there[all[i].name] {
				change(all[i], true)
			}
		}
		if got := allotted(kept); got != fmt.Sprint(want) {
			t.Fatalf("seed %d: got %s, want %v", seed, got, want)
		}
		for _, a := range all {
			kept.remove(a.name, moved)
		}
		if len(kept.claims)+len(kept.holder)+len(kept.refused) != 0 {
			t.Fatalf("seed %d: something is left when nobody is: %v %v", seed, kept.holder, kept.refused)
		}
	}
}

func TestAddresses_whatNobodyGets(t *testing.T) {
	for cidr, want := range map[string]struct {
		size        uint64
		first, last string
	}{
		"":                {1<<20 - 17, "10.96.0.16", "10.111.255.254"},
		"10.0.0.0/27":     {15, "10.0.0.16", "10.0.0.30"},
		"10.0.0.0/28":     {0, "", ""},
		"192.168.1.77/24": {239, "192.168.1.16", "192.168.1.254"},
		"fd00::/112":      {1<<16 - 17, "fd00::10", "fd00::fffe"},
	} {
		var p netip.Prefix
		if cidr != "" {
			p = netip.MustParsePrefix(cidr)
		}
		a := newAddresses(p)
		if a.size != want.size {
			t.Errorf("%s: got %d addresses, want %d", cidr, a.size, want.size)
		}
		if a.size == 0 {
			if _, ok := a.list(Name{"a", "b"}, "10.0.0.3")(0); ok {
				t.Errorf("%s: an address of none", cidr)
			}
			continue
		}
		first, last := a.at(0), a.at(a.size-1)
		if first.String() != want.first || last.String() != want.last {
			t.Errorf("%s: got %v to %v, want %s to %s", cidr, first, last, want.first, want.last)
		}
		for ip, ok := range map[netip.Addr]bool{first: true, last: true, first.Prev(): false, last.Next(): false} {
			if a.has(ip) != ok {
				t.Errorf("%s: a Service can get %v: %v, want %v", cidr, ip, !ok, ok)
			}
		}
	}
}

// All are on everybody's list: as long as there are enough, each gets one.
func TestPool_goesThroughAll(t *testing.T) {
	for _, size := range []uint64{1, 15, 2768} {
		seen := map[uint64]bool{}
		for k := 0; ; k++ {
			n, ok := (pool{size}).choice("default/web", k)
			if !ok {
				break
			}
			seen[n] = true
		}
		if uint64(len(seen)) != size {
			t.Errorf("of %d the list has %d", size, len(seen))
		}
	}
	p := &corev1.ServicePort{Name: "http", Port: 80, Protocol: corev1.ProtocolUDP, NodePort: 31000}
	if got, ok := nodePorts(Name{"a", "b"}, p)(0); !ok || got != (nodePort{corev1.ProtocolUDP, 31000}) {
		t.Errorf("a port that is asked for: got %v %v", got, ok)
	}
	for _, own := range []int32{22, 29999, 32768, 40000} { // which another version may have taken
		p.NodePort = own
		if got, ok := nodePorts(Name{"a", "b"}, p)(0); !ok || got.number < 30000 || got.number > 32767 {
			t.Errorf("a port of the host's own, %d: got %v %v", own, got, ok)
		}
	}
}

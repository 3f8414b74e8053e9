package vip

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// many is a table of so many Services of ten endpoints.
func many(n int) *tables {
	s := newTables()
	var all []*discovery.Service
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		v := ten(name, i, 0)
		s.all[v.Name], all = v, append(all, v)
	}
	s.table = discovery.NewTable(all, nil)
	return s
}

// ten is a Service of ten endpoints, of which the last is another in each version.
func ten(name string, i, version int) *discovery.Service {
	v := service(name, netip.AddrFrom4([4]byte{10, 96, byte(i/200 + 1), byte(i%200 + 1)}).String(), "tcp")
	for e := range 9 {
		v.Ports[0].Endpoints = append(v.Ports[0].Endpoints, there(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(e), byte(i)}), 20000)))
	}
	v.Ports[0].Endpoints = append(v.Ports[0].Endpoints, there(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 2, 0, byte(i)}), uint16(20000+version%1000))))
	return v
}

func opened(b testing.TB, source *tables) *kernel {
	k := &kernel{rules: newRules(b, source, Kernel), table: newTable("test", cidr)}
	must(b, k.open())
	b.Cleanup(func() { k.conn.CloseLasting() })
	k.whole()
	if k.written == nil {
		b.Fatal(k.rules.Problems())
	}
	return k
}

// BenchmarkChange is an endpoint of one Service that is another, until the kernel has it.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			newStreet(b)
			source := many(n)
			k := opened(b, source)
			news := make([]discovery.News, 2)
			for i := range news {
				v := ten("s7", 7, i+1)
				news[i] = discovery.News{Table: discovery.NewTable([]*discovery.Service{v}, nil), Services: []discovery.Name{v.Name}}
			}
			b.ResetTimer()
			for i := range b.N {
				k.change(news[i%2])
			}
			if k.written == nil {
				b.Fatal("a change was refused")
			}
		})
	}
}

// BenchmarkWhole is the table written anew, as when the agent starts.
func BenchmarkWhole(b *testing.B) {
	newStreet(b)
	k := opened(b, many(1000))
	for b.Loop() {
		k.whole()
	}
}

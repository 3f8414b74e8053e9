package mesh

import (
	"crypto/tls"
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// How long 1 kB takes from Publish to the last deliver of three hosts with mutual TLS; through the front, as it is, and
// past it, to see what the front costs. p50-µs and p99-µs beside ns/op.
func BenchmarkDeliver(b *testing.B) {
	for _, direct := range []bool{false, true} {
		name := "front"
		if direct {
			name = "direct"
		}
		b.Run(name, func(b *testing.B) {
			a := newAuthority(b)
			hosts := start(b, 1, func(node string) *tls.Config { return a.node(b, node) })
			seed := hosts[0].Advertised()
			if direct {
				seed = hosts[0].server.ClusterAddr().String()
			}
			for _, node := range []string{"host1", "host2"} {
				hosts = append(hosts, run(b, &Mesh{Node: node, TLS: a.node(b, node), Peers: []string{seed}}))
			}
			meshed(b, hosts...)
			delivered := make(chan time.Duration, 2)
			began := time.Now()
			for _, h := range hosts[1:] {
				if _, err := h.Subscribe("t.x", func(_ string, data []byte) {
					delivered <- time.Since(began) - time.Duration(binary.LittleEndian.Uint64(data))
				}); err != nil {
					b.Fatal(err)
				}
			}
			data := make([]byte, 1000)
			publish := func() {
				binary.LittleEndian.PutUint64(data, uint64(time.Since(began)))
				if err := hosts[0].Publish("t.x", slices.Clone(data)); err != nil {
					b.Fatal(err)
				}
			}
			until(b, "both hear", func() bool { // and whatever came of this is taken by then
				publish()
				<-time.After(20 * time.Millisecond)
				n := len(delivered)
				for range n {
					<-delivered
				}
				return n == 2
			})
			took := make([]time.Duration, 0, b.N)
			for b.Loop() {
				publish()
				took = append(took, max(<-delivered, <-delivered))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
		})
	}
}

// How long Open takes, alone and on an idle machine mostly the wait of NATS's own poll.
func BenchmarkOpen(b *testing.B) {
	a := newAuthority(b)
	secure := a.node(b, "a")
	for b.Loop() {
		m := &Mesh{Cluster: "test", Node: "a", Addr: "127.0.0.1:0", TLS: secure}
		if err := m.Open(); err != nil {
			b.Fatal(err)
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

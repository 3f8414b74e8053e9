package discovery

import (
	"fmt"
	"testing"

	"github.com/podman-swarm/podman-swarm/projection"
)

// filled is a swarm of so many Services with ten replicas each.
func filled(t testing.TB, services int) *swarm {
	s := newSwarm(t, "")
	s.record(address("h1", "192.0.2.1"), address("h2", "192.0.2.2"))
	each := func(do func(i int) []projection.Change) {
		var all []projection.Change
		for i := range services {
			if all = append(all, do(i)...); i%50 == 49 || i == services-1 {
				s.record(all...)
				all = nil
			}
		}
	}
	each(func(i int) []projection.Change {
		name := fmt.Sprint("s", i)
		all := []projection.Change{service("default/"+name, fmt.Sprintf(`"selector":{"app":%q,"part":"all"},"ports":[{"port":80,"targetPort":"http"}]`, name))}
		for n := range 10 {
			all = append(all, placed(projection.Pod{Namespace: "default", Deployment: name, Ordinal: n}, fmt.Sprint("h", 1+n%2),
				fmt.Sprintf(`"app":%q,"part":"all"`, name), an80))
		}
		return all
	})
	each(func(i int) (all []projection.Change) {
		for n := range 10 {
			all = append(all, s.says(projection.Pod{Namespace: "default", Deployment: fmt.Sprint("s", i), Ordinal: n}, fmt.Sprint("h", 1+n%2),
				running("10.88.0.5", 20000+n, "")))
		}
		return all
	})
	return s
}

// One replica comes and goes; what it costs must not grow with how many Services there are.
func BenchmarkCatalog_oneChange(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n, "services"), func(b *testing.B) {
			s := filled(b, n)
			s.Table()
			pod := projection.Pod{Namespace: "default", Deployment: "s3", Ordinal: 4}
			ready, unready := running("10.88.0.5", 20004, ""), running("10.88.0.5", 20004, "")
			unready.Unready = "GET /: 500"
			var steps []*projection.Step
			from := s.ledger.View().Index()
			s.record(s.says(pod, "h1", unready))
			s.record(s.says(pod, "h1", ready))
			all, _ := s.ledger.View().Since(from)
			for i := range all {
				steps = append(steps, &all[i])
			}
			s.Table()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				s.step(steps[i%2])
			}
			b.StopTimer()
			if last := s.past[len(s.past)-1]; len(last.newServices) != 1 {
				b.Fatalf("a change touched %v", last.newServices)
			}
		})
	}
}

// BenchmarkCatalog_whole reads a state of 1,000 Services with ten replicas each, as at a start.
func BenchmarkCatalog_whole(b *testing.B) {
	s := filled(b, 1000)
	st := s.ledger.View().State
	b.ReportAllocs()
	for b.Loop() {
		s.made(st)
	}
}

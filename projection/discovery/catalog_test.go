package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

var firstSeed = flag.Uint64("seed", 0, "of the random histories; 0: another one each time")

func testSeed(t testing.TB) uint64 {
	seed := *firstSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return seed
}

// swarm is a ledger on a real log, and the catalog that follows it.
type swarm struct {
	testing.TB
	ledger *projection.Ledger
	*Catalog
}

func newSwarm(t testing.TB, cidr string) *swarm {
	l, err := events.Open(t.TempDir(), events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := projection.OpenLedger(l, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ledger.Node = "h1"
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, l.Close()); err != nil {
			t.Error(err)
		}
	})
	s := &swarm{t, ledger, &Catalog{Ledger: ledger, Host: "h1"}}
	if cidr != "" {
		s.CIDR = netip.MustParsePrefix(cidr)
	}
	return s
}

// put is a change; an object of nil deletes.
func put(kind events.Kind, key string, object any) projection.Change {
	c := projection.Change{Kind: kind, Key: key}
	switch o := object.(type) {
	case nil:
	case string:
		c.Object = []byte(o)
	default:
		c.Object = projection.Encode(o)
	}
	return c
}

func (s *swarm) record(changes ...projection.Change) {
	s.Helper()
	_, err := s.ledger.Record(context.Background(), projection.By{}, func(st *projection.State) ([]projection.Change, error) {
		return slices.DeleteFunc(changes, func(c projection.Change) bool {
			_, ok := st.Lookup(c.Key)
			return c.Object == nil && !ok
		}), nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

// service declares a Service; spec is JSON without its braces.
func service(name, spec string) projection.Change {
	namespace, nm, _ := strings.Cut(name, "/")
	return put(events.Declared, "service/"+name, fmt.Sprintf(
		`{"kind":"Service","apiVersion":"v1","metadata":{"name":%q,"namespace":%q,"creationTimestamp":"2026-01-02T03:04:05Z"},"spec":{%s}}`, nm, namespace, spec))
}

// placed places a pod, made from a template: JSON of its spec without the braces.
func placed(p projection.Pod, host, labels, spec string) projection.Change {
	return put(events.Decided, p.PlacementKey(), &projection.Placement{Host: host, SpecHash: fmt.Sprintf("%x", len(labels+spec)), Why: "no host has room",
		Template: json.RawMessage(fmt.Sprintf(`{"metadata":{"labels":{%s}},"spec":{%s}}`, labels, spec))})
}

// says records what a host says of its replica: of the placement as it is now.
func (s *swarm) says(p projection.Pod, host string, r projection.Replica) projection.Change {
	if o, ok := s.ledger.View().Lookup(p.PlacementKey()); ok && r.Placement.IsZero() {
		r.Placement = o.Stamp.ID
	}
	return put(events.Observed, p.ReplicaKey(host), &r)
}

// dump is all that a table says.
func dump(t *Table) string {
	var b strings.Builder
	for s := range t.Services() {
		spec, err := json.Marshal(s.Spec)
		if err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "%s %s %v %s\n", s.Name, s.UID, s.IP, spec)
		for _, p := range s.Ports {
			fmt.Fprintf(&b, "  %+v\n", p)
		}
		for _, a := range s.Absent {
			fmt.Fprintf(&b, "  absent %+v\n", a)
		}
		if at := t.ByIP(s.IP); s.IP.IsValid() && at != s {
			fmt.Fprintf(&b, "  %v is another's: %v\n", s.IP, at)
		}
	}
	for i := range t.Ingresses() {
		fmt.Fprintf(&b, "%s %s %+v\n", i.Name, i.UID, i.Spec)
	}
	return b.String()
}

// history makes random things happen to a small cluster.
type history struct {
	*swarm
	r *rand.Rand
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (h history) change() projection.Change {
	r := h.r
	namespace := one(r, "a", "b")
	host := one(r, "h1", "h2", "h3")
	pod := projection.Pod{Namespace: namespace, Deployment: one(r, "web", "db"), Ordinal: r.IntN(3)}
	gone := r.IntN(5) == 0
	switch r.IntN(12) {
	case 0, 1, 2:
		name := namespace + "/" + one(r, "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9")
		if gone {
			return put(events.Declared, "service/"+name, nil)
		}
		selector := one(r, "", `"selector":{"app":"web"},`, `"selector":{"app":"db"},`, `"selector":{"tier":"x","app":"web"},`, `"selector":{"tier":"x"},`)
		kind := one(r, `"type":"NodePort",`, `"type":"ClusterIP",`, `"clusterIP":"None",`, `"clusterIP":"10.0.0.20",`, `"clusterIP":"10.0.0.21",`,
			`"publishNotReadyAddresses":true,`, `"type":"ExternalName","externalName":"example.org",`)
		ports := one(r, `{"port":80,"targetPort":"http"}`, `{"port":80}`, `{"name":"a","port":80,"nodePort":30001},{"name":"b","port":81,"targetPort":"none"}`, "")
		return service(name, selector+kind+`"ports":[`+ports+`]`)
	case 3, 4:
		if gone {
			return put(events.Decided, pod.PlacementKey(), nil)
		}
		return placed(pod, one(r, host, host, host, ""), fmt.Sprintf(`"app":%q,"tier":%q`, one(r, "web", "db"), one(r, "x", "y")),
			one(r, `"containers":[{"name":"c","ports":[{"name":"http","containerPort":8080}]}]`, `"hostNetwork":true,"containers":[{"name":"c"}]`, `"containers":[{"name":"c","ports":[{"containerPort":80}]}]`))
	case 5, 6, 7, 8:
		if gone {
			return put(events.Observed, pod.ReplicaKey(host), nil)
		}
		return h.says(pod, host, projection.Replica{Phase: one(r, projection.Running, projection.Running, projection.Exited), IP: one(r, "", "10.88.0.7"), Boot: one(r, "", "1", "2"),
			Unready: one(r, "", "", "HTTP 500"), Ports: []projection.Port{{Container: one(r, 80, 8080), Host: 20000 + r.IntN(9), HostIP: one(r, "", "", "127.0.0.1"), Protocol: "TCP"}}})
	case 9:
		at := time.Unix(int64(r.IntN(50)), 0)
		return put(events.Observed, projection.HostKey(host), &projection.Host{Address: one(r, "192.0.2.1", "192.0.2.2", ""), Started: at, Boot: one(r, "", "1", "2"), Left: one(r, time.Time{}, at)})
	case 10:
		switch r.IntN(4) {
		case 3:
			if gone {
				return put(events.Declared, "endpoints/"+namespace+"/s1", nil)
			}
			return put(events.Declared, "endpoints/"+namespace+"/"+one(r, "s1", "s2", "s3"), fmt.Sprintf(
				`{"kind":"Endpoints","metadata":{"name":"x"},"subsets":[{"addresses":[{"ip":"198.51.100.%d"}],"ports":[{"port":99}]}]}`, r.IntN(9)))
		case 0:
			return put(events.Trust, projection.MemberKey(host), &projection.Member{Removed: r.IntN(3) == 0})
		case 1:
			return put(events.Declared, projection.NodeKey(host), &projection.Node{Down: one(r, time.Time{}, time.Unix(25, 0))})
		}
		return put(events.Declared, "ingress/"+namespace+"/"+one(r, "i", "j"), one(r, any(nil), any(`{"kind":"Ingress","metadata":{"name":"i"},"spec":{"ingressClassName":"x"}}`),
			any(`{"kind":"Ingress","metadata":{"name":"i"},"spec":{"ingressClassName":"y"}}`)))
	}
	s := projection.Sight{Silent: map[string]time.Time{}}
	for _, other := range []string{"h2", "h3"} {
		if r.IntN(2) == 0 {
			s.Silent[other] = time.Unix(int64(r.IntN(2)), 0)
		}
	}
	return put(events.Observed, projection.SightKey(one(r, "h1", "h1", "h2")), &s)
}

// Whatever happens, the table that is kept in step is the one that is made anew of the same state, and the news are all that is new.
func TestCatalog_keepsInStep(t *testing.T) {
	seed := testSeed(t)
	for round := range uint64(2) {
		s := newSwarm(t, "10.0.0.0/27")
		h := history{s, rand.New(rand.NewPCG(seed, round))}
		s.record(put(events.Observed, "x/y", "{}"))
		begun := s.Table()
		book := s.book
		last := begun
		lines := map[string]string{}
		for i := range 120 {
			changes := map[string]projection.Change{}
			for range 1 + h.r.IntN(3) {
				c := h.change()
				changes[c.Key] = c
			}
			var all []projection.Change
			for _, c := range changes {
				all = append(all, c)
			}
			s.record(all...)
			if h.r.IntN(3) == 0 && i < 119 {
				continue // and catch up with several at once
			}
			now := s.Table()
			want := (&Catalog{Host: s.Host, CIDR: s.CIDR}).made(s.ledger.View().State)
			if got, want := dump(now), dump(want); got != want {
				a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
				t.Fatalf("-seed %d, round %d, at %d: kept in step it has\n%s\nand made anew\n%s", seed, round, now.Index(),
					strings.Join(without(a, b), "\n"), strings.Join(without(b, a), "\n"))
			}
			services, _ := s.Changes(last, now)
			told := map[Name]bool{}
			for _, n := range services {
				told[n] = true
			}
			for _, n := range namesIn(last, now) {
				was, is := line(last, n), line(now, n)
				if told[n] != (was != is) && !told[n] {
					t.Fatalf("-seed %d, round %d: nobody was told that %s was\n%s\nand is\n%s", seed, round, n, was, is)
				}
			}
			lines[dump(now)] = ""
			last = now
		}
		if s.book != book {
			t.Error("the whole state was read, although it was known what had changed")
		}
		if len(lines) < 15 {
			t.Errorf("only %d different tables came of it", len(lines))
		}
		if got := dump(begun); got != "" {
			t.Errorf("an early table has become\n%s", got)
		}
	}
}

// made is the table of a state, made anew.
func (c *Catalog) made(st *projection.State) *Table { return whole(c.newBook(), st) }

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(line string) bool { return slices.Contains(b, line) })
}

func namesIn(tables ...*Table) (all []Name) {
	for _, t := range tables {
		for s := range t.Services() {
			all = append(all, s.Name)
		}
	}
	return all
}

func line(t *Table, n Name) string {
	s := t.Service(n)
	if s == nil {
		return ""
	}
	return dump(NewTable([]*Service{s}, nil))
}

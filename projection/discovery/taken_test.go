package discovery

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
)

// asDeclared is a Service as a manifest has it; spec is JSON without its braces.
func asDeclared(t testing.TB, name, spec string) *corev1.Service {
	t.Helper()
	o, err := manifest.Decode("service", service(name, spec).Object)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := o.(*corev1.Service)
	if !ok {
		t.Fatalf("%s is %T", name, o)
	}
	manifest.Default(s)
	return s
}

// admit declares Services as an agent does, or says what is wrong with them.
func (s *swarm) admit(all ...*corev1.Service) (wrong string) {
	s.Helper()
	st := s.ledger.View().State
	taken := s.Of(st).Taken()
	for _, o := range all {
		taken.Ask(o)
	}
	for _, o := range all {
		var was *corev1.Service
		var old manifest.Object
		if shown, ok := st.Lookup(manifest.Key(o)); ok {
			before, err := manifest.Decode("service", shown.Version.Object)
			if err != nil {
				s.Fatal(err)
			}
			was, _ = before.(*corev1.Service)
			old = before
		}
		is, errs := taken.Admit(o, was)
		errs = append(errs, manifest.Validate(is, old)...)
		if len(errs) > 0 {
			return errs.ToAggregate().Error()
		}
		if was != nil && manifest.Same(is, was) {
			continue
		}
		raw, err := manifest.Encode(is)
		if err != nil {
			s.Fatal(err)
		}
		s.record(put(events.Declared, manifest.Key(o), string(raw)))
	}
	return ""
}

// has is the address of a Service, and its first port on the hosts.
func (s *swarm) has(name string) string {
	namespace, nm, _ := strings.Cut(name, "/")
	found := s.Table().Service(Name{namespace, nm})
	if found == nil {
		return "nothing"
	}
	return fmt.Sprint(found.IP, " ", found.Ports[0].NodePort)
}

// recorded is what was declared of a Service.
func (s *swarm) recorded(name string) string {
	o, _ := s.ledger.View().Lookup("service/" + name)
	return string(o.Version.Object)
}

// What another Service has, or none can have, is refused, whether it was asked for or given; what a Service has, or asked for before, is not.
func TestAdmit_refuses(t *testing.T) {
	s := newSwarm(t, "10.0.0.0/27")
	const first = `"type":"NodePort","clusterIP":"10.0.0.20","ports":[{"port":80,"nodePort":30080}]`
	s.record(service("a/lost", strings.ReplaceAll(strings.ReplaceAll(first, "20", "21"), "30080", "30081")), service("a/one", first))
	s.record(service("a/given", `"type":"NodePort","ports":[{"port":80}]`), service("b/lost", first))
	given := s.Table().Service(Name{"a", "given"})
	for _, of := range []struct{ name, spec, want string }{
		{"a/two", first, `spec.clusterIP: Invalid value: "10.0.0.20": Service a/one has it, spec.ports[0].nodePort: Invalid value: 30080: Service a/one has it`},
		{"a/two", fmt.Sprintf(`"type":"NodePort","clusterIP":"%v","ports":[{"port":80},{"name":"x","port":81,"nodePort":%d}]`, given.IP, given.Ports[0].NodePort),
			fmt.Sprintf(`spec.clusterIP: Invalid value: "%v": Service a/given has it, spec.ports[1].nodePort: Invalid value: %d: Service a/given has it`, given.IP, given.Ports[0].NodePort)},
		{"a/two", `"clusterIP":"192.0.2.1","ports":[{"port":80}]`, `spec.clusterIP: Invalid value: "192.0.2.1": it is none of --service-cidr 10.0.0.0/27`},
		{"a/two", `"clusterIP":"10.0.0.10","ports":[{"port":80}]`, `spec.clusterIP: Invalid value: "10.0.0.10": the first 16 addresses of --service-cidr 10.0.0.0/27, and the last, are no Service's`},
		{"a/two", `"clusterIP":"None","ports":[{"port":80}]`, ""},
		{"a/three", `"type":"NodePort","ports":[{"port":80,"nodePort":30080,"protocol":"UDP"}]`, ""},
		{"a/one", first, ""},
		{"a/one", first + `,"sessionAffinity":"ClientIP"`, ""},
		{"b/lost", first + `,"sessionAffinity":"ClientIP"`, ""}, // it asked for that before
		{"a/given", `"type":"NodePort","ports":[{"port":80,"nodePort":30080}]`, `spec.ports[0].nodePort: Invalid value: 30080: Service a/one has it`},
	} {
		got := s.admit(asDeclared(t, of.name, of.spec))
		if got = strings.TrimSuffix(strings.TrimPrefix(got, "["), "]"); !strings.HasPrefix(got, of.want) || of.want == "" && got != "" {
			t.Errorf("%s with %s: got %q, want %q", of.name, of.spec, got, of.want)
		}
	}
	const ported = `"type":"NodePort","ports":[{"port":80,"nodePort":30090}]`
	if got := s.admit(asDeclared(t, "c/one", ported), asDeclared(t, "c/two", ported)); !strings.Contains(got, "Service c/one has it") {
		t.Errorf("two at once: got %q", got)
	}
	if got := s.admit(asDeclared(t, "a/one", strings.ReplaceAll(first, "30080", "30095")), asDeclared(t, "c/two", strings.ReplaceAll(ported, "30090", "30080"))); got != "" {
		t.Errorf("what another gives up: got %q", got)
	}
	none := newSwarm(t, "0.0.0.0/32")
	if got := none.admit(asDeclared(t, "a/one", first)); got != "" {
		t.Errorf("a host that gives out no addresses: got %q", got)
	}
	if got := none.admit(asDeclared(t, "a/two", `"clusterIP":"10.0.0.20","ports":[{"port":80}]`)); !strings.Contains(got, "Service a/one has it") {
		t.Errorf("a host that gives out no addresses, and what somebody asked for: got %q", got)
	}
}

// rivals are the names of two Services that would have the same port on the hosts.
func rivals() (one, two string) {
	seen := map[nodePort]string{}
	for i := 0; ; i++ {
		n := Name{"a", fmt.Sprint("s", i)}
		p := ownPort(n, &corev1.ServicePort{Port: 80, Protocol: corev1.ProtocolTCP})
		if seen[p] != "" {
			return seen[p], n.String()
		}
		seen[p] = n.String()
	}
}

// What was not the first choice of a Service is written down, and stays: when the other ends, when it is declared again, when what was read is written back.
func TestAdmit_writesDown(t *testing.T) {
	s := newSwarm(t, "")
	one, two := rivals()
	const silent = `"type":"NodePort","ports":[{"port":80}]`
	if wrong := s.admit(asDeclared(t, one, silent)); wrong != "" || strings.Contains(s.recorded(one), "nodePort") || strings.Contains(s.recorded(one), "clusterIP") {
		t.Fatalf("what follows from the name: %s %s", wrong, s.recorded(one))
	}
	s.admit(asDeclared(t, two, silent))
	had := s.has(two)
	if !strings.Contains(s.recorded(two), `"nodePort":`+strings.Fields(had)[1]) {
		t.Fatalf("it has %s, and declared is %s", had, s.recorded(two))
	}
	read := asDeclared(t, two, silent)
	read.Spec.ClusterIP = strings.Fields(had)[0]
	read.Spec.ClusterIPs = []string{read.Spec.ClusterIP}
	read.Spec.Ports[0].NodePort = int32(s.Table().Service(nameOf(read)).Ports[0].NodePort)
	index := s.ledger.View().Index()
	for _, again := range []*corev1.Service{asDeclared(t, two, silent), read} {
		if wrong := s.admit(again); wrong != "" || s.ledger.View().Index() != index {
			t.Errorf("declared again: %s %s", wrong, s.recorded(two))
		}
	}
	asks := asDeclared(t, one, silent)
	asks.Spec.ClusterIP, asks.Spec.Ports[0].NodePort = strings.Fields(s.has(one))[0], int32(s.Table().Service(nameOf(asks)).Ports[0].NodePort)
	s.record(put(events.Declared, "service/"+one, nil))
	s.admit(asks)
	index = s.ledger.View().Index()
	if wrong := s.admit(asDeclared(t, one, silent)); wrong != "" || s.ledger.View().Index() != index {
		t.Errorf("what it asked for is no longer said: %s %s", wrong, s.recorded(one))
	}
	s.record(put(events.Declared, "service/"+one, nil))
	if got := s.has(two); got != had {
		t.Errorf("the other has ended: it has %s, and had %s", got, had)
	}
	for what, spec := range map[string]string{"changed": silent + `,"sessionAffinity":"ClientIP"`, "another port": `"type":"NodePort","ports":[{"port":81}]`,
		"a second port": `"type":"NodePort","ports":[{"name":"a","port":81},{"name":"b","port":82}]`} {
		if wrong := s.admit(asDeclared(t, two, silent)); wrong != "" {
			t.Fatal(wrong)
		}
		if wrong := s.admit(asDeclared(t, two, spec)); wrong != "" || what != "a second port" && s.has(two) != had {
			t.Errorf("%s: %s it has %s, and had %s", what, wrong, s.has(two), had)
		}
		s.admit(asDeclared(t, two, `"type":"NodePort","ports":[{"port":80,"nodePort":`+strings.Fields(had)[1]+`}]`))
	}
	read.Spec.Type, read.Spec.ExternalTrafficPolicy = corev1.ServiceTypeClusterIP, ""
	if wrong := s.admit(read); wrong != "" || strings.Contains(s.recorded(two), "nodePort") || s.has(two) != strings.Fields(had)[0]+" 0" {
		t.Errorf("without ports on the hosts: %s %s", wrong, s.recorded(two))
	}
}

// Whoever comes, changes and ends: no Service has another address, nor another port on the hosts, than the one that it had.
func TestAdmit_nobodyMoves(t *testing.T) {
	seed := testSeed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	s := newSwarm(t, "10.0.0.0/27") // 15 addresses
	had := map[string]string{}
	for range 400 {
		name := fmt.Sprint("a/s", r.IntN(14))
		if r.IntN(3) == 0 && had[name] != "" {
			s.record(put(events.Declared, "service/"+name, nil))
			delete(had, name)
		} else {
			spec := one(r, "", `"sessionAffinity":"ClientIP",`) + fmt.Sprintf(`"type":"NodePort","ports":[{"port":%d}]`, 80+r.IntN(3))
			if wrong := s.admit(asDeclared(t, name, spec)); wrong != "" {
				t.Fatalf("-seed %d: %s", seed, wrong)
			}
			if had[name] == "" {
				had[name] = s.has(name)
			}
		}
		for name, was := range had {
			if is := s.has(name); is != was {
				t.Fatalf("-seed %d: %s has %s, and had %s", seed, name, is, was)
			}
		}
		if got := unmet(s.Table()); len(got) > 0 {
			t.Fatalf("-seed %d: %s\n%s", seed, strings.Join(got, "\n"), dump(s.Table())+s.recorded(name))
		}
	}
}

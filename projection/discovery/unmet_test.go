package discovery

import (
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// unmet is what each Service asks for in vain.
func unmet(t *Table) (all []string) {
	for s := range t.Services() {
		for _, why := range t.Unmet(s) {
			all = append(all, s.Name.String()+" "+why)
		}
	}
	return all
}

// Two hosts that did not hear each other have both given out one address and one port: the younger Service has another, and that is said.
func TestUnmet(t *testing.T) {
	const both = `"type":"NodePort","clusterIP":"10.0.0.20","ports":[{"port":80,"nodePort":30080}]`
	s := newSwarm(t, "10.0.0.0/27")
	s.record(service("a/old", both))
	s.record(service("a/young", both), service("a/out", `"clusterIP":"192.0.2.1","ports":[{"port":80}]`), service("a/low", `"type":"NodePort","clusterIP":"10.0.0.3","ports":[{"port":80,"nodePort":22}]`),
		service("a/silent", `"type":"NodePort","ports":[{"port":80}]`), service("a/name", `"type":"ExternalName","externalName":"example.org"`), service("a/headless", `"clusterIP":"None"`))
	table := s.Table()
	got := func(name string) *Service { return table.Service(Name{"a", name}) }
	want := []string{
		"a/low asks for address 10.0.0.3, and the first 16 addresses of --service-cidr 10.0.0.0/27, and the last, are no Service's: it got " + got("low").IP.String(),
		"a/low asks for NodePort 22, which is none of 30000 to 32767: it got " + orNone(got("low").Ports[0].NodePort, true),
		"a/out asks for address 192.0.2.1, and it is none of --service-cidr 10.0.0.0/27: it got " + got("out").IP.String(),
		"a/young asks for address 10.0.0.20, which older Service a/old has: it got " + got("young").IP.String(),
		"a/young asks for NodePort 30080, which older Service a/old has: it got " + orNone(got("young").Ports[0].NodePort, true),
	}
	if got := unmet(table); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.record(put(events.Declared, "service/a/old", nil))
	if got := unmet(s.Table()); slices.ContainsFunc(got, func(why string) bool { return strings.HasPrefix(why, "a/young") }) {
		t.Errorf("although nobody else has it: %s", strings.Join(got, "\n"))
	}
}

// Where the addresses do not suffice, each Service that has none says so; a host that gives out none finds nothing missing.
func TestUnmet_full(t *testing.T) {
	const asks = `"clusterIP":"10.0.0.16","ports":[{"port":80}]`
	s := newSwarm(t, "10.0.0.0/27")
	for n := range 17 {
		s.record(service("a/s"+string(rune('a'+n)), `"ports":[{"port":80}]`))
	}
	s.record(service("a/z", asks))
	want := []string{"a/sp has no address: all of --service-cidr 10.0.0.0/27 are other Services'", "a/sq has no address: all of --service-cidr 10.0.0.0/27 are other Services'"}
	got := unmet(s.Table())
	if len(got) != 3 || !slices.Equal(got[:2], want) || !strings.HasPrefix(got[2], "a/z asks for address 10.0.0.16, which older Service a/s") || !strings.HasSuffix(got[2], "it got none") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	none := newSwarm(t, "0.0.0.0/32")
	none.record(service("a/z", asks))
	if got := unmet(none.Table()); len(got) > 0 {
		t.Errorf("without addresses: %s", strings.Join(got, "\n"))
	}
}

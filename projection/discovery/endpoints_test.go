package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func pods(n int) projection.Pod {
	return projection.Pod{Namespace: "default", Deployment: "web", Ordinal: n}
}

const (
	aWeb   = `"app":"web"`
	an80   = `"containers":[{"name":"web","ports":[{"name":"http","containerPort":8080}]}]`
	toHTTP = `"ports":[{"name":"http","port":80,"targetPort":"http"}]`
	toWeb  = `"selector":{"app":"web"},` + toHTTP
)

func address(host, ip string) projection.Change {
	return put(events.Observed, projection.HostKey(host), &projection.Host{Address: ip, Started: time.Unix(100, 0)})
}

func running(ip string, host int, hostIP string) projection.Replica {
	return projection.Replica{Phase: projection.Running, IP: ip, Ports: []projection.Port{{Container: 8080, Host: host, HostIP: hostIP, Protocol: "TCP"}}}
}

// found is where the replicas of default/web are found, and why others are not, a line each.
func (s *swarm) found() string {
	var all []string
	web := s.Table().Service(Name{"default", "web"})
	for _, p := range web.Ports {
		for _, e := range p.Endpoints {
			line := fmt.Sprintf("%s %s", e.Pod.Name(), e.On("h1"))
			if on := e.On("h2"); on != e.On("h1") {
				line += fmt.Sprintf(" elsewhere %s", on)
			}
			if !e.Ready {
				line += " not ready"
			}
			all = append(all, line)
		}
	}
	for _, a := range web.Absent {
		all = append(all, strings.TrimSpace(a.Of()+" "+a.Port)+": "+a.Why)
	}
	return strings.Join(all, "\n")
}

func (s *swarm) want(when string, want ...string) {
	s.Helper()
	if got := s.found(); got != strings.Join(want, "\n") {
		s.Errorf("%s:\ngot\n%s\nwant\n%s", when, got, strings.Join(want, "\n"))
	}
}

// One replica here and one on another host, and all that can become of them.
func TestCatalog_endpointsFollowTheReplicas(t *testing.T) {
	s := newSwarm(t, "")
	s.record(service("default/web", toWeb), address("h1", "192.0.2.1"), address("h2", "192.0.2.2"),
		placed(pods(0), "h1", aWeb, an80), placed(pods(1), "h2", aWeb, an80))
	s.want("before anything has started", "web-0: host h1 has not started its container yet", "web-1: host h2 has not started its container yet")
	s.record(s.says(pods(0), "h1", running("10.88.0.5", 20001, "")), s.says(pods(1), "h2", running("10.88.0.9", 20002, "")))
	both := []string{"web-0 10.88.0.5:8080 elsewhere 192.0.2.1:20001", "web-1 192.0.2.2:20002"}
	s.want("once both run", both...)

	unready := running("10.88.0.9", 20002, "")
	unready.Unready = "GET /ready: 500"
	s.record(s.says(pods(1), "h2", unready))
	s.want("not ready", both[0], both[1]+" not ready", "web-1: not ready: GET /ready: 500")
	s.record(service("default/web", `"publishNotReadyAddresses":true,`+toWeb))
	s.want("not ready, and published all the same", both[0], both[1], "web-1: not ready: GET /ready: 500")
	s.record(service("default/web", toWeb), s.says(pods(1), "h2", projection.Replica{Phase: projection.Pending, Reason: "ImagePullBackOff", Message: "no such image"}))
	s.want("not running", both[0], "web-1: not running: Pending, ImagePullBackOff: no such image")
	asleep := running("10.88.0.9", 20002, "")
	asleep.Reason, asleep.Name = "Paused", "web-1-x"
	s.record(s.says(pods(1), "h2", asleep))
	s.want("paused", both[0], both[1]+" not ready", "web-1: its container is paused: podman unpause web-1-x on host h2 lets it go on")

	of := running("10.88.0.9", 20002, "")
	of.Placement = events.ID{Inc: 7, Seq: 7}
	s.record(s.says(pods(1), "h2", of))
	s.want("what is said is of an earlier placement", both[0], "web-1: host h2 has not started its container yet")
	s.record(s.says(pods(1), "h2", running("10.88.0.9", 20002, "")))
	s.want("again", both...)

	s.record(put(events.Observed, projection.SightKey("h1"), &projection.Sight{Silent: map[string]time.Time{"h2": time.Unix(0, 0)}}))
	s.want("a host is silent", both[0], both[1]+" not ready",
		"web-1: host h2 has been silent since 1970-01-01 00:00:00 UTC: what it runs is not to be relied upon until it is heard again")
	s.record(put(events.Observed, projection.HostKey("h2"), &projection.Host{Address: "192.0.2.2", Left: time.Unix(200, 0), Started: time.Unix(100, 0)}))
	s.want("its agent was stopped", both...)
	off := put(events.Observed, projection.HostKey("h2"), &projection.Host{Address: "192.0.2.2", Left: time.Unix(200, 0), Started: time.Unix(100, 0), Off: true})
	down := []string{both[0], both[1] + " not ready", "web-1: host h2 went down at 1970-01-01 00:03:20 UTC, and what it ran with it"}
	s.record(off)
	s.want("all of it goes down", down...)
	s.record(put(events.Observed, projection.SightKey("h1"), &projection.Sight{}))
	s.want("it is heard all the same", both...)
	s.record(off)
	s.want("it goes down, and is not silent yet", down...)
	s.record(put(events.Observed, projection.SightKey("h1"), &projection.Sight{Silent: map[string]time.Time{"h2": time.Unix(0, 0)}}))
	s.want("then it is", down...)
	s.record(put(events.Declared, projection.NodeKey("h2"), &projection.Node{Down: time.Unix(300, 0)}))
	s.want("somebody says that it is dead", both[0], both[1]+" not ready", "web-1: somebody gave their word that host h2 is dead")
	s.record(address("h2", "192.0.2.2"), put(events.Declared, projection.NodeKey("h2"), &projection.Node{}), put(events.Observed, projection.SightKey("h1"), &projection.Sight{}))
	s.want("it is back", both...)
	for _, wrong := range []string{"127.0.0.1", "::1", "0.0.0.0", "host2.example.com"} {
		s.record(address("h2", wrong))
		s.want("it says "+wrong+" of itself, where this host is, or nobody", both[0], "web-1 http: no address of host h2 is known at which other hosts reach its containers")
	}
	s.record(address("h2", "192.0.2.2"))
	s.want("and then where it is", both...)
	s.record(put(events.Trust, projection.MemberKey("h2"), &projection.Member{Removed: true}))
	s.want("it is removed", both[0], both[1]+" not ready", "web-1: host h2 was removed from the cluster")
	s.record(put(events.Decided, pods(1).PlacementKey(), nil), placed(pods(2), "", aWeb, an80))
	s.want("and the replica with it", both[0], "web-2: it is placed nowhere: no host has room")
}

// After a reboot, or a power cut, what was said of replicas stands in the log for as long as it takes to start them again, and none of them is
// there: they are behind no Service, as this host knows of itself at once, and of another by its next word. A restart of the agent alone ends none.
func TestFailure_B4_whatRanBeforeABootIsNotThere(t *testing.T) {
	s := newSwarm(t, "")
	s.Boot = "first"
	booted := func(host, ip, boot string) projection.Change {
		return put(events.Observed, projection.HostKey(host), &projection.Host{Address: ip, Started: time.Unix(100, 0), Boot: boot})
	}
	ran := func(ip string, port int, boot string) projection.Replica {
		r := running(ip, port, "")
		r.Boot = boot
		return r
	}
	s.record(service("default/web", toWeb), booted("h1", "192.0.2.1", "first"), booted("h2", "192.0.2.2", "one"),
		placed(pods(0), "h1", aWeb, an80), placed(pods(1), "h2", aWeb, an80))
	s.record(s.says(pods(0), "h1", ran("10.88.0.5", 20001, "first")), s.says(pods(1), "h2", ran("10.88.0.9", 20002, "one")))
	both := []string{"web-0 10.88.0.5:8080 elsewhere 192.0.2.1:20001", "web-1 192.0.2.2:20002"}
	s.want("once both run", both...)
	again := func(boot string) {
		s.Catalog = &Catalog{Ledger: s.ledger, Host: "h1", Boot: boot}
	}
	again("first")
	s.want("the agent was restarted", both...)
	again("")
	s.want("by one that cannot tell boots apart", both...)
	again("second")
	ended := []string{both[0] + " not ready", "web-0: its container ran before host h1 was last booted"}
	s.want("this host was booted", ended[0], both[1], ended[1])
	s.record(service("default/web", `"publishNotReadyAddresses":true,`+toWeb))
	s.want("what is not there is not published either", ended[0], both[1], ended[1])
	s.record(service("default/web", toWeb), s.says(pods(0), "h1", ran("10.88.0.6", 20001, "second")))
	both[0] = "web-0 10.88.0.6:8080 elsewhere 192.0.2.1:20001"
	s.want("its replica runs again, and the host has not spoken of itself yet", both...)
	s.record(booted("h1", "192.0.2.1", "second"), booted("h2", "192.0.2.2", "two"))
	s.want("another host was booted", both[0], both[1]+" not ready", "web-1: its container ran before host h2 was last booted")
	s.record(s.says(pods(1), "h2", ran("10.88.0.9", 20002, "two")))
	s.want("and its replica runs again", both...)
	s.record(s.says(pods(1), "h2", ran("10.88.0.9", 20002, "")))
	s.want("an agent that says nothing of boots is believed", both...)
}

func TestCatalog_portsOfContainers(t *testing.T) {
	const undeclared = `"containers":[{"name":"web"}]`
	for name, try := range map[string]struct {
		host, spec, service string
		replica             projection.Replica
		rootless            bool
		want                []string
	}{
		"by number": {"h1", an80, `"ports":[{"port":80,"targetPort":8080}]`, running("10.88.0.5", 20001, ""), false,
			[]string{"web-0 10.88.0.5:8080 elsewhere 192.0.2.1:20001"}},
		"a name that the container does not have": {"h1", an80, `"ports":[{"port":80,"targetPort":"web"}]`, running("10.88.0.5", 20001, ""), false,
			[]string{`web-0 80: container web has no TCP port that is called "web": it has http (8080/TCP); give targetPort one of its names or numbers, or a containerPort that name`}},
		"another protocol": {"h2", an80, `"ports":[{"name":"dns","port":53,"targetPort":8080,"protocol":"UDP"}]`, running("10.88.0.5", 20001, ""), false,
			[]string{"web-0 dns: container web does not declare port 8080/UDP, so that other hosts cannot reach it: add `containerPort: 8080` with `protocol: UDP` to the container"}},
		"not declared, here": {"h1", undeclared, `"ports":[{"port":80}]`, projection.Replica{Phase: projection.Running, IP: "10.88.0.5"}, false,
			[]string{"web-0 10.88.0.5:80 elsewhere invalid AddrPort",
				"web-0 80: container web does not declare port 80/TCP, so that other hosts cannot reach it: add `containerPort: 80` to the container"}},
		"not declared, elsewhere": {"h2", undeclared, `"ports":[{"port":80}]`, projection.Replica{Phase: projection.Running, IP: "10.88.0.5"}, false,
			[]string{"web-0 80: container web does not declare port 80/TCP, so that other hosts cannot reach it: add `containerPort: 80` to the container"}},
		"at the loopback, here": {"h1", an80, toHTTP, running("", 20001, "127.0.0.1"), false,
			[]string{"web-0 127.0.0.1:20001 elsewhere invalid AddrPort",
				"web-0 http: host h1 publishes port 8080/TCP at 127.0.0.1 only, where no other host reaches it: take hostIP away from that containerPort"}},
		"at the loopback, elsewhere": {"h2", an80, toHTTP, running("10.88.0.5", 20001, "127.0.0.1"), false,
			[]string{"web-0 http: host h2 publishes port 8080/TCP at 127.0.0.1 only, where no other host reaches it: take hostIP away from that containerPort"}},
		"at one address": {"h2", an80, toHTTP, running("10.88.0.5", 20001, "198.51.100.7"), false, []string{"web-0 198.51.100.7:20001"}},
		"rootless":       {"h1", an80, toHTTP, running("10.0.2.100", 20001, ""), true, []string{"web-0 127.0.0.1:20001 elsewhere 192.0.2.1:20001"}},
		"in the host's network": {"h2", `"hostNetwork":true,` + undeclared, `"ports":[{"port":80,"targetPort":9000}]`,
			projection.Replica{Phase: projection.Running}, false, []string{"web-0 192.0.2.2:9000"}},
		"in this host's network": {"h1", `"hostNetwork":true,` + undeclared, `"ports":[{"port":80,"targetPort":9000}]`,
			projection.Replica{Phase: projection.Running}, false, []string{"web-0 192.0.2.1:9000"}},
		"no address": {"h3", an80, toHTTP, running("10.88.0.5", 20001, ""), false,
			[]string{"web-0 http: no address of host h3 is known at which other hosts reach its containers"}},
	} {
		s := newSwarm(t, "")
		s.Rootless = try.rootless
		service := service("default/web", `"selector":{"app":"web"},`+try.service)
		s.record(service, address("h1", "192.0.2.1"), address("h2", "192.0.2.2"), placed(pods(0), try.host, aWeb, try.spec))
		s.record(s.says(pods(0), try.host, try.replica))
		s.want(name, try.want...)
	}
}

// What a virtual address does not lead to says so, ready as it is: what is reached at IPv6, from this host or from others, and what takes SCTP. A headless Service has
// names that lead there.
func TestCatalog_whatAnAddressDoesNotLeadTo(t *testing.T) {
	s := newSwarm(t, "")
	six := func(at string) string {
		return "it is reached at " + at + ", and a Service's address, and its ports on the hosts, lead to IPv4 alone: an Ingress leads there, and so do the names of a headless Service (clusterIP: None)"
	}
	s.record(service("default/web", toWeb), address("h1", "192.0.2.1"), address("h2", "2001:db8::2"), placed(pods(0), "h1", aWeb, an80), placed(pods(1), "h2", aWeb, an80))
	s.record(s.says(pods(0), "h1", running("10.88.0.5", 20001, "")), s.says(pods(1), "h2", running("10.88.0.9", 20002, "")))
	s.want("another host at IPv6", "web-0 10.88.0.5:8080 elsewhere 192.0.2.1:20001", "web-1 [2001:db8::2]:20002", "web-1 http: "+six("[2001:db8::2]:20002"))
	s.record(put(events.Decided, pods(1).PlacementKey(), nil), address("h1", "2001:db8::1"))
	s.want("this host at IPv6 for others", "web-0 10.88.0.5:8080 elsewhere [2001:db8::1]:20001", "web-0 http: "+six("[2001:db8::1]:20001"))
	s.record(address("h1", "192.0.2.1"), s.says(pods(0), "h1", running("fd00::5", 20001, "")))
	s.want("a container at IPv6", "web-0 [fd00::5]:8080 elsewhere 192.0.2.1:20001", "web-0 http: "+six("[fd00::5]:8080"))
	s.record(service("default/web", `"clusterIP":"None",`+toWeb))
	s.want("headless", "web-0 [fd00::5]:8080 elsewhere 192.0.2.1:20001")
	unready := running("fd00::5", 20001, "")
	unready.Unready = "GET /ready: 500"
	s.record(service("default/web", toWeb), s.says(pods(0), "h1", unready))
	s.want("not ready, which is enough to say", "web-0 [fd00::5]:8080 elsewhere 192.0.2.1:20001 not ready", "web-0: not ready: GET /ready: 500")

	sctp := running("10.88.0.5", 20001, "")
	sctp.Ports[0].Protocol = "SCTP"
	const toSCTP = `"selector":{"app":"web"},"ports":[{"port":80,"targetPort":8080,"protocol":"SCTP"}]`
	s.record(service("default/web", toSCTP), s.says(pods(0), "h1", sctp))
	s.want("SCTP", "web-0 10.88.0.5:8080 elsewhere 192.0.2.1:20001", "web-0 80: a Service's address, and its ports on the hosts, lead on over TCP and UDP, and not over SCTP: "+
		"make it headless (clusterIP: None), and ask for its SRV record")
	s.record(service("default/web", `"clusterIP":"None",`+toSCTP))
	s.want("SCTP, headless", "web-0 10.88.0.5:8080 elsewhere 192.0.2.1:20001")

	s.record(service("default/web", `"ports":[{"port":80}]`), put(events.Declared, "endpoints/default/web",
		`{"kind":"Endpoints","metadata":{"name":"web"},"subsets":[{"addresses":[{"ip":"2001:db8::7"},{"ip":"203.0.113.7"},{"ip":"::ffff:203.0.113.8"}],"ports":[{"port":99}]}]}`))
	if got, want := strings.Split(s.found(), "\n"), "2001:db8::7 80: "+six("[2001:db8::7]:99"); len(got) != 4 || got[3] != want {
		t.Errorf("given by hand: got\n%s\nwant the last to be\n%s", strings.Join(got, "\n"), want)
	}
}

// Behind a headless Service without ports stand its replicas' addresses, for its name: each where it is reached at some port. Another Service without ports has nothing.
func TestCatalog_headlessWithoutPorts(t *testing.T) {
	s := newSwarm(t, "")
	const headless = `"clusterIP":"None","selector":{"app":"web"}`
	const undeclared = `"containers":[{"name":"web"}]`
	s.record(service("default/web", headless), address("h1", "192.0.2.1"), address("h2", "192.0.2.2"), placed(pods(0), "h1", aWeb, an80), placed(pods(1), "h2", aWeb, an80))
	s.want("before anything has started", "web-0: host h1 has not started its container yet", "web-1: host h2 has not started its container yet")
	unready := running("10.88.0.9", 20002, "")
	unready.Unready = "GET /ready: 500"
	s.record(s.says(pods(0), "h1", running("10.88.0.5", 20001, "")), s.says(pods(1), "h2", unready))
	s.want("once they run", "web-0 10.88.0.5:0 elsewhere 192.0.2.1:0", "web-1 192.0.2.2:0 not ready", "web-1: not ready: GET /ready: 500")
	some := running("10.88.0.9", 20002, "127.0.0.1")
	s.record(s.says(pods(1), "h2", some))
	s.want("a port at the loopback alone", "web-0 10.88.0.5:0 elsewhere 192.0.2.1:0",
		"web-1: host h2 publishes port 8080/TCP at 127.0.0.1 only, where no other host reaches it: take hostIP away from that containerPort")
	some.Ports = append(some.Ports, projection.Port{Container: 9090, Host: 20003, Protocol: "UDP"}, projection.Port{Container: 9091, Host: 20004, HostIP: "127.0.0.1", Protocol: "TCP"})
	s.record(s.says(pods(1), "h2", some))
	s.want("and another that others reach", "web-0 10.88.0.5:0 elsewhere 192.0.2.1:0", "web-1 192.0.2.2:0")

	s.record(placed(pods(0), "h1", aWeb, undeclared), placed(pods(1), "h2", aWeb, `"hostNetwork":true,`+undeclared))
	s.record(s.says(pods(0), "h1", projection.Replica{Phase: projection.Running, IP: "10.88.0.5"}), s.says(pods(1), "h2", projection.Replica{Phase: projection.Running}))
	s.want("no port is declared, and in the host's network none need be", "web-0 10.88.0.5:0 elsewhere invalid AddrPort", "web-1 192.0.2.2:0",
		"web-0: container web declares no port, so that other hosts cannot reach it: add a `containerPort` to the container")
	s.record(service("default/web", `"selector":{"app":"web"}`))
	s.want("not headless")

	s.record(service("default/web", `"clusterIP":"None"`), put(events.Declared, "endpoints/default/web",
		`{"kind":"Endpoints","metadata":{"name":"web"},"subsets":[{"addresses":[{"ip":"203.0.113.7"}],"notReadyAddresses":[{"ip":"203.0.113.8"}]},{"addresses":[{"ip":"203.0.113.9"}],"ports":[{"port":99}]}]}`))
	var given []string
	for _, e := range s.Table().Service(Name{"default", "web"}).Ports[0].Endpoints {
		given = append(given, fmt.Sprint(e.Address, e.Ready))
	}
	if got, want := fmt.Sprint(given), "[203.0.113.7:0 true 203.0.113.8:0 false 203.0.113.9:0 true]"; got != want {
		t.Errorf("given by hand: got %s, want %s", got, want)
	}
}

// Who waits is woken by what is new to it, told of that alone, and not woken by anything else.
func TestCatalog_next(t *testing.T) {
	s := newSwarm(t, "")
	s.record(service("default/web", toWeb), address("h1", "192.0.2.1"), placed(pods(0), "h1", aWeb, an80))
	first, err := s.Next(context.Background(), nil)
	if err != nil || !first.Whole || first.Service(Name{"default", "web"}) == nil {
		t.Fatalf("the first: got %+v %v", first, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran, got := make(chan error, 1), make(chan News, 1)
	go func() { ran <- s.Run(ctx) }()
	go func() {
		n, err := s.Next(context.Background(), first.Table)
		if err != nil {
			t.Error(err)
		}
		got <- n
	}()
	s.record(put(events.Declared, "other/thing", "{}"))
	s.record(service("default/other", toWeb))
	s.record(put(events.Declared, "ingress/default/i", `{"kind":"Ingress","metadata":{"name":"i"},"spec":{"ingressClassName":"x"}}`))
	news := <-got
	for news.Ingress(Name{"default", "i"}) == nil {
		more, err := s.Next(context.Background(), news.Table)
		if err != nil || more.Whole {
			t.Fatalf("got %+v %v", more, err)
		}
		news = more
	}
	all, err := s.Next(context.Background(), first.Table)
	if err != nil || all.Whole || fmt.Sprint(all.Services, all.Ingresses) != "[default/other] [default/i]" {
		t.Errorf("got %v %v %v, whole %v", all.Services, all.Ingresses, err, all.Whole)
	}
	if n, err := s.Next(context.Background(), NewTable(nil, nil)); err != nil || !n.Whole {
		t.Errorf("after a table of somebody else: got %+v %v", n, err)
	}
	waiting := make(chan error, 1)
	wait, give := context.WithCancel(context.Background())
	go func() {
		_, err := s.Next(wait, all.Table)
		waiting <- err
	}()
	s.record(put(events.Declared, "other/thing", "{}"))
	s.record(address("h7", "192.0.2.7"))
	give()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("woken for nothing: %v", err)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// What a Catalog remembers is bounded; who has missed more is told so. Tables of remembered states are the remembered ones.
func TestCatalog_past(t *testing.T) {
	s := newSwarm(t, "")
	s.record(service("default/web", toWeb))
	first := s.Table()
	for n := range 2*recent + 10 {
		state := s.ledger.View().State
		last := s.past[len(s.past)-1]
		next := entry{Table: &Table{services: last.Table.services, ingresses: last.Table.ingresses, byIP: last.byIP, index: last.index + 1, turn: last.turn + 1, of: s.Catalog, state: state}}
		s.remember(next)
		if n > recent && len(s.past) < recent || len(s.past) > 2*recent {
			t.Fatalf("%d are remembered", len(s.past))
		}
	}
	if _, ok := s.since(s.past, first, s.past[len(s.past)-1].Table); ok {
		t.Error("what is no longer remembered is said to be known")
	}
	s = newSwarm(t, "")
	s.record(service("default/web", toWeb))
	before, was := s.Table(), s.ledger.View().State
	s.record(service("default/web", `"ports":[{"port":99}]`))
	after := s.Table()
	if got := s.Of(was); got != before {
		t.Error("the table of a remembered state was made anew")
	}
	made := (&Catalog{Ledger: s.ledger, Host: "h1"}).Of(was)
	if dump(made) != dump(before) {
		t.Errorf("made anew it is\n%s\nand was\n%s", dump(made), dump(before))
	}
	if services, _ := s.Changes(made, after); fmt.Sprint(services) != "[default/web]" {
		t.Errorf("changes: got %v", services)
	}
	if before.Service(Name{"default", "web"}).Index() >= after.Service(Name{"default", "web"}).Index() {
		t.Error("a Service that has changed is not said to")
	}
}

package dns

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

// What people look with, bind9-dnsutils' dig, sees the names of the specification. integration/setup.sh tests installs it.
func TestServer_dig(t *testing.T) {
	if _, err := exec.LookPath("dig"); err != nil {
		t.Fatal("no dig on this machine: integration/setup.sh tests installs it (Debian's bind9-dnsutils)")
	}
	r := start(t, some(), asking(resolver(t, world)))
	host, port, err := net.SplitHostPort(r.at)
	if err != nil {
		t.Fatal(err)
	}
	// All in one run of it, each question with what is wanted of its answer: starting it is what takes time.
	for _, part := range []struct {
		show  string // what of each answer
		begin string // with which one begins
		asked [][]string
	}{
		{"+noall +question +answer", "\n;", [][]string{
			{"dns-version.cluster.local TXT", `TXT "1.1.0"`},
			{"web.default.svc.cluster.local A", "A 10.96.1.2"},
			{"web.default.svc.cluster.local A +tcp", "A 10.96.1.2"},
			{"six.default.svc.cluster.local AAAA", "AAAA fd00::10"},
			{"_http._tcp.web.default.svc.cluster.local SRV", "SRV 0 100 80 web.default.svc.cluster.local."},
			{"-x 10.96.1.2", "PTR web.default.svc.cluster.local."},
			{"-x fd00::10", "PTR six.default.svc.cluster.local."},
			{"db.default.svc.cluster.local A", "A 10.88.0.2", "A 192.168.0.2"},
			{"db-1.db.default.svc.cluster.local A", "A 192.168.0.2"},
			{"_sql._tcp.db.default.svc.cluster.local SRV", "0 100 20001 db-1.db.default.svc.cluster.local.",
				"0 100 20002 db-2.db.default.svc.cluster.local.", "0 100 5432 db-0.db.default.svc.cluster.local."},
			{"-x 10.88.0.2", "PTR db-0.db.default.svc.cluster.local."},
			{"out.default.svc.cluster.local A", "CNAME WWW.example.com.", "WWW.example.com. 300 IN A 192.0.2.53"},
			{"web.default.cluster.local A", "A 10.96.1.2"},
			{"WEB.default.svc.cluster.local A", "WEB.default.svc.cluster.local. 5 IN A 10.96.1.2"},
		}},
		{"", ";; Got answer:", [][]string{
			{"web.default.svc.cluster.local AAAA", "status: NOERROR", "flags: qr aa rd ra", "ANSWER: 0, AUTHORITY: 1", "udp: 1232",
				"cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 0 7200 1800 86400 5"},
			{"nothing.default.svc.cluster.local A +dnssec", "status: NXDOMAIN", "flags: qr aa rd ra", "flags: do", "AUTHORITY: 1"},
			{"www.example.com A +noedns", "status: NOERROR", "flags: qr rd ra", "ADDITIONAL: 0"},
			{"version.bind CH TXT", "status: REFUSED"},
			{"web.default.svc.cluster.local ANY +notcp", `HINFO "RFC8482"`},
			{"web.default.svc.cluster.local +opcode=UPDATE +header-only", "status: NOTIMP"},
			{"web.default.svc.cluster.local +edns=1 +noednsneg", "status: BADVERS"},
		}},
	} {
		args := []string{"@" + host, "-p", port, "+tries=4", "+time=15"}
		args = append(args, strings.Fields(part.show)...)
		for _, a := range part.asked {
			args = append(args, strings.Fields(a[0])...)
		}
		out, err := exec.CommandContext(t.Context(), "dig", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("dig %v: %v\n%s", args, err, out)
		}
		answers := strings.Split("\n"+strings.TrimSpace(string(out)), part.begin)[1:]
		if len(answers) != len(part.asked) {
			t.Fatalf("%d answers to %d questions:\n%s", len(answers), len(part.asked), out)
		}
		for i, a := range part.asked {
			got := strings.Join(strings.Fields(answers[i]), " ")
			for _, want := range a[1:] {
				if !strings.Contains(got, want) {
					t.Errorf("dig %s: no %q in\n%s", a[0], want, got)
				}
			}
		}
	}
}

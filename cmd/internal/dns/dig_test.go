package dns

import (
	"net"
	"os/exec"
	"slices"
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
	dig := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "dig", append([]string{"@" + host, "-p", port, "+tries=4", "+time=15"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("dig %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, c := range []struct{ args, want string }{
		{"dns-version.cluster.local TXT", `"1.1.0"`},
		{"web.default.svc.cluster.local A", "10.96.1.2"},
		{"web.default.svc.cluster.local A +tcp", "10.96.1.2"},
		{"six.default.svc.cluster.local AAAA", "fd00::10"},
		{"_http._tcp.web.default.svc.cluster.local SRV", "0 100 80 web.default.svc.cluster.local."},
		{"-x 10.96.1.2", "web.default.svc.cluster.local."},
		{"-x fd00::10", "six.default.svc.cluster.local."},
		{"db.default.svc.cluster.local A", "10.88.0.2 192.168.0.2"},
		{"db-1.db.default.svc.cluster.local A", "192.168.0.2"},
		{"_sql._tcp.db.default.svc.cluster.local SRV", "0 100 20001 db-1.db.default.svc.cluster.local. 0 100 20002 db-2.db.default.svc.cluster.local. 0 100 5432 db-0.db.default.svc.cluster.local."},
		{"-x 10.88.0.2", "db-0.db.default.svc.cluster.local."},
		{"out.default.svc.cluster.local A", "192.0.2.53 WWW.example.com."},
		{"web.default.cluster.local A", "10.96.1.2"},
		{"web A +search +domain=default.svc.cluster.local", "10.96.1.2"},
	} {
		got := strings.Split(strings.TrimSpace(dig(append(strings.Fields(c.args), "+short")...)), "\n")
		slices.Sort(got)
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("dig %s: got %s, want %s", c.args, s, c.want)
		}
	}
	for _, c := range []struct {
		args string
		want []string
	}{
		{"web.default.svc.cluster.local AAAA", []string{"status: NOERROR", "flags: qr aa rd ra", "ANSWER: 0, AUTHORITY: 1", "udp: 1232",
			"cluster.local.\t\t5\tIN\tSOA\tns.dns.cluster.local. hostmaster.cluster.local. 0 7200 1800 86400 5"}},
		{"nothing.default.svc.cluster.local A +dnssec", []string{"status: NXDOMAIN", "flags: qr aa rd ra", "flags: do", "AUTHORITY: 1"}},
		{"www.example.com A +noedns", []string{"status: NOERROR", "flags: qr rd ra", "ADDITIONAL: 0"}},
		{"version.bind CH TXT", []string{"status: REFUSED"}},
		{"cluster.local AXFR", []string{"Transfer failed"}},
		{"web.default.svc.cluster.local ANY +notcp", []string{"HINFO\t\"RFC8482\""}},
		{"web.default.svc.cluster.local +opcode=UPDATE +header-only", []string{"status: NOTIMP"}},
		{"web.default.svc.cluster.local +edns=1 +noednsneg", []string{"status: BADVERS"}},
	} {
		got := dig(strings.Fields(c.args)...)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("dig %s: no %q in\n%s", c.args, want, got)
			}
		}
	}
}

package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stand is where the proxy serves a virtual address.
func stand(ip string) netip.AddrPort {
	return netip.AddrPortFrom(Stand(cidr, netip.Prefix{}, netip.MustParseAddr(ip)), 80)
}

// What is open when the proxy ends, ends, and Run waits for it: no goroutine is left.
func TestUserSpace_endsWhole(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	stop := start(t, newRules(t, source, UserSpace))
	var open []net.Conn
	for i, network := range []string{"tcp", "udp"} {
		ip := fmt.Sprintf("10.96.4.%d", i+1)
		a := serve(t, s.c1, network, "10.88.0.11:8080", "a")
		source.set(network, service(network, ip, network, both(a.at)))
		answers(t, s.host, network, stand(ip), "a")
		c, err := dial(s.host, network, stand(ip).String())
		must(t, err)
		defer c.Close()
		said(t, c, "a")
		open = append(open, c)
	}
	stop()
	if _, _, err := ask(open[0], time.Minute); err == nil {
		t.Error("a connection goes on through a proxy that has ended")
	}
	refused(t, s.host, "udp", stand("10.96.4.2"))
	b := make([]byte, 1<<20)
	for _, left := range []string{"vip.(*proxy)", "vip.(*udp)", "vip.pass"} {
		if all := string(b[:runtime.Stack(b, true)]); strings.Contains(all, left) {
			t.Errorf("%s goes on:\n%s", left, all)
		}
	}
}

// A connection is tried with another endpoint where one does not answer, and reset where none does.
func TestUserSpace_deadEndpoints(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	start(t, newRules(t, source, UserSpace))
	a := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a")
	dead := both(netip.MustParseAddrPort("10.88.0.12:8080")) // nobody listens there
	source.set("web", service("web", "10.96.4.1", "tcp", both(a.at), dead))
	answers(t, s.host, "tcp", stand("10.96.4.1"), "a")
	source.set("web", service("web", "10.96.4.1", "tcp", dead))
	eventually(t, func() error {
		if name, _, err := once(s.host, "tcp", stand("10.96.4.1")); !errors.Is(err, syscall.ECONNRESET) {
			return fmt.Errorf("%s answers, with %v; want the connection reset", name, err)
		}
		return nil
	})
}

// What cannot be served is said, until it can be.
func TestUserSpace_problems(t *testing.T) {
	s := newStreet(t)
	source := newTables()
	rules := newRules(t, source, UserSpace)
	rules.Loopback = netip.MustParsePrefix("127.97.0.0/24")
	start(t, rules)
	place := netip.MustParseAddrPort("127.97.0.1:80")
	other := serve(t, s.host, "tcp", place.String(), "other")
	a := serve(t, s.c1, "tcp", "10.88.0.11:8080", "a")
	source.set("web", service("web", "10.96.4.1", "tcp", both(a.at)))
	says := func(want ...string) {
		t.Helper()
		eventually(t, func() error {
			got := rules.Problems()
			for _, w := range want {
				if !strings.Contains(fmt.Sprint(got), w) {
					return fmt.Errorf("problems: %q, want one of %q", got, w)
				}
			}
			if len(got) != len(want) {
				return fmt.Errorf("problems: %q, want %q", got, want)
			}
			return nil
		})
	}
	says("address already in use")
	source.set("yet", service("yet", "10.96.5.1", "tcp", both(a.at))) // of the same place
	says("address already in use", "default/yet/tcp/80 is not served at 127.97.0.1:80/tcp, which is the place of default/web/tcp/80")
	other.stop()
	source.set("yet", nil)
	says()
	answers(t, s.host, "tcp", place, "a")
}

// Who may not change the kernel's rules serves from this process.
func TestRules_choose(t *testing.T) {
	newStreet(t) // for root
	if mode, why := (&Rules{}).choose(); mode != Kernel {
		t.Errorf("root serves by %q: %s", mode, why)
	}
	got := make(chan Mode)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(header, &none[0]); err != nil {
			t.Error(err)
		}
		mode, _ := (&Rules{}).choose()
		got <- mode
	}()
	if mode := <-got; mode != UserSpace {
		t.Errorf("who has no CAP_NET_ADMIN serves by %q, want %s", mode, UserSpace)
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"10.96.0.0/16": "", "172.30.0.0/12": "did you mean 172.16.0.0/12", "10.96.0.0/28": "between /8 and /27", "8.0.0.0/7": "between /8 and /27", "fd00::/64": "IPv4",
		"127.0.0.0/16": "that hosts may have", "224.0.0.0/8": "that hosts may have", "0.0.0.0/8": "that hosts may have",
	} {
		err := Check(netip.MustParsePrefix(text))
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("Check(%s) = %v, want %q", text, err, want)
		}
	}
	if err := Check(netip.Prefix{}); err == nil {
		t.Error("no network at all will do")
	}
}

func TestResolver_isTheTenth(t *testing.T) {
	for text, want := range map[string]string{"10.96.0.0/16": "10.96.0.10", "192.168.5.32/27": "192.168.5.42"} {
		if got := Resolver(netip.MustParsePrefix(text)); got.String() != want {
			t.Errorf("Resolver(%s) = %s, want %s", text, got, want)
		}
	}
	if got := Stand(cidr, netip.Prefix{}, netip.MustParseAddr("10.96.3.7")); got.String() != "127.96.3.7" {
		t.Errorf("10.96.3.7 has %s stand for it, want 127.96.3.7", got)
	}
}

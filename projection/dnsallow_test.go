package projection

import (
	"fmt"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

func TestState_dnsAllows(t *testing.T) {
	l, _ := running(t, newMemoryLog())
	check := func(want string) {
		t.Helper()
		got := ""
		for _, name := range []string{"example.com", "a.example.com", "b.a.example.com", "badexample.com", "host", "*.example.com", "."} {
			got += fmt.Sprint(l.View().DNSAllows(name), " ")
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	all, none := "true true true true true true true ", "false false false false false false false "
	check(all)
	mustRecord(t, l, put(DNSAllowKey("example.com"), `{}`))
	check(all) // nobody has said that the list holds
	mustRecord(t, l, put(DNSAllowListKey, `{"enabled":true}`))
	check("true false false false false false false ")
	mustRecord(t, l, put(DNSAllowKey("*.example.com"), `{}`), put(DNSAllowKey("host"), `{}`))
	check("true true true false true true false ")
	if names, holds, begun := l.View().DNSAllowed(); fmt.Sprint(names) != "[*.example.com example.com host]" || !holds || !begun {
		t.Errorf("got %v, holds %v, begun %v", names, holds, begun)
	}
	for _, name := range []string{"example.com", "*.example.com", "host"} {
		mustRecord(t, l, Change{Kind: events.Declared, Key: DNSAllowKey(name)})
	}
	check(none) // an empty list is one that allows nothing
	mustRecord(t, l, put(DNSAllowListKey, `{"enabled":"by those on call"}`))
	check(none) // of a later version
	mustRecord(t, l, put(DNSAllowListKey, `{"enabled":false}`))
	check(all)
}

// The list is declared, so it is restored with all else; without anything else where that is asked for.
func TestRestore_dnsAllow(t *testing.T) {
	l, _ := running(t, newMemoryLog())
	mustRecord(t, l, put(DNSAllowListKey, `{"enabled":true}`), put(DNSAllowKey("example.com"), `{}`))
	want := l.View().Declarations()
	mustRecord(t, l, Change{Kind: events.Declared, Key: DNSAllowKey("example.com")}, put(DNSAllowKey("example.org"), `{}`), put(DNSAllowListKey, `{"enabled":false}`))
	r := Restore{Only: []string{DNSAllowType}}
	mustRecord(t, l, r.Next("x", l.View().State, want, nil, nil, 1<<20, l.View().At())...)
	if names, holds, _ := l.View().DNSAllowed(); fmt.Sprint(names) != "[example.com]" || !holds {
		t.Errorf("got %v, holds %v", names, holds)
	}
}

package api

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

const dnsPath = "/api/v1/dns/whitelist"

func TestDNSAllow(t *testing.T) {
	a := start(t, t.TempDir())
	if got := strings.TrimSpace(string(a.want(200, "GET", dnsPath, "").body)); got != `{"enabled":false,"hosts":[]}` {
		t.Errorf("at first: got %s", got)
	}
	index := uint64(0)
	for _, c := range []struct {
		method, path, body string
		want               string
		events             uint64 // that it makes
	}{
		{"POST", "/hosts", `{"host":"Example.COM."}`, `true ["example.com"]`, 2}, // it begins the list
		{"POST", "/hosts", `{"host":"example.com"}`, `true ["example.com"]`, 0},
		{"POST", "/hosts", `{"hosts":["*.b.example","a_b-1.example","example.com"]}`, `true ["*.b.example","a_b-1.example","example.com"]`, 2},
		{"DELETE", "/hosts/*.b.example", "", `true ["a_b-1.example","example.com"]`, 1},
		{"DELETE", "/hosts/%2A.b.example", "", "404", 0},
		{"PUT", "", `{"enabled":false}`, `false ["a_b-1.example","example.com"]`, 1},
		{"PUT", "", `{"enabled":false}`, `false ["a_b-1.example","example.com"]`, 0},
		{"POST", "/hosts", `{"host":"c.example"}`, `false ["a_b-1.example","c.example","example.com"]`, 1}, // it stays off
		{"PUT", "", `{"hosts":["c.example","d.example"]}`, `false ["c.example","d.example"]`, 3},
		{"PUT", "", `{"enabled":true,"hosts":["c.example"]}`, `true ["c.example"]`, 2},
		{"DELETE", "/hosts", `{"hosts":["c.example","x.example","y.example"]}`, "404", 0}, // all, or none
		{"DELETE", "/hosts", `{}`, "400", 0},
		{"DELETE", "/hosts/c.example", "", `true []`, 1}, // and still holds
		{"POST", "/hosts", `{"hosts":["c.example","d.example","e.example"]}`, `true ["c.example","d.example","e.example"]`, 3},
		{"DELETE", "/hosts", `{"hosts":["e.example","C.example","c.example"]}`, `true ["d.example"]`, 2},
		{"DELETE", "/hosts", `{"host":"d.example"}`, `true []`, 1},
		{"PUT", "", `{"enabled":false,"hosts":[]}`, `false []`, 1},
		{"POST", "/hosts", `{"host":"*"}`, "400", 0},
		{"POST", "/hosts", `{"host":""}`, "400", 0},
		{"POST", "/hosts", `{"hosts":["ok.example","a..b"]}`, "400", 0},
		{"POST", "/hosts", `{"hosts":["a.*.b"]}`, "400", 0},
		{"POST", "/hosts", `{"hosts":["a/b"]}`, "400", 0},
		{"POST", "/hosts", `{"hosts":["bücher.example"]}`, "400", 0},
		{"POST", "/hosts", `{"hosts":["."]}`, "400", 0},
		{"POST", "/hosts", fmt.Sprintf(`{"host":%q}`, strings.Repeat("a", 64)), "400", 0},
		{"POST", "/hosts", fmt.Sprintf(`{"host":%q}`, strings.Repeat("a.", 127)+"a"), "400", 0},
		{"POST", "/hosts", `{"host":"x.example","enabled":true}`, "400", 0},
		{"PUT", "", `{}`, "400", 0},
		{"PUT", "", `{"host":"x.example"}`, "400", 0},
		{"PUT", "", `{"enabled":"yes"}`, "400", 0},
		{"PATCH", "", `{}`, "405", 0},
	} {
		code := 200
		if _, err := fmt.Sscan(c.want, &code); err != nil {
			code = 200
		}
		got := a.want(code, c.method, dnsPath+c.path, c.body)
		if code == 200 {
			is := strings.SplitAfter(string(got.body), "]")[0]
			is = strings.Replace(strings.TrimPrefix(is, `{"enabled":`), `,"hosts":`, " ", 1)
			if is != c.want || got.field("changed") != fmt.Sprint(c.events > 0) || (got.field("commit") != "") != (c.events > 0) {
				t.Errorf("%s %s %s: got %s, want %s", c.method, c.path, c.body, got.body, c.want)
			}
		}
		if made := a.index() - index; made != c.events {
			t.Errorf("%s %s %s: %d events, want %d", c.method, c.path, c.body, made, c.events)
		}
		index = a.index()
	}
}

// Who changed what is to be seen as of anything else.
func TestDNSAllow_history(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", dnsPath+"/hosts?cause=we+need+it", `{"host":"*.example.com"}`)
	a.want(200, "PUT", dnsPath, `{"enabled":false}`)
	a.want(200, "DELETE", dnsPath+"/hosts/*.example.com", "")
	h := a.want(200, "GET", "/swarm/v1/history/dnsallow/*.example.com", "")
	if h.field("0.action") != "created" || h.field("0.cause") != "we need it" || h.field("1.action") != "deleted" || h.field("2") != "" {
		t.Errorf("got %s", h.body)
	}
	h = a.want(200, "GET", "/swarm/v1/history/dnsallow/LIST", "")
	if h.field("1.action") != "configured" || h.field("1.changes.0.field") != "enabled" || h.field("1.changes.0.new") != "false" {
		t.Errorf("of the list: got %s", h.body)
	}
	b := a.want(200, "GET", "/swarm/v1/blame/dnsallow/LIST", "")
	if b.field("0.field") != "enabled" || b.field("0.index") != "3" {
		t.Errorf("blame: got %s", b.body)
	}
}

func TestDNSAllow_takesAnAdmin(t *testing.T) {
	for _, c := range []struct{ method, path, want string }{
		{"GET", dnsPath, ScopeRead}, {"PUT", dnsPath, ScopeAdmin}, {"POST", dnsPath + "/hosts", ScopeAdmin}, {"DELETE", dnsPath + "/hosts/x", ScopeAdmin}, {"DELETE", dnsPath + "/hosts", ScopeAdmin},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		if _, ok := parsePath(r.URL); ok {
			t.Errorf("%s is taken for a path of Kubernetes'", c.path)
		}
		if got := needOf(r); got.scope != c.want || got.anybody || got.body || got.namespace != "" {
			t.Errorf("%s %s takes %+v, want scope %s of the cluster", c.method, c.path, got, c.want)
		}
	}
}

// The agent that still reads its log says nothing of the list, and changes nothing.
func TestDNSAllow_notWhileRecovering(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) { s.Refusing = func() string { return "it hears the others" } })
	a.want(503, "POST", dnsPath+"/hosts", `{"host":"example.com"}`)
	if a.index() != 0 {
		t.Error("it was recorded")
	}
}

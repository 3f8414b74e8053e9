package ingress

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// rule is one path of an Ingress in a test: "foo.com/path", how it is meant, and the Service's name.
type rule struct {
	at, typ, service string
}

func in(name string) discovery.Name { return discovery.Name{Namespace: "default", Name: name} }

func backend(service string) networkingv1.IngressBackend {
	return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Number: 8080}}}
}

// declared is an Ingress of these rules, made as the age-th. A rule at "default" is the default backend.
func madeAt(second int64, i *discovery.Ingress) *discovery.Ingress {
	i.Created = time.Unix(second, 0)
	return i
}

func declared(name string, age uint64, rules ...rule) *discovery.Ingress {
	i := &discovery.Ingress{Name: in(name), UID: events.ID{Inc: 1, Seq: age}, Spec: &networkingv1.IngressSpec{}}
	for _, r := range rules {
		b := backend(r.service)
		if r.at == "default" {
			i.Spec.DefaultBackend = &b
			continue
		}
		host, path, _ := strings.Cut(r.at, "/")
		typ := networkingv1.PathType(r.typ)
		i.Spec.Rules = append(i.Spec.Rules, networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/" + path, PathType: &typ, Backend: b}}}}})
	}
	return i
}

// found is the name of the Service that a request goes to; "" when there is none.
func found(r *Routes, host, path string) string {
	route := r.Find(hostOf(host), clean(path))
	if route == nil {
		return ""
	}
	return route.Service.Name
}

// The parts of Kubernetes' ingress conformance that say where a request goes (features host_rules, path_rules,
// default_backend, ingress_class), and what its API says of precedence beyond them.
func TestRoutes_kubernetesConformance(t *testing.T) {
	some := "some-invalid-class-name"
	other := declared("other-class", 1, rule{"ingress-class/", "Prefix", "ingress-class-prefix"})
	other.Spec.IngressClassName = &some
	for _, c := range []struct {
		what      string
		ingresses []*discovery.Ingress
		want      map[string]string // host/path → Service
	}{
		{"host_rules", []*discovery.Ingress{declared("host-rules", 1,
			rule{"*.foo.com/", "Prefix", "wildcard-foo-com"}, rule{"foo.bar.com/", "Prefix", "foo-bar-com"})},
			map[string]string{
				"foo.bar.com/":       "foo-bar-com",
				"subdomain.bar.com/": "",
				"bar.foo.com/":       "wildcard-foo-com",
				"baz.bar.foo.com/":   "",
				"foo.com/":           "",
			}},
		{"path_rules", []*discovery.Ingress{declared("path-rules", 1,
			rule{"exact-path-rules/foo", "Exact", "foo-exact"},
			rule{"prefix-path-rules/foo", "Prefix", "foo-prefix"},
			rule{"prefix-path-rules/aaa/bbb", "Prefix", "aaa-slash-bbb-prefix"},
			rule{"prefix-path-rules/aaa", "Prefix", "aaa-prefix"},
			rule{"mixed-path-rules/foo", "Prefix", "foo-prefix"},
			rule{"mixed-path-rules/foo", "Exact", "foo-exact"},
			rule{"trailing-slash-path-rules/aaa/bbb/", "Prefix", "aaa-slash-bbb-slash-prefix"},
			rule{"trailing-slash-path-rules/foo/", "Exact", "foo-slash-exact"})},
			map[string]string{
				"exact-path-rules/foo":               "foo-exact",
				"exact-path-rules/foo/":              "",
				"exact-path-rules/FOO":               "",
				"exact-path-rules/bar":               "",
				"prefix-path-rules/foo":              "foo-prefix",
				"prefix-path-rules/foo/":             "foo-prefix",
				"prefix-path-rules/FOO":              "",
				"prefix-path-rules/aaa/bbb":          "aaa-slash-bbb-prefix",
				"prefix-path-rules/aaa/bbb/ccc":      "aaa-slash-bbb-prefix",
				"prefix-path-rules/aaa/ccc":          "aaa-prefix",
				"prefix-path-rules/aaaccc":           "",
				"mixed-path-rules/foo":               "foo-exact",
				"mixed-path-rules/foo/":              "foo-prefix",
				"trailing-slash-path-rules/aaa/bbb":  "aaa-slash-bbb-slash-prefix",
				"trailing-slash-path-rules/aaa/bbb/": "aaa-slash-bbb-slash-prefix",
				"trailing-slash-path-rules/foo":      "",
				"trailing-slash-path-rules/foo/":     "foo-slash-exact",
			}},
		{"default_backend", []*discovery.Ingress{declared("default-backend", 1, rule{"default", "", "echo-service"})},
			map[string]string{"my-host/": "echo-service", "my-host/sub-path": "echo-service", "some-host/": "echo-service", "/resource": "echo-service"}},
		{"ingress_class", []*discovery.Ingress{other}, map[string]string{"ingress-class/": ""}},

		// The examples of path types in Kubernetes' documentation of Ingress.
		{"all paths", []*discovery.Ingress{declared("a", 1, rule{"h/", "Prefix", "all"})},
			map[string]string{"h/": "all", "h/any/thing": "all", "h": "all"}},
		{"three prefixes", []*discovery.Ingress{declared("a", 1, rule{"h/", "Prefix", "root"}, rule{"h/aaa", "Prefix", "aaa"}, rule{"h/aaa/bbb", "Prefix", "bbb"})},
			map[string]string{"h/aaa/bbb": "bbb", "h/aaa/bbbxyz": "aaa", "h/aaa": "aaa", "h/ccc": "root"}},
		{"ImplementationSpecific is Prefix", []*discovery.Ingress{declared("a", 1, rule{"h/foo", "ImplementationSpecific", "foo"})},
			map[string]string{"h/foo": "foo", "h/foo/bar": "foo", "h/foobar": ""}},
		{"a rule without host is for all", []*discovery.Ingress{declared("a", 1, rule{"/foo", "Prefix", "foo"})},
			map[string]string{"any.where/foo": "foo", "/foo": "foo", "10.0.0.1:80/foo": "foo", "[::1]:8080/foo": "foo", "any.where/bar": ""}},

		{"exact host, wildcard, none", []*discovery.Ingress{declared("a", 1, rule{"/x", "Exact", "none"}, rule{"*.foo.com/", "Prefix", "wildcard"}, rule{"a.foo.com/", "Prefix", "exact"})},
			map[string]string{"a.foo.com/x": "exact", "b.foo.com/x": "wildcard", "c.com/x": "none"}},
		{"a host whose paths do not match leaves it to a lesser one", []*discovery.Ingress{declared("a", 1, rule{"a.foo.com/x", "Prefix", "exact"}, rule{"*.foo.com/y", "Prefix", "wildcard"}, rule{"/", "Prefix", "none"})},
			map[string]string{"a.foo.com/x": "exact", "a.foo.com/y": "wildcard", "a.foo.com/z": "none"}},
		{"of two alike the older", []*discovery.Ingress{declared("a-younger", 2, rule{"h/", "Prefix", "younger"}), declared("b-older", 1, rule{"h/", "Prefix", "older"})},
			map[string]string{"h/": "older"}},
		{"when it was made comes before the number of its event", []*discovery.Ingress{madeAt(2, declared("younger", 1, rule{"h/", "Prefix", "younger"})), madeAt(1, declared("older", 2, rule{"h/", "Prefix", "older"}))},
			map[string]string{"h/": "older"}},
		{"of two as old the first by name", []*discovery.Ingress{declared("b", 1, rule{"h/", "Prefix", "b"}), declared("a", 1, rule{"h/", "Prefix", "a"})},
			map[string]string{"h/": "a"}},
		{"the longest path, whatever the age", []*discovery.Ingress{declared("a", 1, rule{"h/", "Prefix", "older"}), declared("b", 2, rule{"h/x", "Prefix", "younger"})},
			map[string]string{"h/x": "younger", "h/y": "older"}},
		{"a default backend comes after every rule, and first for the hosts of its Ingress",
			[]*discovery.Ingress{declared("a", 1, rule{"default", "", "of-a"}, rule{"a.com/x", "Prefix", "a"}), declared("b", 2, rule{"default", "", "of-b"}, rule{"b.com/x", "Prefix", "b"}),
				declared("c", 3, rule{"/c", "Prefix", "c"})},
			map[string]string{"a.com/x": "a", "a.com/": "of-a", "b.com/": "of-b", "d.com/": "of-a", "b.com/c": "c"}},
		{"a path as it is written in a URL", []*discovery.Ingress{declared("a", 1, rule{"h/a%20b", "Exact", "exact"}, rule{"h/c%C3%A9", "Prefix", "prefix"})},
			map[string]string{"h/a b": "exact", "h/cé/x": "prefix", "h/a%20b": ""}},
		{"hosts as clients write them", []*discovery.Ingress{declared("a", 1, rule{"foo.com/", "Prefix", "foo"}, rule{"*.foo.com/", "Prefix", "wildcard"})},
			map[string]string{"FOO.com:8080/": "foo", "foo.com./": "foo", "Foo.Com.:80/": "foo", "A.foo.com.:80/": "wildcard", ".foo.com/": "", "/": ""}},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := NewRoutes(discovery.NewTable(nil, c.ingresses))
			for at, want := range c.want {
				host, path, _ := strings.Cut(at, "/")
				if got := found(r, host, "/"+path); got != want {
					t.Errorf("%s: got Service %q, want %q", at, got, want)
				}
			}
		})
	}
}

// A rule with a host and no paths sends all of that host to the default backend, over that of an older Ingress.
func TestRoutes_hostWithoutPaths(t *testing.T) {
	b := declared("b", 2, rule{"default", "", "of-b"})
	b.Spec.Rules = []networkingv1.IngressRule{{Host: "b.com"}}
	r := NewRoutes(discovery.NewTable(nil, []*discovery.Ingress{declared("a", 1, rule{"default", "", "of-a"}), b}))
	for host, want := range map[string]string{"b.com": "of-b", "c.com": "of-a"} {
		if got := found(r, host, "/x"); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// Whatever changes one after the other, the routes are those that would have been made at once.
func TestRoutes_changesAreAsAllAtOnce(t *testing.T) {
	hosts := []string{"", "a.com", "b.com", "*.a.com", "x.a.com"}
	paths := []string{"", "x", "x/", "x/y", "x/y/z", "z"}
	types := []string{"Exact", "Prefix", "ImplementationSpecific"}
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		one := func(s []string) string { return s[rnd.IntN(len(s))] }
		now := map[string]*discovery.Ingress{}
		step := &Routes{}
		for n := range 40 {
			name := fmt.Sprint("i", rnd.IntN(6))
			if delete(now, name); rnd.IntN(3) > 0 {
				var rules []rule
				for k := range rnd.IntN(4) {
					rules = append(rules, rule{one(hosts) + "/" + one(paths), one(types), fmt.Sprint("s", n, "-", k)})
				}
				if rnd.IntN(3) == 0 {
					rules = append(rules, rule{"default", "", fmt.Sprint("d", n)})
				}
				now[name] = declared(name, uint64(rnd.IntN(3)+1), rules...)
			}
			before, asked := step, found(step, "x.a.com", "/x/y")
			step = step.With([]discovery.Name{in(name)}, func(n discovery.Name) *discovery.Ingress { return now[n.Name] })
			if got := found(before, "x.a.com", "/x/y"); got != asked {
				t.Fatalf("seed %d: routes that had been handed out changed: got %q, want %q", seed, got, asked)
			}
			var all []*discovery.Ingress
			for _, i := range now {
				all = append(all, i)
			}
			whole := NewRoutes(discovery.NewTable(nil, all))
			for _, h := range []string{"a.com", "b.com", "x.a.com", "y.a.com", "c.com", ""} {
				for _, p := range []string{"/", "/x", "/x/", "/x/y", "/x/y/", "/x/y/z", "/x/yz", "/z/z/z/z/z/z"} {
					if got, want := found(step, h, p), found(whole, h, p); got != want {
						t.Fatalf("seed %d, change %d: %s%s: got %q, want %q", seed, n, h, p, got, want)
					}
				}
			}
			if got, want := step.hosts.Len(), whole.hosts.Len(); got != want {
				t.Fatalf("seed %d: got %d hosts, want %d: what has gone is kept", seed, got, want)
			}
		}
	}
}

func TestNotes_sayWhatIsNotServed(t *testing.T) {
	nginx := "nginx"
	left := declared("left", 9)
	left.Spec.IngressClassName = &nginx
	bucket := declared("bucket", 8, rule{"b/", "Prefix", ""})
	bucket.Spec.Rules[0].HTTP.Paths[0].Backend = networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{Kind: "Bucket", Name: "b"}}
	table := discovery.NewTable([]*discovery.Service{
		service("web", "10.0.0.1:1"), service("down"),
		{Name: in("other"), Spec: &corev1.ServiceSpec{}, Ports: []discovery.Port{{Name: "p", Protocol: corev1.ProtocolTCP, Port: 1}}},
	}, []*discovery.Ingress{left, bucket,
		declared("good", 1, rule{"a/", "Prefix", "web"}),
		declared("same", 2, rule{"a/", "Prefix", "web"}),
		declared("none", 3, rule{"c/x", "Exact", "absent"}),
		declared("port", 4, rule{"d/", "Prefix", "other"}),
		declared("away", 5, rule{"default", "", "down"}),
		declared("late", 7, rule{"default", "", "web"}),
	})
	for name, want := range map[string]string{
		"good": "", "absent": "",
		"left": `its ingressClassName is "nginx"`,
		"same": "a/: Ingress default/good, which is older",
		"none": "", "away": "",
		"late": "/, defaultBackend: Ingress default/away, which is older",
	} {
		got := strings.Join(Notes(table, in(name)), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	got := map[string]int{}
	for n, routes := range Unserved(table) {
		got[n.Name] = routes
	}
	if want := map[string]int{"bucket": 1, "good": 0, "same": 0, "none": 1, "port": 1, "away": 1, "late": 0}; !maps.Equal(got, want) {
		t.Errorf("unserved: got %v, want %v", got, want)
	}
}

// FuzzPath: whatever a path is, it is found in time, cleaned once is cleaned, and is not got around a rule.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "/", "//", "/a/b/", "/a/../b", "/a/..", "/a/%2e%2e/b", "/../..", "/a//b/./c/.", "/a/..;/b", "a", "*", "/...", "/a/.../b", "/.a", "/a\x00b", "/\xff", "/a\\..\\b", strings.Repeat("/a", 500)} {
		f.Add(s)
	}
	r := NewRoutes(discovery.NewTable(nil, []*discovery.Ingress{declared("a", 1,
		rule{"h/a", "Prefix", "prefix"}, rule{"h/a/b/c", "Prefix", "long"}, rule{"h/exact/", "Exact", "exact"})}))
	f.Fuzz(func(t *testing.T, p string) {
		c := clean(p)
		if c == "" || c[0] != '/' {
			t.Fatalf("clean(%q): got %q, want it absolute", p, c)
		}
		if again := clean(c); again != c {
			t.Fatalf("clean(%q): got %q, and cleaned again %q", p, c, again)
		}
		elements := strings.Split(c[1:], "/")
		for n, e := range elements {
			if e == "." || e == ".." || e == "" && n < len(elements)-1 {
				t.Fatalf("clean(%q): got %q, which has the element %q", p, c, e)
			}
		}
		want := ""
		switch {
		case c == "/exact/":
			want = "exact"
		case len(elements) > 2 && elements[0] == "a" && elements[1] == "b" && elements[2] == "c":
			want = "long"
		case elements[0] == "a":
			want = "prefix"
		}
		if got := found(r, "h", p); got != want {
			t.Fatalf("%q, cleaned %q: got %q, want %q", p, c, got, want)
		}
	})
}

func TestClean_keepsTheSlashAtTheEnd(t *testing.T) {
	for p, want := range map[string]string{
		"": "/", "/": "/", "*": "/*", "/a": "/a", "/a/": "/a/", "//a": "/a", "/a//b//": "/a/b/", "/a/./b": "/a/b", "/a/.": "/a/",
		"/a/..": "/", "/a/b/..": "/a/", "/../a": "/a", "/a/../../..": "/", "/.well-known/x": "/.well-known/x", "/a/...": "/a/...",
	} {
		if got := clean(p); got != want {
			t.Errorf("clean(%q): got %q, want %q", p, got, want)
		}
	}
}

// What a change costs must not grow with how many other Ingresses there are.
func BenchmarkRoutes_change(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var all []*discovery.Ingress
			for i := range n {
				all = append(all, declared(fmt.Sprint("i", i), uint64(i+1), rule{fmt.Sprintf("h%d.com/", i), "Prefix", "s"}))
			}
			r := NewRoutes(discovery.NewTable(nil, all))
			two := [2]*discovery.Ingress{declared("i7", 8, rule{"h7.com/", "Prefix", "x"}), all[7]}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r = r.With([]discovery.Name{in("i7")}, func(discovery.Name) *discovery.Ingress { return two[i%2] })
			}
		})
	}
}

func BenchmarkRoutes_find(b *testing.B) {
	var all []*discovery.Ingress
	for i := range 1000 {
		all = append(all, declared(fmt.Sprint("i", i), uint64(i+1), rule{fmt.Sprintf("h%d.com/api/v1", i), "Prefix", "s"}))
	}
	r := NewRoutes(discovery.NewTable(nil, all))
	b.ReportAllocs()
	for b.Loop() {
		if r.Find("h77.com", "/api/v1/things/1") == nil {
			b.Fatal("not found")
		}
	}
}

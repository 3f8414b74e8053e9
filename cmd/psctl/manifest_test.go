package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; zero draws one")

// random is a generator whose seed is printed when the test fails.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -seed %d", s, s)
	return rand.New(rand.NewPCG(s, 0))
}

// Every line of every file is found again from its line in the joined text, however the files begin and end.
func TestManifest_place(t *testing.T) {
	r := random(t)
	for range 500 {
		var m manifest
		files := map[string][]string{}
		for i := range 1 + r.IntN(4) {
			name := fmt.Sprintf("f%d.yaml", i)
			var lines []string
			for j := range r.IntN(5) {
				lines = append(lines, [...]string{"---", "", "# x", "a: b", fmt.Sprintf("%s %d", name, j)}[r.IntN(5)])
			}
			text := strings.Join(lines, "\n")
			if r.IntN(2) == 0 && text != "" {
				text += "\n"
			}
			if r.IntN(4) == 0 {
				text = "\uFEFF" + text
			}
			m.add(name, []byte(text))
			files[name] = strings.Split(strings.TrimPrefix(strings.TrimSuffix(text, "\n"), "\uFEFF"), "\n")
		}
		for i, line := range strings.Split(strings.TrimSuffix(string(m.text), "\n"), "\n") {
			name, n, ok := strings.Cut(m.place(i+1), ":")
			var number int
			if _, err := fmt.Sscan(n, &number); !ok || err != nil || number < 1 {
				t.Fatalf("line %d of %q: got place %q", i+1, m.text, m.place(i+1))
			}
			if got := files[name]; line != "---" && (number > len(got) || got[number-1] != line) {
				t.Fatalf("line %d (%q) of %q: got place %q", i+1, line, m.text, m.place(i+1))
			}
		}
	}
}

func TestManifest_say(t *testing.T) {
	var one, two manifest
	one.add("a.yaml", []byte("a: 1\n"))
	two.add("a.yaml", []byte("a: 1\nb: 2\n"))
	two.add("b.yaml", []byte("c: 3\n"))
	for _, c := range []struct {
		m    *manifest
		x    client.Mistake
		want string
	}{
		{&one, client.Mistake{Line: 1, Object: "Service default/a", Field: "spec", Message: "Required value"},
			"a.yaml:1: Service default/a: spec: Required value"},
		{&one, client.Mistake{Message: "nothing there"}, "a.yaml: nothing there"},
		{&one, client.Mistake{Line: 99, Message: "beyond the end"}, "a.yaml:1: beyond the end"},
		{&two, client.Mistake{Line: 3, Message: "on the separator"}, "b.yaml:1: on the separator"},
		{&two, client.Mistake{Line: 4, Message: "as in document 1, line 2"}, "b.yaml:1: as in a.yaml:2"},
		{&two, client.Mistake{Document: 2, Message: "somewhere"}, "document 2: somewhere"},
		{&two, client.Mistake{Message: "on\n  two lines"}, "on two lines"},
	} {
		if got := c.m.say(c.x); got != c.want {
			t.Errorf("say(%+v): got %q, want %q", c.x, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	tab := table{header: []string{"NAME", "WHY", "AGE"}}
	tab.add("ü", "", "5s")
	tab.add("long", "", "1m")
	if err := tab.write(&out, false); err != nil {
		t.Fatal(err)
	}
	tab.add("c", "left out", "later")
	if err := tab.write(&out, false); err != nil {
		t.Fatal(err)
	}
	const want = "NAME   AGE\nü      5s\nlong   1m\nc      later\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

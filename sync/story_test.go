package sync

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

var update = flag.Bool("update", false, "write down what the stories in testdata come to")

// TestStories has clusters live through the stories in testdata. A line that begins with ">" is what the line before
// came to: what was said between the hosts (beats and hellos left out), and what they said to people. A line "# A14" names the line of
// failures-to-beat that the story answers, "# §13" the rule of the design.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := tellStory(t, string(b))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Errorf("it went otherwise; see what with: go test ./sync -run TestStories -update && git diff. It is now\n%s", got)
			}
		})
	}
}

func tellStory(t *testing.T, script string) string {
	s := newSim(t, 1)
	p := &player{sim: s, images: map[string]string{}}
	s.story = func(line string) { fmt.Fprintf(&p.out, "> %s\n", line) }
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, ">") {
			continue
		}
		p.out.WriteString(line)
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			p.do(words)
		}
	}
	return p.out.String()
}

// player plays a story.
type player struct {
	*sim
	out    strings.Builder
	images map[string]string
	backup projection.Declarations
}

func (p *player) do(words []string) {
	if n := p.nodes[words[0]]; n != nil {
		p.host(n, words[1], words[2:])
		return
	}
	switch words[0] {
	case "nodes":
		for _, name := range words[1:] {
			p.add(name, name, filepath.Join(p.dir, name), "machine of "+name)
		}
	case "cut":
		p.cut[[2]string{words[1], words[2]}] = true
		p.cut[[2]string{words[2], words[1]}] = true
	case "deafen": // the first does not hear the second
		p.cut[[2]string{words[2], words[1]}] = true
	case "heal":
		clear(p.cut)
	case "loss":
		p.loss = .3
	case "noloss":
		p.loss = 0
	case "run":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		p.run(d)
	case "agree":
		if wrong := p.agree(); wrong != "" {
			p.line("they do not agree")
			p.t.Errorf("they do not agree: %s", wrong)
		} else {
			p.line("all agree")
		}
	case "show":
		for _, n := range p.sorted() {
			if n.up {
				p.line("%s: %s", n.id, said(n, words[1]))
			}
		}
	default:
		p.t.Fatalf("nobody knows what %q is", words)
	}
}

// said is what a host shows of a key and lists as lost.
func said(n *node, name string) string {
	text := "nothing"
	if o, ok := n.ledger.View().Lookup(key(name)); ok {
		text = valueOf(o.Version.Object)
	}
	for _, c := range n.ledger.View().Conflicts() {
		if c.Key == key(name) {
			text += ", lost " + valueOf(c.Version.Object)
			if c.Ended {
				text += " (of what was deleted)"
			}
		}
	}
	return text
}

func valueOf(b []byte) string {
	var o struct{ Value string }
	_ = json.Unmarshal(b, &o)
	if len(o.Value) > 40 {
		return fmt.Sprintf("%d bytes", len(o.Value))
	}
	return o.Value
}

func (p *player) host(n *node, what string, words []string) {
	switch what {
	case "apply": // NAME VALUE NAME VALUE …
		var all []projection.Change
		for i := 0; i < len(words); i += 2 {
			all = append(all, applied(words[i], words[i+1]))
		}
		p.record(n, all...)
	case "big":
		p.record(n, applied(words[0], strings.Repeat("x", 600<<10)))
	case "often": // so many times
		for i := range len(words[1]) {
			p.record(n, applied(words[0], words[1][:i+1]))
		}
	case "delete":
		p.record(n, projection.Change{Kind: events.Declared, Key: key(words[0])})
	case "crash":
		n.crash()
	case "start":
		n.start()
	case "lose":
		n.crash()
		n.lose()
	case "image":
		n.crash()
		p.images[n.id] = n.image()
		n.start()
		n.starting = false
	case "rollback":
		n.crash()
		n.put(p.images[n.id])
	case "revert": // while it runs
		n.crash()
		n.put(p.images[n.id])
		n.start()
		n.starting = false
	case "clone":
		dir := filepath.Join(p.dir, words[0])
		(&node{sim: p.sim, dir: dir}).put(p.images[n.id])
		p.add(words[0], words[0], dir, n.machine)
	case "second":
		p.add(n.id+"'", n.name, filepath.Join(p.dir, "second"), "another machine")
	case "clock":
		d, err := time.ParseDuration(words[0])
		if err != nil {
			p.t.Fatal(err)
		}
		n.skew = d
	case "damage": // what its disk holds of the commit that gives an object this value
		n.damage(fmt.Sprintf(`"value":%q`, words[0]))
	case "overlook": // the last commit
		n.overlook()
	case "remove": // a host from the cluster
		p.record(n, projection.Change{Kind: events.Trust, Key: projection.MemberKey(words[0]), Object: projection.Encode(projection.Member{Removed: true})})
	case "backup":
		p.backup = n.ledger.View().Declarations()
	case "restore": // the backup, as that name
		r := projection.Restore{Host: n.name, From: "the backup", Asked: n.now.Add(n.skew)}
		r.Saw(n.ledger.View().State)
		p.record(n, r.Next(words[0], n.ledger.View().State, p.backup, nil, nil, 1<<20, r.Asked)...)
	case "unseen": // that survived the restore of that name
		r, _ := n.ledger.View().LookupRestore(words[0])
		for _, o := range r.Unseen(n.ledger.View().State) {
			p.line("%s lists %s as not seen by the restore: %s", n.id, o.Key, valueOf(o.Version.Object))
		}
	case "trim":
		for _, h := range n.ledger.View().Vector() {
			n.floor[h.Inc] = h.Seq
		}
	case "full":
		n.full.Store(true)
	case "room":
		n.room()
	case "later": // a version that comes later says something
		p.later(n, words[0])
	case "status":
		st := n.core.status()
		for _, o := range st.Peers {
			p.line("%s says of %s: alive %v, behind %d, lacked %d, differs %v, clock %v", n.id, o.Host, o.Alive, o.Behind, o.Lacked, o.Differs, o.Offset.Round(time.Second))
		}
		for _, o := range st.Problems {
			p.line("%s has a problem: %s; %s", n.id, p.named(o.What), o.Do)
		}
	default:
		p.t.Fatalf("nobody knows what %q is", what)
	}
}

func applied(name, value string) projection.Change {
	b, _ := json.Marshal(map[string]string{"value": value})
	return projection.Change{Kind: events.Declared, Key: key(name), Object: b}
}

func (p *player) record(n *node, all ...projection.Change) {
	if !n.up || n.starting {
		p.line("%s takes no changes", n.id)
		return
	}
	r, err := n.ledger.Record(context.Background(), projection.By{Actor: "story"}, func(*projection.State) ([]projection.Change, error) { return all, nil })
	if err != nil {
		p.line("%s: %v", n.id, err)
		return
	}
	p.line("%s records %s", n.id, p.event(r.Stamp.ID))
	n.step(func() {})
}

// overlook has the agent begin with a state that does not follow from its log, as by a mistake of the version before it: nothing that the last
// commit says is in it.
func (n *node) overlook() {
	v := n.ledger.View()
	steps, ok := v.Since(v.Index() - 1)
	if !ok || len(steps) == 0 {
		n.t.Fatalf("%s has no last commit", n.id)
	}
	last := steps[len(steps)-1]
	c := *last.Commit
	c.Events = slices.Clone(c.Events)
	for i := range c.Events {
		c.Events[i].Object, c.Events[i].Ends = nil, nil
	}
	n.begin = last.Before.Fold(&c, v.Head(c.Inc).Hash, last.First(), v.At())
	n.crash()
	n.start()
	n.begin, n.starting = nil, false
}

// later has all others hear a commit in a format that comes later, of an incarnation of its own.
func (p *player) later(n *node, inc string) {
	b := fmt.Appendf(nil, `{"v":2,"inc":"%016s","seq":1,"time":"019b76dabb880000","new":true}`, inc)
	p.incs[fmt.Sprintf("%016s", inc)] = "later"
	n.send(subjects{"sim"}.commit(n.name), b)
}

// teller has a host say to people what it has to say.
type teller struct {
	n *node
}

// Enabled wants what people see by default.
func (t *teller) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle tells it.
func (t *teller) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "do" {
			text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	if r.Message != "a host is heard" {
		t.n.line("%s: %s: %s", t.n.id, strings.ToLower(r.Level.String()), t.n.named(strings.ReplaceAll(text, t.n.sim.dir+"/", "")))
	}
	return nil
}

// WithAttrs is not used.
func (t *teller) WithAttrs([]slog.Attr) slog.Handler { return t }

// WithGroup is not used.
func (t *teller) WithGroup(string) slog.Handler { return t }

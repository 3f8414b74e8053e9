package trial

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Report is what is wrong with what an agent holds, one line for each.
type Report struct {
	Lost    []string // acknowledged, and not there
	Partial []string // manifests that are there in part
	Wrong   []string // whatever was never written like that
}

// Add adds what another report says.
func (r *Report) Add(o Report) {
	r.Lost = append(r.Lost, o.Lost...)
	r.Partial = append(r.Partial, o.Partial...)
	r.Wrong = append(r.Wrong, o.Wrong...)
}

// Clean reports whether nothing is wrong.
func (r *Report) Clean() bool { return len(r.Lost)+len(r.Partial)+len(r.Wrong) == 0 }

// String is all of it, one a line.
func (r *Report) String() string {
	var b strings.Builder
	for _, part := range []struct {
		what  string
		lines []string
	}{{"lost", r.Lost}, {"partial", r.Partial}, {"wrong", r.Wrong}} {
		for _, line := range part.lines {
			fmt.Fprintf(&b, "%s: %s\n", part.what, line)
		}
	}
	return b.String()
}

// Objects is what somebody says there is: the generation and the filler of every object of the load, by kind and name.
type Objects [kinds]map[string]object

type object struct {
	generation uint64
	filler     string
}

// meta is as much of an object as a load looks at.
type meta struct {
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
}

func (o *Objects) put(k int, m *meta) {
	if o[k] == nil {
		o[k] = map[string]object{}
	}
	n, _ := strconv.ParseUint(m.Metadata.Annotations[annotation], 10, 64) // 0, which is wrong, when it is no number
	o[k][m.Metadata.Name] = object{n, m.Metadata.Annotations[filler]}
}

// Listed is what the agent's lists say.
func Listed(ctx context.Context, url string) (Objects, error) {
	var o Objects
	for k, path := range [kinds]string{
		"/apis/apps/v1/deployments", "/api/v1/services", "/apis/networking.k8s.io/v1/ingresses"} {
		var list struct{ Items []meta }
		if err := GetJSON(ctx, url+path, &list); err != nil {
			return o, err
		}
		for i := range list.Items {
			if strings.HasPrefix(list.Items[i].Metadata.Name, "load-") {
				o.put(k, &list.Items[i])
			}
		}
	}
	return o, nil
}

// Check compares what there is with what was acknowledged, and takes it as what is there from now on: what has been
// shown after a crash must be durable. No client may be running.
func (l *Load) Check(o Objects) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Report{Wrong: l.wrong}
	l.wrong = nil
	known := 0
	for _, c := range l.clients {
		for _, g := range c.groups {
			var seen version
			for k := range kinds {
				found, ok := o[k][g.name]
				if !ok {
					continue
				}
				known++
				seen[k] = found.generation
				if found.generation == 0 || found.filler != fill(g.name, found.generation) {
					r.Wrong = append(r.Wrong, fmt.Sprintf("%s %s has the bytes of no generation", kindName(k), g.name))
				}
			}
			g.check(seen, &r)
		}
	}
	total := 0
	for k := range kinds {
		total += len(o[k])
	}
	if total != known {
		r.Wrong = append(r.Wrong, fmt.Sprintf("%d objects of the load are there, and it knows of %d", total, known))
	}
	return r
}

// check compares and settles one group.
func (g *group) check(seen version, r *Report) {
	want := fmt.Sprint(g.acked)
	if g.pending != nil {
		want += fmt.Sprint(" or ", *g.pending)
	}
	line := fmt.Sprintf("%s: generations %v, want %s", g.name, seen, want)
	switch {
	case seen == g.acked || g.pending != nil && seen == *g.pending:
	case g.mixed(seen):
		r.Partial = append(r.Partial, line)
	case g.lost(seen):
		r.Lost = append(r.Lost, line)
	default:
		r.Wrong = append(r.Wrong, line)
	}
	g.old, g.acked, g.pending = seen, seen, nil
}

// mixed reports whether each object is as one of the two manifests that may be there, or the one before, wants it.
func (g *group) mixed(seen version) bool {
	if seen == g.old {
		return false
	}
	for k := range kinds {
		if seen[k] != g.acked[k] && seen[k] != g.old[k] && (g.pending == nil || seen[k] != g.pending[k]) {
			return false
		}
	}
	return true
}

// lost reports whether something older is there than was acknowledged.
func (g *group) lost(seen version) bool {
	for k := range kinds {
		if seen[k] != g.acked[k] && (seen[k] == 0 || seen[k] < g.acked[k] || g.acked[k] == 0) {
			return true
		}
	}
	return false
}

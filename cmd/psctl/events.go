package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/summary"
	"github.com/podman-swarm/podman-swarm/events"
)

func (p *program) events() *cobra.Command {
	e := &eventReader{program: p, query: url.Values{}, spans: map[string]time.Duration{}}
	var since, until string
	var kinds, keys, nodes, actors []string
	c := &cobra.Command{
		Use:   "events [KIND/NAME… | KIND NAME…]",
		Short: "Print the log: every change, who made it, when, and why",
		Long: `events prints the log of the agent's host, an event a line, oldest first: what people declared, where agents decided to run
it, and what hosts observed. KIND/NAME shows only what concerns that object, and with deployment/NAME its replicas too; -n without a name shows what
concerns that namespace.

--since and --until take an index (--since shows the events after it), a time like 2026-01-21T12:00:00Z, or how long ago, like 10m; --since also
a position, as -o json has it of each event: then it is said if the log is not the one any more that it is of. --kind is declared, decided,
observed or trust; --key a key, the beginning of one, or a pattern (deployment, */shop); --node the host that wrote it; --actor a text in who
asked for it. Each may be given several times; then one must fit.

--follow goes on with what happens from now on, also when the agent restarts meanwhile; nothing is missed, and nothing told twice.

-o json prints each event whole, one JSON object a line: index, position, time (by the clock of the host that wrote it), user_agent, at (when the
asked host wrote it), node, stamp, kind, key, uid, base, for, ends, actor, cause, commit and object. -o cloudevents prints a CloudEvent 1.0 a line, and
-o wide all but the object for people. Where the log goes on from the state of another host, a line has jump (cause, heads) instead, and one of a
later version unread: a line for people says so.`,
		Example: `  psctl events --since 1h
  psctl events deployment/web --follow
  psctl events --kind declared --actor alice --since 24h -o wide
  psctl events -o json | jq -r 'select(.kind == "declared") | [.at, .actor, .key] | @tsv'`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := e.only(args); err != nil {
				return err
			}
			if err := e.between(since, until); err != nil {
				return err
			}
			for _, k := range kinds {
				if !slices.Contains(factKinds(), k) {
					return usage("--kind %q: want %s (what kind of object it is about is --key)", k, orWord(factKinds()))
				}
			}
			for name, values := range map[string][]string{"kind": kinds, "key": keys, "node": nodes, "actor": actors} {
				e.query[name] = append(e.query[name], values...)
			}
			return e.run(c.Context())
		},
	}
	e.form = output(c, asJSON, asCloudEvents, asWide)
	c.Flags().BoolVarP(&e.follow, "follow", "f", false, "go on with what happens from now on, until interrupted")
	c.Flags().StringVar(&since, "since", "", "only what comes after this index or position, or is not older than this time (span)")
	c.Flags().StringVar(&until, "until", "", "nothing after this index, or later than this time (span)")
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only facts of this kind: "+orWord(factKinds()))
	c.Flags().StringSliceVar(&keys, "key", nil, "only what is about this key, one below it, or of this pattern")
	c.Flags().StringSliceVar(&nodes, "node", nil, "only what this host wrote")
	c.Flags().StringSliceVar(&actors, "actor", nil, "only what somebody asked for in whose name this text stands")
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(factKinds(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	c.ValidArgsFunction = p.completeObjects(true, false)
	return c
}

// asCloudEvents is the form of output that only events has.
const asCloudEvents = "cloudevents"

// factKinds are the kinds of fact.
func factKinds() []string {
	return []string{string(events.Declared), string(events.Decided), string(events.Observed), string(events.Trust)}
}

// eventReader is one events.
type eventReader struct {
	*program
	form   *format
	follow bool
	query  url.Values               // what is asked for
	spans  map[string]time.Duration // of it, how long ago before it was asked for
	after  string                   // position of the last event that was looked at; "": none yet
	header bool
	shown  int
}

// event is one event as the agent tells it: what is shown of it.
type event struct {
	Index  uint64          `json:"index"`
	Place  string          `json:"position"`
	Time   time.Time       `json:"time"` // by the clock of the host that wrote it
	At     time.Time       `json:"at"`
	Node   string          `json:"node"`
	Kind   string          `json:"kind"`
	Key    string          `json:"key"`
	Base   string          `json:"base"`
	Actor  string          `json:"actor"`
	Cause  string          `json:"cause"`
	Object json.RawMessage `json:"object"`
	Agent  string          `json:"user_agent"`
	Jump   *struct {       // instead of an event: the log goes on from a state that was taken over
		Cause string `json:"cause"`
	} `json:"jump"`
	Unread string    `json:"unread"`   // instead of an event: a commit that the agent does not understand
	Mark   string    `json:"bookmark"` // instead of an event: how far the agent has looked
	End    *struct { // instead of an event: why there are no more
		Reason   string `json:"reason"`
		Message  string `json:"message"`
		Position string `json:"position"`
	} `json:"end"`
}

// only takes the objects that are asked for.
func (e *eventReader) only(args []string) error {
	if len(args) == 0 {
		if e.namespace != "" {
			e.query.Set("namespace", e.namespace)
		}
		return nil
	}
	add := func(keys ...string) { e.query["key"] = append(e.query["key"], keys...) }
	ts, err := targets(args)
	if err != nil {
		return err
	}
	for _, t := range ts {
		if len(t.names) == 0 {
			return usage("of which %s? psctl events %s/NAME; psctl events alone prints all", t.plural, t.singular)
		}
		for _, name := range t.names {
			where := e.ns() + "/" + name
			switch t.Kind {
			case "Deployment":
				add("deployment/"+where, "placement/"+where, "replica/"+where)
			case "Pod":
				deployment, ordinal, _ := cutLast(where, "-")
				add("placement/"+deployment+"/"+ordinal, "replica/"+deployment+"/"+ordinal)
			case "Node":
				for _, typ := range []string{"host", "recovery", "node", "sight", "member", "readonly", "clock", "backup", "finding", "clash"} {
					add(typ + "/" + name)
				}
			case "Namespace":
				add("namespace/" + name)
			case "Event":
				return usage("%s is told of by events, and none itself", name)
			default:
				add(t.singular + "/" + where)
			}
		}
	}
	return nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// between reads --since and --until.
func (e *eventReader) between(since, until string) error {
	for _, m := range []struct{ name, value string }{{"since", since}, {"until", until}} {
		if m.value == "" {
			continue
		}
		index, _, _ := strings.Cut(m.value, "@")
		_, err1 := strconv.ParseUint(index, 10, 64)
		d, err2 := time.ParseDuration(m.value)
		_, err3 := time.Parse(time.RFC3339Nano, m.value)
		if err1 != nil && err3 != nil && (err2 != nil || d < 0) {
			return usage("--%s %q: want an index like 120, a time like 2026-01-21T12:00:00Z, or a time span like 10m", m.name, m.value)
		}
		e.query.Set(m.name, m.value)
		if err1 != nil && err2 == nil {
			e.spans[m.name] = d
		}
	}
	return nil
}

// errDone ends the following of what has come to its end.
var errDone = errors.New("there is nothing more of that")

func (e *eventReader) run(ctx context.Context) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	e.query.Set("bookmarks", "true")
	if e.form.value == asCloudEvents {
		e.query.Set("format", asCloudEvents)
	}
	began := time.Now()
	query := func() url.Values {
		q := maps.Clone(e.query)
		for name, ago := range e.spans { // from when the agent is asked, which is again after a restart; by no clock but this one, which may be wrong
			q.Set(name, (ago + time.Since(began)).String())
		}
		if e.after != "" {
			q.Set("after", e.after)
			q.Del("since")
		}
		if e.follow {
			q.Set("follow", "true")
		}
		return q
	}
	const path = "/swarm/v1/events"
	if e.follow {
		err := c.Follow(ctx, path, query, e.lost, e.show)
		if errors.Is(err, errDone) {
			return nil
		}
		if ctx.Err() != nil && e.after != "" && e.form.value != asTable {
			return &interruptedError{"interrupted. To go on from here: --since " + e.after}
		}
		return err
	}
	if err := c.Lines(ctx, path, query(), e.show); err != nil || e.shown > 0 {
		return err
	}
	index, _, _ := strings.Cut(e.after, "@")
	e.note("no events of that in the log of this agent, up to index %s", cmp.Or(index, "0"))
	return nil
}

// show prints one event.
func (e *eventReader) show(raw json.RawMessage) error {
	var ev event
	if err := json.Unmarshal(raw, &ev); err != nil {
		return fmt.Errorf("event after %s: %w", cmp.Or(e.after, "the first"), err)
	}
	switch {
	case ev.End != nil:
		return e.ended(&ev)
	case ev.Mark != "":
		e.after = ev.Mark
		return nil
	}
	e.after = ev.Place
	e.shown++
	switch e.form.value {
	case asJSON, asCloudEvents:
		return e.printf("%s\n", raw)
	case asWide:
		return e.wide(&ev)
	}
	if !e.header {
		e.header = true
		if err := e.printf("%6s  %-8s  %-10s  %-28s  %s\n", "INDEX", "TIME", "HOST", "WHAT", "HOW, BY WHOM AND WHY"); err != nil {
			return err
		}
	}
	by := ""
	if ev.isOne() {
		by = "  [" + ev.Actor + led(": ", ev.Cause) + "]"
	}
	return e.printf("%6d  %-8s  %-10s  %-28s  %s\n", ev.Index, e.clock(ev.At), cmp.Or(ev.Node, "-"), cmp.Or(ev.Key, "-"), strings.TrimRight(ev.what()+by, " "))
}

// wide prints an event with all but its object, on one line.
func (e *eventReader) wide(ev *event) error {
	if !e.header {
		e.header = true
		if err := e.printf("%6s  %-24s  %-10s  %-9s  %-28s  %-24s  %-24s  %s\n", "INDEX", "TIME", "HOST", "KIND", "WHAT", "BY WHOM", "WITH WHAT", "HOW AND WHY"); err != nil {
			return err
		}
	}
	who := strings.TrimSuffix(strings.TrimSuffix(ev.Actor, ev.Agent), " ")
	at := ev.Time
	if at.IsZero() { // of this log alone
		at = ev.At
	}
	return e.printf("%6d  %-24s  %-10s  %-9s  %-28s  %-24s  %-24s  %s\n", ev.Index, at.UTC().Format("2006-01-02T15:04:05.000Z"), cmp.Or(ev.Node, "-"), cmp.Or(ev.Kind, "-"),
		cmp.Or(ev.Key, "-"), cmp.Or(who, "-"), cmp.Or(ev.Agent, "-"), ev.what()+led(": ", ev.Cause))
}

// ended is what follows when the agent tells no more.
func (e *eventReader) ended(ev *event) error {
	e.after = ev.End.Position
	switch ev.End.Reason {
	case "Until":
		return errDone
	case "TooSlow": // it is asked again
		e.note("%s", ev.End.Message)
		return nil
	}
	return fmt.Errorf("%s (psctl events --since %s)", ev.End.Message, ev.End.Position)
}

// isOne reports whether the line is an event, which has a key and who made it, and not the log's own word.
func (ev *event) isOne() bool { return ev.Jump == nil && ev.Unread == "" }

// what tells an event in a few words.
func (ev *event) what() string {
	switch {
	case ev.Jump != nil:
		return summary.Jump(ev.Jump.Cause)
	case ev.Unread != "":
		return summary.Unread
	}
	return summary.Of(ev.Key, ev.Base == "", ev.Object)
}

// led is text after what leads to it; nothing when there is no text.
func led(lead, text string) string {
	if text == "" {
		return ""
	}
	return lead + text
}

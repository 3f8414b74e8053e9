package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) events() *cobra.Command {
	e := &eventReader{program: p}
	var since string
	c := &cobra.Command{
		Use:   "events [KIND/NAME… | KIND NAME…]",
		Short: "Print the log: every change, who made it, when, and why",
		Long: `events prints the log of the agent's host, an event a line, oldest first: what people declared, where agents decided to run
it, and what hosts observed. KIND/NAME shows only what concerns that object, and with deployment/NAME its replicas too; -n without a name shows what
concerns that namespace.

--since takes an index, and shows the events after it, or a time span like 10m. --follow goes on with what happens from
now on, also when the agent restarts meanwhile; nothing is missed.

-o json prints each event whole, one JSON object a line: index, at, node, stamp, kind, key, uid, base, for, ends, actor,
cause, commit and object.`,
		Example: `  psctl events --since 1h
  psctl events deployment/web --follow
  psctl events -o json | jq -r 'select(.kind == "declared") | [.at, .actor, .key] | @tsv'`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := e.only(args); err != nil {
				return err
			}
			if err := e.from(since); err != nil {
				return err
			}
			return e.run(c.Context())
		},
	}
	e.form = output(c, asJSON)
	c.Flags().BoolVarP(&e.follow, "follow", "f", false, "go on with what happens from now on, until interrupted")
	c.Flags().StringVar(&since, "since", "", "only what comes after this index, or is not older than this time span")
	c.ValidArgsFunction = p.completeObjects(true, false)
	return c
}

// eventReader is one events.
type eventReader struct {
	*program
	form   *format
	follow bool
	after  uint64
	notold time.Time
	keys   []string // of what is shown; nil: everything
	in     string   // namespace of what is shown; "": of all
	header bool
	shown  int
}

// event is one event as the agent tells it: what is shown of it.
type event struct {
	Index  uint64          `json:"index"`
	At     time.Time       `json:"at"`
	Node   string          `json:"node"`
	Kind   string          `json:"kind"`
	Key    string          `json:"key"`
	Base   string          `json:"base"`
	Actor  string          `json:"actor"`
	Cause  string          `json:"cause"`
	Object json.RawMessage `json:"object"`
}

// only takes the objects that are asked for.
func (e *eventReader) only(args []string) error {
	if len(args) == 0 {
		e.in = e.namespace
		return nil
	}
	ts, err := targets(args)
	if err != nil {
		return err
	}
	for _, t := range ts {
		if len(t.names) == 0 {
			return usage("of which %s? psctl events %s/NAME; psctl events alone prints all", t.plural, t.singular)
		}
		for _, name := range t.names {
			where := cmp.Or(e.namespace, "default") + "/" + name
			switch t.Kind {
			case "Deployment":
				e.keys = append(e.keys, "deployment/"+where, "placement/"+where, "replica/"+where)
			case "Pod":
				deployment, ordinal, _ := cutLast(where, "-")
				e.keys = append(e.keys, "placement/"+deployment+"/"+ordinal, "replica/"+deployment+"/"+ordinal)
			case "Node":
				e.keys = append(e.keys, "host/"+name, "recovery/"+name, "node/"+name, "sight/"+name, "member/"+name)
			case "Namespace":
				e.keys = append(e.keys, "namespace/"+name)
			case "Event":
				return usage("%s is told of by events, and none itself", name)
			default:
				e.keys = append(e.keys, t.singular+"/"+where)
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

// from reads --since.
func (e *eventReader) from(since string) error {
	if since == "" {
		return nil
	}
	if n, err := strconv.ParseUint(since, 10, 64); err == nil {
		e.after = n
		return nil
	}
	d, err := time.ParseDuration(since)
	if err != nil || d < 0 {
		return usage("--since %q: want an index like 120, or a time span like 10m", since)
	}
	e.notold = e.now().Add(-d)
	return nil
}

func (e *eventReader) run(ctx context.Context) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	query := func() url.Values {
		q := url.Values{"after": {strconv.FormatUint(e.after, 10)}}
		if e.follow {
			q.Set("follow", "true")
		}
		return q
	}
	const path = "/swarm/v1/events"
	if e.follow {
		return c.Follow(ctx, path, query, e.lost, e.show)
	}
	if err := c.Lines(ctx, path, query(), e.show); err != nil || e.shown > 0 {
		return err
	}
	e.note("no events of that in the log of this agent, up to index %d", e.after)
	return nil
}

// show prints one event, if it is asked for.
func (e *eventReader) show(raw json.RawMessage) error {
	var ev event
	if err := json.Unmarshal(raw, &ev); err != nil {
		return fmt.Errorf("event after index %d: %w", e.after, err)
	}
	e.after = max(e.after, ev.Index)
	if ev.At.Before(e.notold) || !e.concerns(ev.Key) {
		return nil
	}
	e.shown++
	if e.form.value == asJSON {
		return e.printf("%s\n", raw)
	}
	if !e.header {
		e.header = true
		if err := e.printf("%6s  %-8s  %-10s  %-28s  %s\n", "INDEX", "TIME", "HOST", "WHAT", "HOW, BY WHOM AND WHY"); err != nil {
			return err
		}
	}
	by := ev.Actor
	if ev.Cause != "" {
		by += ": " + ev.Cause
	}
	return e.printf("%6d  %-8s  %-10s  %-28s  %s\n", ev.Index, e.clock(ev.At), ev.Node, ev.Key, strings.TrimRight(ev.what()+"  ["+by+"]", " "))
}

func (e *eventReader) concerns(key string) bool {
	if e.in != "" {
		parts := strings.Split(key, "/") // KIND/NAMESPACE/…, or KIND/NAME of what is in no namespace
		return len(parts) > 2 && parts[1] == e.in || key == "namespace/"+e.in
	}
	return e.keys == nil || slices.ContainsFunc(e.keys, func(k string) bool {
		return key == k || strings.HasPrefix(key, k+"/")
	})
}

// what tells an event in a few words.
func (ev *event) what() string {
	typ, _, _ := strings.Cut(ev.Key, "/")
	if text := ev.aboutHosts(typ); text != "" {
		return text
	}
	var o struct { // whichever of these the object has
		Host         string `json:"host"`
		Why          string `json:"why"`
		Phase        string `json:"phase"`
		Reason       string `json:"reason"`
		Message      string `json:"message"`
		Container    string `json:"container"`
		Restarts     int    `json:"restarts"`
		Done         string `json:"done"`
		Adopted      int    `json:"adopted"`
		StartedAgain int    `json:"started_again"`
		Created      int    `json:"created"`
		Removed      int    `json:"removed"`
		Failed       int    `json:"failed"`
		Bounced      int    `json:"bounced"`
		Version      string `json:"version"`
	}
	gone := len(ev.Object) == 0 || string(ev.Object) == "null"
	if !gone && json.Unmarshal(ev.Object, &o) != nil {
		return "changed"
	}
	switch {
	case gone && typ == "replica":
		return "container is gone"
	case gone && typ == "placement":
		return "no longer wanted"
	case gone:
		return "deleted"
	case typ == "placement" && o.Host == "":
		return "not placed: " + o.Why
	case typ == "placement":
		return "to run on " + o.Host + led(": ", o.Why)
	case typ == "replica":
		return o.Phase + led(" ", o.Reason) + led(", container ", o.Container[:min(12, len(o.Container))]) + again(o.Restarts) + led(": ", oneLine(o.Message, 200))
	case typ == "recovery" && o.Done == "":
		return "recovering"
	case typ == "recovery":
		return fmt.Sprintf("recovered: adopted %d, started %d, created %d, removed %d, failed %d, bounced %d",
			o.Adopted, o.StartedAgain, o.Created, o.Removed, o.Failed, o.Bounced)
	case typ == "host":
		return "agent " + o.Version
	case ev.Base == "":
		return "created"
	}
	return "changed"
}

// again tells of restarts.
func again(restarts int) string {
	if restarts == 0 {
		return ""
	}
	return ", " + plural(restarts, "restart")
}

// led is text after what leads to it; nothing when there is no text.
func led(lead, text string) string {
	if text == "" {
		return ""
	}
	return lead + text
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) get() *cobra.Command {
	g := &getter{program: p}
	c := &cobra.Command{
		Use:        "get KIND[,KIND] [NAME…] | KIND/NAME… | all",
		SuggestFor: []string{"ls", "list", "ps", "show"},
		Short:      "List objects, or some by name",
		Long: `get lists objects: deployments (deploy), services (svc), ingresses (ing), pods (po), endpoints (ep),
configmaps (cm), secrets (sec), namespaces (ns), nodes (no) and events (ev); all stands for deployments, services, ingresses and pods. A pod that does not run says why.
ENDPOINTS of a Service is how many of its replicas take connections, and how many there are; SERVICES of an Ingress is how many
of those that it leads to have one that does. psctl describe says why others do not.

-o json and yaml give an object that was named alone as it is, and anything else as a List; -o name gives KIND/NAME a
line. With -w, -o json gives an object a line: {"type": "ADDED", "MODIFIED" or "DELETED", "object": …}.
What is not there ends with exit code 4; an empty list is no error.`,
		Example: `  psctl get pods                          what runs where, on which ports, and why not
  psctl get deploy,svc -n shop -o wide
  psctl get deployment/web -o yaml
  psctl get pods -l app=web -w            and then every change of them
  psctl get pods -A -o json | jq -r '.items[].status.podIP'`,
		Args: usageArgs(cobra.MinimumNArgs(1), "get what? Such as: psctl get pods"),
		RunE: func(c *cobra.Command, args []string) error { return g.run(c.Context(), args) },
	}
	g.form = output(c, asJSON, asYAML, asName, asWide)
	c.Flags().BoolVarP(&g.all, "all-namespaces", "A", false, "objects of all namespaces")
	c.Flags().StringVarP(&g.selector, "selector", "l", "", "only objects with these labels: app=web,tier!=cache")
	c.Flags().BoolVarP(&g.watch, "watch", "w", false, "after the list, show every change until interrupted")
	c.Flags().StringVar(&g.at, "at", "", "as the asked host knew it then: "+atHelp)
	c.ValidArgsFunction = p.completeObjects(true, false)
	return c
}

// usageArgs checks arguments, and says text when they do not fit.
func usageArgs(check cobra.PositionalArgs, text string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check(c, args) != nil {
			return usage("%s", text)
		}
		return nil
	}
}

// getter is one get.
type getter struct {
	*program
	form     *format
	all      bool
	selector string
	watch    bool
	at       string

	c *client.Client
}

func (g *getter) run(ctx context.Context, args []string) (err error) {
	ts, err := targets(args)
	if err != nil {
		return err
	}
	switch named := len(ts[0].names) > 0; {
	case g.all && g.namespace != "":
		return usage("-A and -n exclude each other")
	case named && (g.all || g.selector != ""):
		return usage("a name with -A or -l: name an object, or choose several by -n, -A and -l")
	case g.watch && (len(ts) > 1 || len(ts[0].names) > 1):
		return usage("-w watches one kind, or one object of it")
	case g.watch && g.at != "":
		return usage("-w shows what is to come, and --at what was")
	case g.watch && g.form.value == asYAML:
		return usage("-w has no -o yaml: take -o json, which gives an object a line")
	}
	if g.c, err = g.client(); err != nil {
		return err
	}
	g.c.At = g.at
	if g.watch {
		return g.follow(ctx, ts[0])
	}
	return g.once(ctx, ts)
}

// listing is a list of any kind, its items as they came.
type listing struct {
	Metadata metav1.ListMeta   `json:"metadata"`
	Items    []json.RawMessage `json:"items"`
}

// in is the namespace of the lists that are asked for; "" for all.
func (g *getter) in() string {
	if g.all {
		return ""
	}
	return g.ns()
}

func (g *getter) list(ctx context.Context, t target) (listing, error) {
	var l listing
	err := g.c.Get(ctx, t.list(g.in()), g.query(t), &l)
	return l, err
}

func (g *getter) query(t target) url.Values {
	q := url.Values{}
	if g.selector != "" {
		q.Set("labelSelector", g.selector)
	}
	if len(t.names) == 1 {
		q.Set("fieldSelector", "metadata.name="+t.names[0])
	}
	return q
}

// named gets the objects that are named, and the errors of those that cannot be got.
func (g *getter) named(ctx context.Context, t target) (items []json.RawMessage, err error) {
	for _, name := range t.names {
		var raw json.RawMessage
		switch e := g.c.Get(ctx, t.one(g.ns(), name), nil, &raw); {
		case client.IsNotFound(e):
			err = errors.Join(err, notFound("%s", g.absent(t.kind, name)))
		case e != nil:
			return items, e
		default:
			items = append(items, raw)
		}
	}
	return items, err
}

// once shows everything as it is now. What could be got is shown, also where something else is not there.
func (g *getter) once(ctx context.Context, ts []target) error {
	var absent error
	found := make([][]json.RawMessage, len(ts))
	var all []json.RawMessage
	for i, t := range ts {
		if len(t.names) > 0 {
			items, err := g.named(ctx, t)
			if err != nil && !isNotFound(err) {
				return err
			}
			found[i], absent = items, errors.Join(absent, err)
		} else {
			l, err := g.list(ctx, t)
			if err != nil {
				return err
			}
			found[i] = l.Items
		}
		for j, raw := range found[i] {
			raw, err := typed(t.kind, raw)
			if err != nil {
				return err
			}
			found[i][j] = raw
			all = append(all, raw)
		}
	}
	var err error
	switch g.form.value {
	case asJSON, asYAML:
		err = g.values(all, len(ts) == 1 && len(ts[0].names) == 1)
	case asName:
		for i, t := range ts {
			err = errors.Join(err, g.names(t.kind, found[i]))
		}
	default:
		err = g.tables(ctx, ts, found, absent == nil)
	}
	return errors.Join(err, absent)
}

func isNotFound(err error) bool {
	var n *notFoundError
	return errors.As(err, &n)
}

func (g *getter) values(all []json.RawMessage, alone bool) error {
	if alone {
		if len(all) == 0 {
			return nil // it is not there, which is the error
		}
		return g.value(all[0], g.form.value)
	}
	raw, err := list(all)
	if err != nil {
		return err
	}
	return g.value(raw, g.form.value)
}

func (g *getter) names(k kind, items []json.RawMessage) error {
	for _, raw := range items {
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(raw, &o); err != nil {
			return fmt.Errorf("read a %s: %w", k.singular, err)
		}
		if err := g.printf("%s\n", k.label(o.Name)); err != nil {
			return err
		}
	}
	return nil
}

// tables shows a table per kind. Of several kinds, those with nothing are passed over, and names bear their kind.
func (g *getter) tables(ctx context.Context, ts []target, found [][]json.RawMessage, complain bool) error {
	shown := 0
	for i, t := range ts {
		if len(found[i]) == 0 {
			continue
		}
		if shown++; shown > 1 {
			if err := g.printf("\n"); err != nil {
				return err
			}
		}
		tab := g.table(t.kind)
		if err := g.fill(tab, t.kind, g.withCounts(ctx, t.kind, found[i]), len(ts) > 1); err != nil {
			return err
		}
		if err := tab.write(g.out, false); err != nil {
			return err
		}
	}
	if shown == 0 && complain {
		g.note("%s", g.nothing(ts))
	}
	return nil
}

// nothing says what there is none of.
func (g *getter) nothing(ts []target) string {
	var what []string
	namespaced := false
	for _, t := range ts {
		what = append(what, t.plural)
		namespaced = namespaced || t.namespaced
	}
	text := "no " + orWord(what)
	if g.selector != "" {
		text += " with labels " + g.selector
	}
	if namespaced && !g.all {
		text += " in namespace " + g.ns()
	}
	return text
}

func (g *getter) table(k kind) *table {
	t := &table{}
	if g.all && k.namespaced {
		t.header = append(t.header, "NAMESPACE")
	}
	t.header = append(t.header, k.header...)
	if g.form.value == asWide {
		t.header = append(t.header, k.wide...)
	}
	return t
}

// fill adds a row for each object; with kinds in front of names where a table of another kind stands beside it.
func (g *getter) fill(t *table, k kind, items []json.RawMessage, label bool) error {
	for _, raw := range items {
		r, err := k.row(raw, g.now())
		if err != nil {
			return fmt.Errorf("read a %s: %w", k.singular, err)
		}
		var cells []string
		if g.all && k.namespaced {
			var o metav1.PartialObjectMetadata
			if err := json.Unmarshal(raw, &o); err != nil {
				return fmt.Errorf("read a %s: %w", k.singular, err)
			}
			cells = append(cells, o.Namespace)
		}
		if i := len(cells); label && k.header[0] == "NAME" {
			cells = append(cells, r.cells...)
			cells[i] = k.label(r.cells[0])
		} else {
			cells = append(cells, r.cells...)
		}
		if g.form.value == asWide {
			cells = append(cells, r.wide...)
		}
		t.add(cells...)
	}
	return nil
}

// follow shows the list and then every change, until interrupted.
func (g *getter) follow(ctx context.Context, t target) error {
	tab := g.table(t.kind)
	for {
		l, err := g.list(ctx, t)
		if err != nil {
			return err
		}
		var now []client.WatchEvent
		for _, raw := range l.Items {
			now = append(now, client.WatchEvent{Type: "ADDED", Object: raw})
		}
		if err := g.changes(ctx, tab, t.kind, now); err != nil {
			return err
		}
		err = g.c.Watch(ctx, t.list(g.in()), g.query(t), l.Metadata.ResourceVersion, g.lost, func(e client.WatchEvent) error {
			return g.changes(ctx, tab, t.kind, []client.WatchEvent{e})
		})
		if !client.IsGone(err) {
			return err
		}
		g.note("%s of the agent are numbered anew, or too much has happened since: here is the list again", t.plural)
	}
}

// changes shows objects that have changed, in rows that line up with the earlier ones.
func (g *getter) changes(ctx context.Context, tab *table, k kind, all []client.WatchEvent) error {
	for _, e := range all {
		raw, err := typed(k, e.Object)
		if err != nil {
			return err
		}
		switch g.form.value {
		case asJSON:
			e.Object = raw
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := g.printf("%s\n", b); err != nil {
				return err
			}
		case asName:
			if err := g.names(k, []json.RawMessage{raw}); err != nil {
				return err
			}
		default:
			if err := g.fill(tab, k, g.withCounts(ctx, k, []json.RawMessage{raw}), false); err != nil {
				return err
			}
			if r := tab.rows[len(tab.rows)-1]; e.Type == "DELETED" {
				r[len(r)-1] = strings.TrimSpace(r[len(r)-1] + " (deleted)")
			}
		}
	}
	if g.form.value != asTable && g.form.value != asWide || len(all) == 0 {
		return nil
	}
	return tab.write(g.out, true)
}

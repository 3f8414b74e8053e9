package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) describe() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "describe KIND [NAME…] | KIND/NAME…",
		Short: "Tell all about an object: how it is, what belongs to it, what happened to it",
		Long: `describe tells all about an object, or without a name about every object of the kind in the namespace, for people. For
scripts there is psctl get -o json. What keeps a replica from running is said with the last lines of its container's log; not with --at.`,
		Example: `  psctl describe deployment web
  psctl describe pod/web-0
  psctl describe deployment web --at 2h   how it was two hours ago`,
		Args: usageArgs(cobra.MinimumNArgs(1), "describe what? psctl describe KIND NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			ts, err := targets(args)
			if err != nil {
				return err
			}
			return p.describeAll(c.Context(), ts, at)
		},
	}
	c.Flags().StringVar(&at, "at", "", "as the asked host knew it then: "+atHelp)
	c.ValidArgsFunction = p.completeObjects(true, false)
	return c
}

func (p *program) describeAll(ctx context.Context, ts []target, at string) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	c.At = at
	var absent error
	first := true
	for _, t := range ts {
		names := t.names
		if len(names) == 0 {
			if names, err = p.namesOf(ctx, c, t.kind); err != nil {
				return err
			}
			if len(names) == 0 {
				p.note("no %s%s", t.plural, led(" in namespace ", p.namespaceOf(t.kind)))
			}
		}
		for _, name := range names {
			var raw json.RawMessage
			if err := c.Get(ctx, t.one(p.ns(), name), nil, &raw); client.IsNotFound(err) {
				absent = errors.Join(absent, notFound("%s", p.absent(t.kind, name)))
				continue
			} else if err != nil {
				return err
			}
			if !first {
				if err := p.printf("\n"); err != nil {
					return err
				}
			}
			first = false
			if err := p.describeOne(ctx, c, t.kind, raw); err != nil {
				return err
			}
		}
	}
	return absent
}

// namesOf lists the names of the objects of a kind, of a namespaced one those in the namespace.
func (p *program) namesOf(ctx context.Context, c *client.Client, k kind) ([]string, error) {
	var l metav1.PartialObjectMetadataList
	if err := c.Get(ctx, k.list(p.ns()), nil, &l); err != nil {
		return nil, err
	}
	var names []string
	for _, o := range l.Items {
		names = append(names, o.Name)
	}
	return names, nil
}

// namespaceOf is where objects of a kind are looked for; "" when they are in none.
func (p *program) namespaceOf(k kind) string {
	if !k.namespaced {
		return ""
	}
	return p.ns()
}

// page is a description: names and values in two columns, and tables below them.
type page struct {
	w *tabwriter.Writer
}

func newPage(w io.Writer) *page { return &page{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// line is one name and its value; nothing when there is no value.
func (g *page) line(name, value string) {
	if value != "" {
		fmt.Fprintf(g.w, "%s:\t%s\n", name, value)
	}
}

// lines is a name and several values below each other.
func (g *page) lines(name string, values []string) {
	for i, v := range values {
		if i == 0 {
			fmt.Fprintf(g.w, "%s:\t%s\n", name, v)
		} else {
			fmt.Fprintf(g.w, "\t%s\n", v)
		}
	}
}

// below begins something that has columns of its own, or none.
func (g *page) below(title string, rows []string) {
	g.w.Flush()
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(g.w, "%s:\n", title)
	for _, r := range rows {
		fmt.Fprintf(g.w, "  %s\n", r)
	}
	g.w.Flush()
}

func (p *program) describeOne(ctx context.Context, c *client.Client, k kind, raw json.RawMessage) error {
	var o metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &o); err != nil {
		return fmt.Errorf("read a %s: %w", k.singular, err)
	}
	var b strings.Builder
	g := newPage(&b)
	g.line("Name", o.Name)
	g.line("Namespace", o.Namespace)
	g.line("Kind", k.resource())
	g.lines("Labels", pairs(o.Labels))
	if k.Kind == "Secret" { // which has all of its values in it
		delete(o.Annotations, corev1.LastAppliedConfigAnnotation)
	}
	g.lines("Annotations", pairs(o.Annotations))
	g.line("Created", p.since(o.CreationTimestamp.Time))
	g.line("UID", string(o.UID))
	about := map[string]func(context.Context, *client.Client, *page, json.RawMessage) error{
		"Deployment": p.describeDeployment, "Service": p.describeService, "Ingress": p.describeIngress,
		"Pod": p.describePod, "Node": p.describeNode, "Secret": p.describeSecret, "ConfigMap": p.describeConfigMap,
	}[k.Kind]
	if about != nil {
		if err := about(ctx, c, g, raw); err != nil {
			return err
		}
	}
	if k.Kind != "Event" {
		if err := p.happened(ctx, c, g, k, o.Namespace, o.Name); err != nil {
			return err
		}
	}
	g.w.Flush()
	return p.printf("%s", b.String())
}

// since is a time, and how long ago that was.
func (p *program) since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", t.In(p.now().Location()).Format(time.DateTime), age(t, p.now()))
}

func pairs(m map[string]string) []string {
	var all []string
	for k, v := range m {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return all
}

// happened adds what happened to an object lately, and to the replicas of a Deployment.
func (p *program) happened(ctx context.Context, c *client.Client, g *page, k kind, namespace, name string) error {
	if c.At != "" {
		fmt.Fprintf(g.w, "What happened:\tpsctl events %s/%s%s\n", k.singular, name, inNamespace(namespace))
		return nil
	}
	var l corev1.EventList
	if err := c.Get(ctx, the("Event").list(cmp.Or(namespace, "default")), nil, &l); err != nil {
		return err
	}
	all := slices.DeleteFunc(l.Items, func(e corev1.Event) bool {
		o := e.InvolvedObject
		replica := k.Kind == "Deployment" && o.Kind == "Pod" &&
			(deployment{namespace, name}).owns(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}})
		return !replica && (o.Kind != k.Kind || o.Name != name)
	})
	slices.SortStableFunc(all, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	const most = 20
	var rows []string
	for _, e := range all[max(0, len(all)-most):] {
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (%d times)", e.Count)
		}
		rows = append(rows, fmt.Sprintf("%s ago\t%s\t%s\t%s%s", age(eventTime(&e), p.now()), e.InvolvedObject.Name, e.Reason,
			oneLine(e.Message, 200), times))
	}
	g.below("Events", rows)
	if k.Kind != "Event" && len(all) > 0 {
		fmt.Fprintf(g.w, "  (the whole history: psctl events %s/%s%s)\n", k.singular, name, inNamespace(namespace))
	}
	return nil
}

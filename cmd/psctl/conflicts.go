package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) conflicts() *cobra.Command {
	c := tabled(p, &cobra.Command{
		Use:   "conflicts [show|reapply|dismiss EVENT]",
		Short: "List changes that lost against others made at the same time, and end them",
		Long: `conflicts lists changes of objects that lost against another change whose author had not seen them, or against a deletion. What is shown, and
runs, is the change stamped later; the one that lost is kept, whole, until somebody has looked at it.

show tells what differs, and who made either when; reapply makes what lost a new change, dismiss leaves what is shown. Either ends the conflict, on all
hosts, and is an event that says who did it. -o json has the objects: [{"key", "event", "stamp", "at", "ended", "object"}].`,
		Example: `  psctl conflicts
  psctl conflicts show e9ba58c435477cdd-42
  psctl conflicts reapply e9ba58c435477cdd-42
  psctl conflicts dismiss e9ba58c435477cdd-42 --cause 'agreed with Bob'`,
	}, "/swarm/v1/conflicts", func(all []client.Conflict) error {
		if len(all) == 0 {
			p.note("no conflicts")
			return nil
		}
		t := &table{header: []string{"OBJECT", "CHANGED", "EVENT", "LOST AGAINST"}}
		for _, c := range all {
			against := "another change"
			if c.Ended {
				against = "its deletion"
			}
			if c.Open {
				against += ", perhaps knowingly"
			}
			t.add(c.Key, p.clock(c.At), c.Event, against)
		}
		return t.write(p.out, false)
	})
	c.Args = usageArgs(cobra.NoArgs, "what of conflicts? psctl conflicts lists them; then psctl conflicts show, reapply or dismiss EVENT")
	c.AddCommand(p.conflictShow(), p.conflictEnd("reapply", "Make what lost a new change, which ends the conflict"),
		p.conflictEnd("dismiss", "Leave what is shown as it is, which ends the conflict"))
	return c
}

// conflictArgs completes a command that takes conflicts.
func (p *program) conflictArgs(c *cobra.Command, args cobra.PositionalArgs) {
	c.Args = usageArgs(args, c.Name()+" which? psctl conflicts lists them, psctl conflicts "+c.Name()+" EVENT")
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		raw, err := p.ask(c.Context(), "/swarm/v1/conflicts")
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := readAs[[]client.Conflict]("conflicts", raw)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, x := range all {
			ids = append(ids, x.Event)
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

func (p *program) conflictShow() *cobra.Command {
	c := &cobra.Command{Use: "show EVENT", Short: "Show both sides of a conflict: who, when, and what differs", Example: "  psctl conflicts show e9ba58c435477cdd-42"}
	form := output(c, asJSON, asYAML)
	p.conflictArgs(c, cobra.ExactArgs(1))
	c.RunE = func(c *cobra.Command, args []string) error {
		raw, err := p.askLong(c.Context(), "/swarm/v1/conflicts"+client.Path(args[0]))
		if err != nil {
			return err
		}
		if form.value != asTable {
			return p.value(raw, form.value)
		}
		x, err := readAs[client.ConflictShown]("conflict", raw)
		if err != nil {
			return err
		}
		return p.showConflict(&x)
	}
	return c
}

func (p *program) showConflict(x *client.ConflictShown) error {
	var b strings.Builder
	g := newPage(&b)
	g.line("Object", x.Key)
	g.line("Lost", p.author(x.By, x.Event+", "+p.clock(x.At)))
	switch {
	case len(x.Shown) == 0 || string(x.Shown) == "null":
		g.line("Against", "its deletion, "+p.author(x.ShownBy, "of which this host's log does not tell"))
	default:
		g.line("Shown", p.author(x.ShownBy, "of which this host's log does not tell"))
	}
	if x.Open {
		g.line("Open", "what is known of and has not come yet may have replaced it knowingly")
	}
	g.w.Flush()
	if len(x.Changes) > 0 {
		b.WriteString("\nWhat reapply would change in what is shown:\n")
		for _, ch := range x.Changes {
			fmt.Fprintf(&b, "  %s\n", change(ch))
		}
	}
	fmt.Fprintf(&b, "\nTo have what lost:    psctl conflicts reapply %s\nTo leave it as it is: psctl conflicts dismiss %[1]s\n", x.Event)
	return p.printf("%s", b.String())
}

// author is who made a change, on one line.
func (p *program) author(a *client.Author, otherwise string) string {
	if a == nil {
		return otherwise
	}
	return fmt.Sprintf("%s, %s, on %s by %s%s", a.Event, p.clock(a.At), a.Node, a.Actor, led(": ", a.Cause))
}

func (p *program) conflictEnd(verb, short string) *cobra.Command {
	var on spread
	c := &cobra.Command{Use: verb + " EVENT…", Short: short, Long: short + ".\n\n" + spreadHelp, Example: "  psctl conflicts " + verb + " e9ba58c435477cdd-42"}
	form := output(c, asJSON, asYAML)
	on.flags(c)
	p.causeFlag(c)
	p.conflictArgs(c, cobra.MinimumNArgs(1))
	c.RunE = func(c *cobra.Command, ids []string) error {
		all := []json.RawMessage{}
		var absent, failed error
		for _, id := range ids {
			raw, err := p.endConflict(c.Context(), verb, id, &on)
			if client.IsNotFound(err) { // which keeps none of the others
				absent = errors.Join(absent, err)
				continue
			}
			if err != nil {
				failed = err
				break
			}
			if all = append(all, raw); form.value != asTable {
				continue
			}
			x, err := readAs[client.ConflictEnded]("conflict", raw)
			if err != nil {
				return err
			}
			if err := p.printf("%s %s: %s is no conflict any more (event %d)\n", x.Key, x.Action, x.Event, x.Index); err != nil {
				return err
			}
			for _, ch := range x.Changes {
				if err := p.printf("  %s\n", change(ch)); err != nil {
					return err
				}
			}
		}
		if form.value != asTable { // also what was done before one that failed
			raw, err := json.Marshal(all)
			if err != nil {
				return err
			}
			if err := p.value(raw, form.value); err != nil {
				return err
			}
		}
		if failed != nil {
			return errors.Join(absent, failed)
		}
		return errors.Join(absent, on.told(p, ""))
	}
	return c
}

func (p *program) endConflict(ctx context.Context, verb, id string, on *spread) ([]byte, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	query := url.Values{"cause": {p.why("")}}
	raw, err := c.Do(ctx, client.Request{Method: "POST", Path: "/swarm/v1/conflicts" + client.Path(id, verb), Query: query, Spread: &on.Spread})
	if answer := new(client.StatusError); err != nil && !errors.As(err, &answer) {
		return nil, unanswered(ctx, verb+" conflict "+id, "Look first:  psctl conflicts", err)
	}
	return raw, err
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) history() *cobra.Command {
	c := &cobra.Command{
		Use:   "history KIND/NAME | KIND NAME",
		Short: "Show every version that an object had: who made it, when, why, and what it changed",
		Long: `history shows the versions of an object in the log of the asked host, the oldest first, each with the fields that it changed. What that host took over as
state it asks other hosts for; what none of them holds is said: "39 changes of h2 not held here". What came from another host when something newer was
shown already is "lost": psctl conflicts has it.
-o json gives [{"index", "at", "event", "node", "actor", "cause", "action", "changes": [{"field", "old", "new"}], "object"}]. psctl get --at INDEX
shows everything as it was then.`,
		Example: `  psctl history deployment/web
  psctl get deployment/web --at 120 -o yaml | psctl apply -f -`,
	}
	form := output(c, asJSON, asYAML)
	c.ValidArgsFunction = p.completeObjects(false, true)
	c.RunE = func(c *cobra.Command, args []string) error {
		raw, name, err := p.past(c.Context(), "history", args)
		if err != nil {
			return err
		}
		all, err := readAs[[]client.Was]("history", raw)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return notFound("the log of this host tells of no %s", name)
		}
		if form.value != asTable {
			return p.value(raw, form.value)
		}
		for _, w := range all {
			if err := p.version(&w); err != nil {
				return err
			}
			for _, ch := range w.Changes {
				if err := p.printf("        %s\n", change(ch)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return c
}

// version tells of one version.
func (p *program) version(w *client.Was) error {
	index, who := fmt.Sprint(w.Index), w.Actor+led(": ", w.Cause)
	if w.Index == 0 {
		index = "-"
	}
	if w.From != "" {
		who += " (in the log of " + w.From + ")"
	}
	if len(w.NotHeld) > 0 {
		var all []string
		for _, n := range w.NotHeld {
			all = append(all, fmt.Sprintf("%s of %s not held here", plural(int(n.To-n.From+1), "change"), cmp.Or(n.Host, n.Incarnation)))
		}
		who = strings.Join(all, ", ") + led(": ", w.Cause)
	}
	return p.printf("%-6s  %s  %-10s  %s\n", index, p.clock(w.At), w.Action, who)
}

// past asks for something about the one object that is named, as its log has it.
func (p *program) past(ctx context.Context, what string, args []string) (raw []byte, name string, err error) {
	if len(args) == 0 {
		return nil, "", usage("the %s of which object? psctl %s KIND/NAME", what, what)
	}
	if name, ok := allowedName(args); ok {
		raw, err = p.askLong(ctx, "/swarm/v1/"+what+client.Path("dnsallow", name))
		return raw, fmt.Sprintf("entry %q on the list of allowed names", name), err
	}
	ts, err := targets(args)
	if err != nil {
		return nil, "", err
	}
	if len(ts) != 1 || len(ts[0].names) != 1 {
		return nil, "", usage("the %s of which object? psctl %s KIND/NAME", what, what)
	}
	t := ts[0]
	if !t.declared && t.Kind != "Node" {
		return nil, "", usage("a %s is not declared by people: psctl events %s/%s tells what happened to it", t.singular, t.singular, t.names[0])
	}
	path := []string{t.singular, p.ns(), t.names[0]}
	if !t.namespaced {
		path = []string{t.singular, t.names[0]}
	}
	raw, err = p.askLong(ctx, "/swarm/v1/"+what+client.Path(path...))
	return raw, fmt.Sprintf("%s %q", t.singular, t.names[0]), err
}

func (p *program) blame() *cobra.Command {
	c := &cobra.Command{
		Use:   "blame KIND/NAME | KIND NAME",
		Short: "Show of each field of an object which event made it what it is",
		Long: `blame shows each field of an object with the event that made it what it is: its index, when, and who. psctl undo INDEX takes it back.
-o json gives [{"field", "value", "index", "at", "node", "actor", "cause"}].`,
		Example: `  psctl blame deployment/web`,
	}
	form := output(c, asJSON, asYAML)
	c.ValidArgsFunction = p.completeObjects(false, true)
	c.RunE = func(c *cobra.Command, args []string) error {
		raw, name, err := p.past(c.Context(), "blame", args)
		if err != nil {
			return err
		}
		all, err := readAs[[]client.Blame]("blame", raw)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return notFound("there is no %s now: psctl history tells what was", name)
		}
		if form.value != asTable {
			return p.value(raw, form.value)
		}
		t := &table{header: []string{"EVENT", "AT", "WHO", "FIELD", "VALUE"}}
		for _, b := range all {
			t.add(fmt.Sprint(b.Index), p.clock(b.At), oneLine(b.Actor, 40), b.Field, oneLine(side(b.Value), 80))
		}
		return t.write(p.out, false)
	}
	return c
}

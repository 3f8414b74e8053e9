package main

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// atHelp says what a moment is.
const atHelp = "the index of an event like 120, its id like 5f3a9c0e11223344-42 (which ends its stamp in psctl events -o json), a time like 2026-01-21T12:00:00Z, or how long ago, like 2h"

func (p *program) diff() *cobra.Command {
	a := &applier{program: p, dryRun: true, verbose: true}
	c := &cobra.Command{
		Use:   "diff A..B [KIND | KIND/NAME]… | -f FILE",
		Short: "Show what differs between two moments, backups and now, or what a manifest would change",
		Long: `diff shows which declared objects are there at B and not at A, gone, or otherwise, field by field. A and B are each a moment of the asked
host's log (` + atHelp + `), the name of one of its backups, or now, which
need not be said. -n shows one namespace.

-o json gives [{"kind", "namespace", "name", "action": "created", "configured" or "deleted", "changes": [{"field", "old", "new"}]}].

With -f it shows what psctl apply would change, and changes nothing.`,
		Example: `  psctl diff 2h..
  psctl diff 120..140 deployment/web
  psctl diff state-backup-20260121-120000.json..
  psctl diff -f web.yaml`,
	}
	a.files.flags(c)
	a.form = output(c, asJSON, asYAML)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(a.names) > 0 {
			if len(args) > 0 {
				return usage("diff either -f a manifest with what is, or A..B")
			}
			return a.run(c.Context())
		}
		if len(args) == 0 {
			return usage("diff what? psctl diff A..B, such as 2h..now, or psctl diff -f FILE")
		}
		from, to, ok := strings.Cut(args[0], "..")
		if !ok || from == "" && to == "" {
			return usage("%q: want A..B, such as 2h..now", args[0])
		}
		q := url.Values{"from": {from}, "to": {to}}
		if err := p.scope(q, args[1:]); err != nil {
			return err
		}
		cl, err := p.client()
		if err != nil {
			return err
		}
		raw, err := cl.Do(c.Context(), client.Request{Path: "/swarm/v1/diff", Query: q})
		if err != nil {
			return err
		}
		if a.form.value != asTable {
			return p.value(raw, a.form.value)
		}
		all, err := readAs[[]client.Result]("diff", raw)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			p.note("nothing differs")
		}
		return p.results(all)
	}
	return c
}

// scope adds which keys are meant: those of the objects that are named, else those in the namespace, if one is given.
func (p *program) scope(q url.Values, args []string) error {
	if len(args) == 0 {
		if p.namespace != "" {
			q["only"] = under(p.namespace)
		}
		return nil
	}
	ts, err := targets(args)
	if err != nil {
		return err
	}
	for _, t := range ts {
		below := t.singular
		if t.namespaced && (p.namespace != "" || len(t.names) > 0) {
			below += "/" + p.ns()
		}
		for _, name := range t.names {
			q.Add("only", below+"/"+name)
		}
		if len(t.names) == 0 {
			q.Add("only", below)
		}
	}
	return nil
}

// under are the keys of what is declared in a namespace, and its own.
func under(namespace string) (only []string) {
	for _, k := range kinds() {
		if k.declared && k.namespaced {
			only = append(only, k.singular+"/"+namespace)
		}
	}
	return append(only, "namespace/"+namespace)
}

// results shows what becomes, or became, of objects, field by field.
func (p *program) results(all []client.Result) error {
	for _, x := range all {
		label := strings.ToLower(x.Kind) + " " + map[bool]string{true: x.Namespace + "/"}[x.Namespace != ""] + x.Name
		if err := p.printf("%-10s  %s\n", x.Action, label); err != nil {
			return err
		}
		for _, ch := range x.Changes {
			if err := p.printf("            %s\n", change(ch)); err != nil {
				return err
			}
		}
		for _, text := range x.Warnings {
			if err := p.printf("            ! %s\n", text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *program) state() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "state",
		Short: "Print the whole state, as state.json has it, now or at another time",
		Args:  usageArgs(cobra.NoArgs, "state takes no arguments: psctl state --at 2h"),
	}
	form := output(c, asJSON, asYAML)
	c.Flags().StringVar(&at, "at", "", "as the asked host knew it then: "+atHelp)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, err := p.client()
		if err != nil {
			return err
		}
		cl.At = at
		raw, err := cl.Do(c.Context(), client.Request{Path: "/swarm/v1/state"})
		if err != nil {
			return err
		}
		return p.value(raw, form.value)
	}
	return c
}

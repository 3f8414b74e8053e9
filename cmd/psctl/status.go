package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// asked is a command that asks the agent one thing. With -o json or yaml the answer is shown as it came, and then as
// in any case given to show, which shows it as a table if that is wanted.
func (p *program) asked(c *cobra.Command, path string, show func(raw []byte, table bool) error) *cobra.Command {
	form := output(c, asJSON, asYAML)
	c.Args = usageArgs(cobra.NoArgs, c.Name()+" takes no arguments")
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, _ []string) error {
		raw, err := p.ask(c.Context(), path)
		if err != nil {
			return err
		}
		if form.value != asTable {
			if err := p.value(raw, form.value); err != nil {
				return err
			}
		}
		return show(raw, form.value == asTable)
	}
	return c
}

// tabled is asked for an answer that is of one type and only to be shown.
func tabled[T any](p *program, c *cobra.Command, path string, show func(T) error) *cobra.Command {
	return p.asked(c, path, func(raw []byte, table bool) error {
		if !table {
			return nil
		}
		v, err := readAs[T](c.Name(), raw)
		if err != nil {
			return err
		}
		return show(v)
	})
}

func (p *program) ask(ctx context.Context, path string) ([]byte, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	return c.Ask(ctx, path, nil)
}

// askLong is ask for what the agent takes long to find out.
func (p *program) askLong(ctx context.Context, path string) ([]byte, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	return c.Do(ctx, client.Request{Path: path})
}

// readAs reads an answer of the agent's own.
func readAs[T any](what string, raw []byte) (v T, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("%s, as the agent gives it: %w", what, err)
	}
	return v, nil
}

func (p *program) recovery() *cobra.Command {
	return tabled(p, &cobra.Command{
		Use:   "recovery",
		Short: "Tell what the agent found when it last started, and what it did about it",
		Long: `recovery shows the report of the agent's last start: how many containers it adopted as they ran, started again, created,
removed, and could not yet bring back; -o json as {"started", "done", "replayed", "adopted", "started_again", "created",
"removed", "orphans", "failed", "bounced", "seconds": {PHASE: SECONDS}}.`,
	}, "/swarm/v1/recovery", p.showRecovery)
}

func (p *program) showRecovery(r client.Recovery) error {
	var b strings.Builder
	g := newPage(&b)
	g.line("Began", p.since(r.Started))
	if r.Done.IsZero() {
		g.line("Done", "not yet")
	} else {
		g.line("Done", fmt.Sprintf("after %.2f s", r.Done.Sub(r.Started).Seconds()))
	}
	for _, c := range []struct {
		name string
		n    int
		what string
	}{
		{"Adopted", r.Adopted, "ran as recorded, and were left alone"},
		{"Started again", r.Restart, "had exited, and were started"},
		{"Made anew", r.Created, "were missing or broken"},
		{"Removed", r.Removed, "were known to be over"},
		{"Orphans", r.Orphans, "nothing explains; left running (psctl orphans)"},
		{"Failed", r.Failed, "could not be brought back yet; still being tried (psctl status)"},
		{"Bounced", r.Bounced, "ran as recorded and were stopped all the same"},
	} {
		text := fmt.Sprintf("%d\t%s", c.n, c.what)
		if c.n == 0 {
			text = "0"
		}
		g.line(c.name, text)
	}
	g.line("Replayed", plural(int(r.Replayed), "event"))
	var phases []string
	for _, name := range phaseOrder(r.Seconds) {
		phases = append(phases, fmt.Sprintf("%s %.3f s", name, r.Seconds[name]))
	}
	g.line("Phases", strings.Join(phases, ", "))
	g.w.Flush()
	return p.printf("%s", b.String())
}

// phaseOrder gives the phases in the order in which they come; those that this version does not know come last.
func phaseOrder(seconds map[string]float64) []string {
	known := []string{"replay", "settle", "adopt", "act"}
	order := slices.DeleteFunc(slices.Clone(known), func(s string) bool { _, ok := seconds[s]; return !ok })
	for _, name := range slices.Sorted(maps.Keys(seconds)) {
		if !slices.Contains(known, name) {
			order = append(order, name)
		}
	}
	return order
}

func (p *program) orphans() *cobra.Command {
	c := tabled(p, &cobra.Command{
		Use:   "orphans [adopt|remove ID…]",
		Short: "List, adopt or remove containers that nothing explains",
		Long: `orphans lists containers of the agent's that nothing in its log explains: of another log folder, of a time that the log
does not know, or copied or renamed by somebody. They are left running until somebody says what they are.

adopt makes a container again what it once was, and records that; remove stops and deletes it. The beginning of an ID is
enough where only one orphan's ID begins so.`,
		Example: `  psctl orphans
  psctl orphans adopt 3f2a91
  psctl orphans -o json | jq -r '.[].id' | xargs psctl orphans remove`,
	}, "/swarm/v1/orphans", func(all []client.Orphan) error {
		if len(all) == 0 {
			p.note("no orphans")
			return nil
		}
		t := &table{header: []string{"ID", "NAME", "POD", "STATE", "IMAGE", "AGE", "WHY"}}
		for _, o := range all {
			t.add(o.ID[:min(12, len(o.ID))], o.Name, o.Key, o.State, shortImage(o.Image), age(o.Created, p.now()), oneLine(o.Why, 100))
		}
		return t.write(p.out, false)
	})
	c.Args = usageArgs(cobra.NoArgs, "what of orphans? psctl orphans lists them; then psctl orphans adopt ID…, or psctl orphans remove ID…")
	c.AddCommand(p.orphanCommand("adopt", "adopted", "Make orphans again what they once were"),
		p.orphanCommand("remove", "removed", "Stop and delete orphans"))
	return c
}

// shortImage cuts an image that is given by its ID, as Podman does.
func shortImage(image string) string {
	if _, err := hex.DecodeString(image); err == nil && len(image) == 64 {
		return image[:12]
	}
	return image
}

func (p *program) orphanCommand(verb, done, short string) *cobra.Command {
	c := &cobra.Command{
		Use:     verb + " ID…",
		Short:   short,
		Example: "  psctl orphans " + verb + " 3f2a91",
		Args:    usageArgs(cobra.MinimumNArgs(1), verb+" which? psctl orphans lists them, psctl orphans "+verb+" ID…"),
		RunE: func(c *cobra.Command, ids []string) error {
			return p.orphanDo(c.Context(), verb, done, ids)
		},
	}
	p.causeFlag(c)
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		raw, err := p.ask(c.Context(), "/swarm/v1/orphans")
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := readAs[[]client.Orphan]("orphans", raw)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, o := range all {
			ids = append(ids, o.ID[:min(12, len(o.ID))])
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// orphanDo does it to each; all ids are looked up before anything is done.
func (p *program) orphanDo(ctx context.Context, verb, done string, ids []string) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	var all []client.Orphan
	if err := c.Get(ctx, "/swarm/v1/orphans", nil, &all); err != nil {
		return err
	}
	var chosen []client.Orphan
	var wrong error
	for _, id := range ids {
		var fit []client.Orphan
		for _, o := range all {
			if id != "" && strings.HasPrefix(o.ID, id) || o.Name == id {
				fit = append(fit, o)
			}
		}
		switch len(fit) {
		case 0:
			wrong = errors.Join(wrong, notFound("no orphan %q: psctl orphans lists them", id))
		case 1:
			chosen = append(chosen, fit[0])
		default:
			wrong = errors.Join(wrong, usage("%q is the beginning of %d orphans' IDs: give more of it", id, len(fit)))
		}
	}
	if wrong != nil {
		return fmt.Errorf("%w\nnothing was %s", wrong, done)
	}
	for _, o := range chosen {
		if _, err := c.Do(ctx, client.Request{Method: "POST", Path: "/swarm/v1/orphans" + client.Path(o.ID, verb), Query: url.Values{"cause": {p.why("")}}}); err != nil {
			if answer := new(client.StatusError); errors.As(err, &answer) {
				return err // it says of what
			}
			return unanswered(ctx, verb+" orphan "+o.Name, againIsSafe, err)
		}
		if err := p.printf("%s %s %s\n", o.ID[:min(12, len(o.ID))], o.Name, done); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) audit() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit verify|head",
		Short: "Find out whether somebody has touched the log of a host",
		Long: `Every commit in a log names the hash of the one before by the same host, so nothing of it can be changed without all that follows being
another. verify reads the whole log of the asked host and recomputes that. Who may write to the disk could write all of it anew; so it is also held to
what is known elsewhere: by other hosts (--peer), by backups (--backup), and by what was written down (--head).

head prints what to write down: one line for each chain, which stands for everything up to there. Keep it where whoever can touch the hosts cannot.
A log that was written anew on all hosts is found by that alone.`,
		Example: `  psctl audit verify --peer all
  psctl audit head > heads-$(date +%F).txt
  psctl audit verify --head heads-2026-01-21.txt`,
		Args: usageArgs(cobra.NoArgs, "audit what? psctl audit verify, or psctl audit head"),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.auditVerify(), p.auditHead())
	return c
}

func (p *program) auditHead() *cobra.Command {
	return tabled(p, &cobra.Command{
		Use:   "head",
		Short: "Print where the chains of the log end, to be written down elsewhere",
		Long: `head prints one line for each host and incarnation that the log of the asked host has: HOST EVENT HASH. Whoever has it can tell later whether
anything up to that event was changed, left out or put in: psctl audit verify --head FILE. Lines that begin with # are comments.`,
		Example: `  psctl audit head | mail -s 'swarm heads' vault@example.com`,
	}, "/swarm/v1/audit/head", func(h client.AuditHeads) error {
		if err := p.printf("# log of host %s, %s\n", h.Host, h.At.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
		for _, line := range h.Lines {
			if err := p.printf("%s\n", line); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *program) auditVerify() *cobra.Command {
	var r client.AuditRequest
	var files []string
	var keys keyFlags
	c := &cobra.Command{
		Use:   "verify [--peer HOST]… [--backup NAME|./FILE|./FOLDER]… [--head FILE]…",
		Short: "Hold the log of the asked host to itself, and to what is known of it elsewhere",
		Long: `verify reads the log of the asked host from its disk, recomputes every hash and follows every chain. With --peer it is held to what another host
holds, and remembers to have heard: then a log whose end was cut off, or that was written anew, is found as well; with --backup to a backup of that
host, or to files from here, with a slash in their names (./FILE, /mnt/usb/backups); with --identity or --passphrase-file sealed ones are opened here. With --head it
is held to what psctl audit head printed once. Of what is not as it was, host, incarnation and the first such event are named.

Exit code 1 says that something is wrong, or that not all could be read that it was to be held to. A log where no agent runs:
podman-swarm-agent log verify.`,
		Example: `  psctl audit verify
  psctl audit verify --peer all --backup all
  psctl audit verify --backup /mnt/usb/backups --identity key.txt
  psctl audit verify --head heads.txt
  ssh vault cat heads.txt | psctl audit verify --head -`,
		Args: usageArgs(cobra.NoArgs, "audit verify takes no arguments"),
	}
	form := output(c, asJSON, asYAML)
	keys.flags(c)
	c.Flags().StringArrayVar(&r.Peers, "peer", nil, "`host` to compare with; all: those that are alive")
	c.Flags().StringArrayVar(&r.Backups, "backup", nil, "`name` of a backup of the asked host, all of them (all), or a file or folder from here, with a slash in it")
	c.Flags().StringArrayVar(&files, "head", nil, "`file` that psctl audit head was written to; -: standard input")
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		for _, name := range files {
			lines, err := p.headLines(c.Context(), name)
			if err != nil {
				return err
			}
			r.Heads = append(r.Heads, lines...)
		}
		if err := p.bringBackups(c.Context(), &r, &keys); err != nil {
			return err
		}
		a, err := p.askAudit(c.Context(), &r)
		if err != nil {
			return err
		}
		if form.value != asTable {
			err = p.value(a.Raw, form.value)
		} else {
			err = p.showAudit(&a)
		}
		if err == nil && !a.Good {
			err = errTold
		}
		return err
	}
	return c
}

// headLines reads heads that were written down.
func (p *program) headLines(ctx context.Context, name string) (lines []string, err error) {
	text, err := p.here(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("--head %s: %w", name, err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	if lines == nil {
		return nil, usage("--head %s: there is no head in it; psctl audit head prints them", name)
	}
	return lines, nil
}

func (p *program) askAudit(ctx context.Context, r *client.AuditRequest) (a client.Audit, err error) {
	c, err := p.client()
	if err != nil {
		return a, err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	raw, err := c.Do(ctx, client.Request{Method: "POST", Path: "/swarm/v1/audit/verify", Body: body})
	if err != nil {
		return a, err
	}
	a, err = readAs[client.Audit]("audit", raw)
	a.Raw = raw
	return a, err
}

func (p *program) showAudit(a *client.Audit) error {
	var b strings.Builder
	for i := range a.Chains {
		chainLines(&b, &a.Chains[i])
	}
	if a.Damage != "" {
		fmt.Fprintf(&b, "BROKEN  the log of host %s: %s\n", a.Host, a.Damage)
	}
	for _, f := range a.Findings {
		what := fmt.Sprintf("held other events than host %s from event %d on", f.By, f.First)
		if f.Had > f.Has {
			what = fmt.Sprintf("had lost events %d to %d", f.First, f.Had)
		}
		fmt.Fprintf(&b, "noticed by %s, %s: the log of host %s, incarnation %s, %s\n", f.By, p.clock(f.At), f.Host, f.Incarnation, what)
	}
	for _, u := range a.Unread {
		fmt.Fprintf(&b, "not held to %s\n", u)
	}
	if a.Good {
		fmt.Fprintf(&b, "The log of host %s is as it is known by %s.\n", a.Host, andWord(a.HeldTo))
	}
	return p.printf("%s", b.String())
}

// chainLines tells of one chain: a line, and one for each thing that is wrong.
func chainLines(b *strings.Builder, c *client.AuditChain) {
	host := c.Host
	if host == "" {
		host = "?"
	}
	word := "ok    "
	if c.Bad != "" || len(c.Differs) > 0 {
		word = "BROKEN"
	}
	fmt.Fprintf(b, "%s  %s  %s  %s up to number %d", word, host, c.Incarnation, plural(int(c.Events), "event"), c.Last)
	if c.Trimmed > 0 {
		fmt.Fprintf(b, "; up to %d trimmed off, and not to be read here", c.Trimmed)
	}
	var lacks uint64
	for _, r := range c.Lacks {
		lacks += r.To - r.From + 1
	}
	if lacks > 0 {
		fmt.Fprintf(b, "; %s of %s not held here", plural(int(lacks), "change"), host)
	}
	if c.Unheld > 0 {
		fmt.Fprintf(b, "; %s not compared, since what it is of is not to be read here", plural(c.Unheld, "place"))
	}
	b.WriteString("\n")
	if c.Bad != "" {
		fmt.Fprintf(b, "        %s\n", c.Bad)
	}
	for _, d := range c.Differs {
		fmt.Fprintf(b, "        %s\n", d.Text)
	}
}

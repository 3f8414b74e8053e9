package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

const backupsPath = "/swarm/v1/backups"

func (p *program) backup() *cobra.Command {
	c := &cobra.Command{
		Use:     "backup create|list|verify|prune",
		Aliases: []string{"backups"},
		Short:   "Make, list, verify and prune backups of the asked host",
		Long: `A backup is one file with the whole state, readable by itself (jq) and checked by a sum in its end. The agent makes one each
--backup-interval and keeps them by its --backup-keep rules; they are in its --backup-dir. Where its --backup-recipient or
--backup-passphrase-file has them sealed, age -d opens them.`,
		RunE: func(*cobra.Command, []string) error {
			return usage("what of backups? psctl backup create, list, verify [FILE…], prune")
		},
	}
	c.AddCommand(p.backupCreate(), p.backupList(), p.backupVerify(), p.backupPrune())
	return c
}

func (p *program) backupCreate() *cobra.Command {
	var pin bool
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a backup now",
		Long: `create makes a backup and prints its name, once it is whole and on the agent's disk. It can be made also while the agent is
read-only or recovers; else an event tells who asked for it (psctl events --key backup). With --pin no rule removes it; it can be removed by hand.
Then those go that no rule of --backup-keep-… keeps, as after each backup.`,
		Args: usageArgs(cobra.NoArgs, "create takes no arguments: the name is made of the time"),
	}
	p.causeFlag(c)
	c.Flags().BoolVar(&pin, "pin", false, "no rule is to remove it")
	form := output(c, asJSON, asYAML)
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := p.client()
		if err != nil {
			return err
		}
		query := url.Values{"cause": {p.why("psctl backup create")}}
		if pin {
			query.Set("pin", "true")
		}
		raw, err := api.Do(c.Context(), client.Request{Method: http.MethodPost, Path: backupsPath, Query: query})
		if err != nil {
			return unanswered(c.Context(), "make a backup", "Look first:  psctl backup list", err)
		}
		if form.value != asTable {
			return p.value(raw, form.value)
		}
		b, err := readAs[client.Backup]("backup", raw)
		if err != nil {
			return err
		}
		return p.printf("%s\n", b.Name)
	}
	return c
}

func (p *program) backupList() *cobra.Command {
	return tabled(p, &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the backups, and by which rule each stays",
		Long: `list lists the backups of the asked host, the oldest first; -o json as [{"name", "made", "bytes", "pinned", "why": [RULE…]}]. One
without a rule goes when the next is made.`,
	}, backupsPath, p.showBackups)
}

func (p *program) showBackups(all []client.Backup) error {
	if len(all) == 0 {
		p.note("no backups on this host")
		return nil
	}
	t := &table{header: []string{"NAME", "AGE", "BYTES", "STAYS AS"}}
	for _, b := range all {
		why := strings.Join(b.Why, ", ")
		if why == "" {
			why = "goes with the next"
		}
		t.add(b.Name, age(b.Made, p.now()), fmt.Sprint(b.Bytes), why)
	}
	return t.write(p.out, false)
}

func (p *program) backupVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify [FILE… | all]",
		Short: "Find out whether backups are whole: checksum, form, state and digest",
		Long: `verify has the agent read backups of its folder from end to end: the checksum must fit, the state in them must be one that can
be restored, and have the digest that is written beside it. Without a name it is the newest. Exit code 1 says that one is damaged; the
others are told of all the same. A file of version 1, which an agent that had no log wrote, is told of as that. With all, the increments are
read as well, folded from each backup that the agent can open, and their digests compared; that one is missing after a backup, or of what was trimmed off
the log, is said. With -o json it is [{"name", "made", "bytes", "about": {…}} or, of a damaged one, {…, "damage"}, of one of version 1
{…, "original": {"objects", "refused", "recorded"}}], and of the increments of a log {"name", "first", "last", "pieces", "bytes", "unread", "damage": […]}.

Of a sealed backup that the agent cannot open it finds out whether its bytes are those that were written ("unopened": true). With --identity or
--passphrase-file it is opened here, and read from end to end all the same. A FILE with a slash in it, as in ./FILE, is one from here.`,
		Example: `  psctl backup verify all
  psctl backup verify ./state-backup-20260121-120000.json.age --identity key.txt`,
	}
	var keys keyFlags
	keys.flags(c)
	form := output(c, asJSON, asYAML)
	c.ValidArgsFunction = p.completeBackups
	c.RunE = func(c *cobra.Command, names []string) error {
		all := len(names) == 1 && names[0] == "all"
		if !all && slices.Contains(names, "all") {
			return usage("all, or some: psctl backup verify all")
		}
		if all || len(names) == 0 {
			there, err := p.backupNames(c.Context())
			if err != nil {
				return err
			}
			if names = there; !all {
				names = there[len(there)-1:]
			}
		}
		answers, wrong := p.verifyEach(c.Context(), names, &keys, form)
		if all && c.Context().Err() == nil {
			more, bad, err := p.verifyIncrements(c.Context(), form)
			if err != nil {
				return errors.Join(wrong, err)
			}
			answers = append(answers, more...)
			if bad > 0 && wrong == nil {
				wrong = errors.New("the increments are not whole: not every moment between the backups can be restored; psctl backup create makes a backup of now")
			}
		}
		if form.value != asTable {
			raw, err := json.Marshal(answers)
			if err == nil {
				err = p.value(raw, form.value)
			}
			return errors.Join(wrong, err)
		}
		return wrong
	}
	return c
}

// verifyEach finds out of each of some backups whether it is whole, and says so. The error tells of those that are not, that could not be opened though keys
// were given, or that could not be looked at; the others are told of all the same.
func (p *program) verifyEach(ctx context.Context, names []string, keys *keyFlags, form *format) (answers []json.RawMessage, err error) {
	answers = []json.RawMessage{}
	damaged, unopened := 0, 0
	var missing []error
	for _, name := range names {
		b, raw, err := p.verify(ctx, name, keys)
		if err != nil {
			missing = append(missing, err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		answers = append(answers, raw)
		switch {
		case b.Damage != "":
			damaged++
			p.note("%s: %s", b.Name, strings.TrimPrefix(b.Damage, b.Name+": "))
		case b.Unopened && keys.given():
			unopened++
			p.note("%s: it is sealed, and there is no key here that opens it%s", name, map[bool]string{true: "; its sealed bytes are whole"}[!isFile(name)])
		case form.value == asTable:
			if err := p.printf("%s\n", p.whole(&b)); err != nil {
				return answers, err
			}
		}
	}
	if damaged > 0 {
		missing = append(missing, fmt.Errorf("%d of %s cannot be restored from; psctl backup create makes a new one", damaged, plural(len(names), "backup")))
	}
	if unopened > 0 {
		missing = append(missing, fmt.Errorf("%d of %s not opened: none of the given keys is one that it is sealed for", unopened, plural(len(names), "backup")))
	}
	return answers, errors.Join(missing...)
}

// backupNames are those of the backups of the asked host, the oldest first, of which there must be one.
func (p *program) backupNames(ctx context.Context) (names []string, err error) {
	raw, err := p.ask(ctx, backupsPath)
	if err != nil {
		return nil, err
	}
	there, err := readAs[[]client.Backup]("backups", raw)
	if err != nil {
		return nil, err
	}
	if len(there) == 0 {
		return nil, notFound("there is no backup on this host: psctl backup create makes one")
	}
	for _, b := range there {
		names = append(names, b.Name)
	}
	return names, nil
}

// verify finds out whether a backup is whole: by the agent alone, or opened here.
func (p *program) verify(ctx context.Context, name string, keys *keyFlags) (b client.Backup, raw json.RawMessage, err error) {
	if isFile(name) || keys.given() && strings.HasSuffix(name, ".age") {
		if b, err = p.verifyOpened(ctx, name, keys); err == nil {
			raw, err = json.Marshal(b)
		}
		return b, raw, err
	}
	if raw, err = p.askLong(ctx, backupsPath+client.Path(name, "verify")); err == nil {
		b, err = readAs[client.Backup]("backup", raw)
	}
	return b, raw, err
}

// verifyIncrements finds out whether the increments are whole, and says of how many logs they are not.
func (p *program) verifyIncrements(ctx context.Context, form *format) (answers []json.RawMessage, damaged int, err error) {
	raw, err := p.askLong(ctx, "/swarm/v1/increments/verify")
	if err != nil {
		return nil, 0, err
	}
	if answers, err = readAs[[]json.RawMessage]("increments", raw); err != nil {
		return nil, 0, err
	}
	logs, err := readAs[[]client.Increments]("increments", raw)
	if err != nil {
		return nil, 0, err
	}
	for _, l := range logs {
		if len(l.Damage) > 0 {
			damaged++
		}
		for _, damage := range l.Damage {
			p.note("%s", damage)
		}
		if len(l.Damage) > 0 || form.value != asTable {
			continue
		}
		is := " is whole"
		if l.Unopened > 0 {
			is = fmt.Sprintf(": the sealed bytes are whole, and %d were not opened: there is no key on the asked host (podman-swarm-agent backup verify FOLDER --identity FILE opens them)", l.Unopened)
		}
		if err := p.printf("%s%s: events %d to %d, in %s\n", l.Name, is, l.First, l.Last, plural(l.Pieces, "increment")); err != nil {
			return nil, 0, err
		}
	}
	return answers, damaged, nil
}

// whole says what was found out of a backup that is whole.
func (p *program) whole(b *client.Backup) string {
	if b.Original != nil {
		return b.Name + original(b)
	}
	what := fmt.Sprintf("the state of %s at event %d, %s", b.About.Node, b.About.Index, p.clock(b.About.Made))
	if b.Unopened {
		return fmt.Sprintf("%s: its sealed bytes are whole, %s; it was not opened: there is no key on the asked host (--identity opens it here)", b.Name, what)
	}
	return fmt.Sprintf("%s is whole: %s", b.Name, what)
}

// original says what is known of a file of version 1: its name stands before.
func original(b *client.Backup) string {
	o := b.Original
	if b.Unopened {
		return ": its sealed bytes are whole; it is of version 1, and was not opened: there is no key on the asked host (--identity opens it here)"
	}
	what := fmt.Sprintf(" is of version 1, kept as it was: %s of it can be restored", plural(o.Objects, "object"))
	if o.Refused > 0 {
		what += fmt.Sprintf(", %s cannot be declared as is", plural(o.Refused, "object"))
	}
	if o.Recorded {
		return what + "; its bytes are those that the log has the checksum of"
	}
	return what + "; it has no checksum, so what else may have changed in it cannot be told"
}

func (p *program) backupPrune() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove the backups that no rule keeps",
		Long: `prune removes the backups that none of the agent's --backup-keep rules keeps, as the agent does by itself after each backup. What is
pinned stays, and so do the newest that is whole and what an unfinished restore is from; where none is whole, nothing is removed. --dry-run shows what it would do.
An event tells who asked, and which were removed, unless the agent is read-only or recovers, when they go all the same.`,
		Args: usageArgs(cobra.NoArgs, "prune takes no arguments: the agent's --backup-keep rules say what stays"),
	}
	p.causeFlag(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would be removed, and remove nothing")
	form := output(c, asJSON, asYAML)
	c.RunE = func(c *cobra.Command, _ []string) error {
		api, err := p.client()
		if err != nil {
			return err
		}
		raw, err := api.Do(c.Context(), client.Request{Method: http.MethodPost, Path: backupsPath + "/prune", Query: url.Values{"dry_run": {fmt.Sprint(dry)}, "cause": {p.why("psctl backup prune")}}})
		if err != nil {
			return unanswered(c.Context(), "prune backups", againIsSafe, err)
		}
		if form.value != asTable {
			return p.value(raw, form.value)
		}
		plan, err := readAs[[]client.Backup]("backups", raw)
		if err != nil {
			return err
		}
		t := &table{header: []string{"NAME", "WHAT", "WHY"}}
		for _, b := range plan {
			switch {
			case len(b.Why) > 0:
				t.add(b.Name, "stays", strings.Join(b.Why, ", "))
			case dry:
				t.add(b.Name, "would be removed", "")
			default:
				t.add(b.Name, "removed", "")
			}
		}
		if len(plan) == 0 {
			p.note("no backups on this host")
			return nil
		}
		return t.write(p.out, false)
	}
	return c
}

func (p *program) completeBackups(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	raw, err := p.ask(c.Context(), backupsPath)
	all, err2 := readAs[[]client.Backup]("backups", raw)
	var names []string
	if err == nil && err2 == nil {
		for _, b := range all {
			names = append(names, b.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

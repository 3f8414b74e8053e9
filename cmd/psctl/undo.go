package main

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
	"github.com/podman-swarm/podman-swarm/events"
)

func (p *program) undo() *cobra.Command {
	r := &restorer{program: p}
	var commit bool
	c := &cobra.Command{
		Use:   "undo EVENT… | RESTORE",
		Short: "Take changes back, by the index or id of their event, or a restore",
		Long: `undo EVENT has what an event declared be again what it was before it on the asked host; psctl events and psctl history show the indexes, which are
those of the asked host, and with -o json the ids, which are the same on all hosts. What has been changed since elsewhere in the object stays; where the very same field was, nothing is taken back, and it is said what to
take back first. Of several events all are taken back in one commit, or none; --commit takes back all events of their commits,
such as the objects of one manifest, or of a namespace that was deleted.

undo RESTORE has what a restore changed be again what it was before. What somebody has changed, or deleted, since then stays as it is, and is listed as
kept where that is not what was before. One that is unfinished is ended by it, also where there is nothing to take back. Any host can be asked: the
one that did the restore has a backup of what was before, and of the others the log tells what that host had seen then; one whose log does not, since it joined
later, names the host to ask. psctl restores lists the restores; psctl events shows them as restore/ID, which is taken too. Where
the backup is sealed and the host has no key, its log tells what was before; where that is trimmed too, --identity or --passphrase-file, with the host that
did the restore, opens the backup here: the agent is sent what is in it, and no key.

` + spreadHelp,
		Example: `  psctl undo 120 --dry-run
  psctl undo 120 --commit
  psctl undo e9ba58c435477cdd-42
  psctl undo 20260121-120000-host1`,
		Args: usageArgs(cobra.MinimumNArgs(1), "take what back? psctl events shows the events, psctl restores the restores"),
	}
	c.Flags().BoolVar(&commit, "commit", false, "all events of their commits")
	r.keys.flags(c)
	r.flags(c)
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		raw, err := p.ask(c.Context(), restoresPath)
		all, err2 := readAs[[]client.Restored]("restores", raw)
		var ids []string
		if err == nil && err2 == nil {
			for _, x := range all {
				ids = append(ids, x.ID)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.ContainsFunc(args, func(a string) bool { return !isEvent(a) }) {
			if r.keys.given() {
				return usage("--identity and --passphrase-file open the backup of what was before a restore; an event is taken back by the log")
			}
			return r.undoEvents(c.Context(), args, commit)
		}
		if len(args) > 1 || commit {
			return usage("%s: want indexes or ids of events, or one restore", strings.Join(args, " "))
		}
		id := strings.TrimPrefix(args[0], "restore/") // as psctl events shows it
		if r.keys.given() {
			if err := r.bringBefore(c.Context(), id); err != nil {
				return err
			}
		}
		return r.run(c.Context(), "undo "+id, restoresPath+client.Path(id, "undo"), url.Values{})
	}
	return c
}

// isEvent reports whether it is the index of an event, or what -o json has as its id, its stamp, or the uid of what it made: none of them is a restore's.
func isEvent(arg string) bool {
	var stamp events.Stamp
	_, ierr := strconv.ParseUint(arg, 10, 63)
	_, err := events.ParseID(arg)
	return arg != "" && (ierr == nil || err == nil || stamp.UnmarshalText([]byte(arg)) == nil)
}

// undoEvents takes events back.
func (r *restorer) undoEvents(ctx context.Context, which []string, commit bool) error {
	what := "undo " + strings.Join(which, " ") + map[bool]string{true: " --commit"}[commit]
	query := url.Values{"event": which, "commit": {strconv.FormatBool(commit)}}
	raw, err := r.asked(ctx, what, "/swarm/v1/undo", query)
	if raw == nil || err != nil {
		return err
	}
	done, err := readAs[client.Restored]("undo", raw)
	if err != nil {
		return err
	}
	if done.Commit == "" {
		err = r.printf("nothing to take back: it is so already\n")
	} else {
		again := "psctl undo " + strconv.FormatUint(done.First, 10) + map[bool]string{true: " --commit"}[done.Last > done.First]
		err = r.printf("taken back: %s. %s does it again\n", plural(len(done.Results), "object"), again)
	}
	if err != nil {
		return err
	}
	return r.on.told(r.program, sameCommand)
}

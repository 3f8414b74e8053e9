package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

const restoresPath = "/swarm/v1/restores"

// restorer is one restore or undo.
type restorer struct {
	*program
	form    *format
	dry     bool
	yes     bool
	verbose bool
	only    []string
}

func (r *restorer) flags(c *cobra.Command) {
	c.Flags().BoolVar(&r.dry, "dry-run", false, "show what would change, and change nothing")
	c.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVarP(&r.verbose, "verbose", "v", false, "show also what stays the same")
	r.form = output(c, asJSON, asYAML)
}

func (p *program) restore() *cobra.Command {
	r := &restorer{program: p}
	var at string
	c := &cobra.Command{
		Use:   "restore NAME | FILE | - | --at MOMENT",
		Short: "Have what a backup says, or what was at a moment, declared again on every host",
		Long: `restore takes a backup, of the asked host by its name (psctl backup list) or a file here (with a slash in it, as in ./FILE; - is standard input),
and declares again what it has: every object, also one that
is the same, so that it wins over what hosts that are away did meanwhile; what the backup lacks is deleted. What runs unchanged is
not touched. Where replicas are, what hosts say, tokens, and what was said of hosts (cordon, labels) stay as they are now.
With --at no backup is taken, but what the log of the asked host says of that moment.

It shows what would change, and asks. Before it begins it makes a backup and pins it: psctl undo takes the restore back. With --only, or
--namespace, only a part is restored: TYPE, TYPE/NAMESPACE, or TYPE/NAMESPACE/NAME, as in deployment/default/web.`,
		Example: `  psctl restore state-backup-20260121-120000.json --dry-run
  psctl restore state-backup-20260121-120000.json --only deployment/default/web
  psctl restore --at 2h`,
		Args:              usageArgs(cobra.MaximumNArgs(1), "restore from one backup: psctl backup list lists them"),
		ValidArgsFunction: p.completeBackups,
	}
	c.Flags().StringVar(&at, "at", "", "what was then, as the asked host knew it: the index of an event like 120, a time like 2026-01-21T12:00:00Z, or how long ago, like 2h")
	c.Flags().StringSliceVar(&r.only, "only", nil, "only these, and what is below them; repeatable")
	r.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		only := r.only
		if p.namespace != "" {
			if len(only) > 0 {
				return usage("--only and --namespace both: --only TYPE/NAMESPACE says which namespace")
			}
			for _, typ := range []string{"deployment", "service", "ingress"} {
				only = append(only, typ+"/"+p.namespace)
			}
			only = append(only, "namespace/"+p.namespace)
		}
		switch {
		case (at == "") == (len(args) == 0):
			return usage("restore from which backup, or --at which moment? psctl backup list lists the backups, psctl events the moments")
		case at != "":
			return r.run(c.Context(), "restore --at "+at, restoresPath, url.Values{"only": only, "at": {at}})
		}
		name, err := r.bring(c.Context(), args[0])
		if err != nil {
			return err
		}
		return r.run(c.Context(), "restore "+name, backupsPath+client.Path(name, "restore"), url.Values{"only": only})
	}
	return c
}

// bring gives the name of a backup on the asked host: a file from here is sent there first.
func (r *restorer) bring(ctx context.Context, file string) (string, error) {
	if file != "-" && !strings.Contains(file, "/") {
		return file, nil
	}
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(r.in)
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return "", usage("restore from %s: %v", file, err)
	}
	c, err := r.client()
	if err != nil {
		return "", err
	}
	var b client.Backup
	if err := c.Into(ctx, client.Request{Method: http.MethodPost, Path: backupsPath + "/upload", Body: data}, &b); err != nil {
		return "", fmt.Errorf("restore from %s: %w", file, err)
	}
	r.note("%s is %s on the asked host", file, b.Name)
	return b.Name, nil
}

func (p *program) undo() *cobra.Command {
	r := &restorer{program: p}
	c := &cobra.Command{
		Use:   "undo RESTORE",
		Short: "Take a restore back",
		Long: `undo has what a restore changed be again what it was before. What somebody has changed since then stays as it is. The host that
did the restore is to be asked: it has the backup. psctl restores lists the restores.`,
		Args: usageArgs(cobra.ExactArgs(1), "take which restore back? psctl restores lists them"),
	}
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
		return r.run(c.Context(), "undo "+args[0], restoresPath+client.Path(args[0], "undo"), url.Values{})
	}
	return c
}

func (p *program) restores() *cobra.Command {
	return tabled(p, &cobra.Command{
		Use:   "restores",
		Short: "List what was restored, and what each restore had not seen",
		Long: `restores lists the restores, the oldest first; -o json as [{"id", "host", "from", "asked", "done", "count", "before", "undoes", "unseen": [{"key"}]}].
What was not seen was declared before the restore on a host that could not be heard then: it came later and stands.`,
	}, restoresPath, func(all []client.Restored) error {
		if len(all) == 0 {
			p.note("nothing was restored")
			return nil
		}
		t := &table{header: []string{"ID", "WHAT", "DONE", "OBJECTS", "NOT SEEN"}}
		for _, x := range all {
			what, done, unseen := x.From, "unfinished", ""
			if x.Undoes != "" {
				what = "undo of " + x.Undoes
			}
			if !x.Done.IsZero() {
				done = p.clock(x.Done)
			}
			for i, u := range x.Unseen {
				unseen += map[bool]string{true: ", "}[i > 0] + u.Key
			}
			t.add(x.ID, what, done, fmt.Sprint(x.Count), oneLine(unseen, 120))
		}
		return t.write(p.out, false)
	})
}

// run shows what would change, asks, and does it.
func (r *restorer) run(ctx context.Context, what, path string, query url.Values) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	query.Set("dry_run", "true")
	raw, err := c.Do(ctx, client.Request{Method: http.MethodPost, Path: path, Query: query})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	plan, err := readAs[client.Restored]("restore", raw)
	if err != nil {
		return err
	}
	if r.dry && r.form.value != asTable {
		return r.value(raw, r.form.value)
	}
	if r.form.value == asTable {
		if err := r.show(&plan); err != nil {
			return err
		}
	}
	if r.dry {
		return nil
	}
	if !r.yes && !r.sure() {
		return usage("nothing was changed: say yes, or give --yes")
	}
	query.Del("dry_run")
	query.Set("cause", "psctl "+what)
	raw, err = c.Do(ctx, client.Request{Method: http.MethodPost, Path: path, Query: query})
	if err != nil {
		return unanswered(ctx, what, err)
	}
	if r.form.value != asTable {
		return r.value(raw, r.form.value)
	}
	done, err := readAs[client.Restored]("restore", raw)
	if err != nil {
		return err
	}
	if len(done.Unheard) > 0 {
		r.note("%s could not be heard: what was declared there and has not come here survives; psctl restores lists it when it comes", andWord(done.Unheard))
	}
	return r.printf("restored: %s. psctl undo %s takes it back\n", plural(done.Count, "object"), done.ID)
}

func (r *restorer) show(plan *client.Restored) error {
	same := 0
	for _, x := range plan.Results {
		if x.Action == "unchanged" && !r.verbose {
			same++
			continue
		}
		label := strings.ToLower(x.Kind) + " " + map[bool]string{true: x.Namespace + "/"}[x.Namespace != ""] + x.Name
		if err := r.printf("%-10s  %s\n", x.Action, label); err != nil {
			return err
		}
		for _, ch := range x.Changes {
			if err := r.printf("            %s: %s -> %s\n", ch.Field, side(ch.Old), side(ch.New)); err != nil {
				return err
			}
		}
	}
	if same > 0 {
		if err := r.printf("%-10s  %s\n", "unchanged", plural(same, "object")); err != nil {
			return err
		}
	}
	e := plan.Containers
	return r.printf("Containers: %d to replace, %d to start, %d to stop.\n", e.Restart, e.Start, e.Stop)
}

// sure asks whoever sits at the terminal; nobody there is no.
func (r *restorer) sure() bool {
	f, ok := r.in.(*os.File)
	if !ok {
		return false
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	fmt.Fprint(r.err, "Go on? [y/N] ")
	line, _ := bufio.NewReader(r.in).ReadString('\n') // nothing, at its end
	return strings.EqualFold(strings.TrimSpace(line), "y") || strings.EqualFold(strings.TrimSpace(line), "yes")
}

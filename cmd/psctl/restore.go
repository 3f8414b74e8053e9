package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

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
	keys    keyFlags
	on      spread
	opened  []byte // what is restored from, when it comes from here
}

func (r *restorer) flags(c *cobra.Command) {
	c.Flags().BoolVar(&r.dry, "dry-run", false, "show what would change, and change nothing")
	c.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVarP(&r.verbose, "verbose", "v", false, "show also what stays the same")
	r.form = output(c, asJSON, asYAML)
	c.PreRunE = func(*cobra.Command, []string) error {
		switch {
		case r.dry && r.on.WaitFor != "":
			return usage("--dry-run changes nothing: there is nothing to wait for")
		case r.form.value != asTable && !r.yes && !r.dry:
			return usage("-o %s does not show first what would change: give --yes, or --dry-run", r.form.value)
		}
		return nil
	}
	r.on.flags(c)
	r.causeFlag(c)
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

With --at it is what was declared at another moment: by the log of the asked host, or, with NAME, by that backup and the increments after it. Of
a folder that is elsewhere, podman-swarm-agent backup extract makes one backup. A file here may also be a state.json that was edited, such as one that
the agent has set aside: each object in it must be one that could be applied. Of a state.json of version 1, what cannot be declared as it is, is named with the reason,
as are fields that are not known, and the rest is restored; of what is no Deployment, Service or Ingress all stays.

It shows what would change, and how many of the Secrets the asked host could not open: no backup has secrets.key, by which they are sealed. Then it
asks. Before it begins it makes a backup and pins it: psctl undo takes the restore back. With --only, or
--namespace, only a part is restored: TYPE, TYPE/NAMESPACE, or TYPE/NAMESPACE/NAME, as in deployment/default/web.

A sealed backup is opened here, by --identity or --passphrase-file: the agent is sent what is in it, over the connection that psctl has, and no key.

` + spreadHelp,
		Example: `  psctl restore state-backup-20260121-120000.json --dry-run
  psctl restore state-backup-20260121-120000.json --only deployment/default/web
  psctl restore ./state-backup-20260121-120000.json.age --identity key.txt
  psctl restore --at 2h --dry-run`,
		Args:              usageArgs(cobra.MaximumNArgs(1), "restore from one backup: psctl backup list lists them"),
		ValidArgsFunction: p.completeBackups,
	}
	r.keys.flags(c)
	c.Flags().StringVar(&at, "at", "", "what was then, as the asked host knew it: "+atHelp)
	c.Flags().StringSliceVar(&r.only, "only", nil, "only these, and what is below them; repeatable")
	r.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if p.namespace != "" && len(r.only) > 0 {
			return usage("--only and --namespace both: --only TYPE/NAMESPACE says which namespace")
		}
		for i, only := range r.only {
			r.only[i] = asKey(only)
		}
		query := url.Values{"only": r.only}
		if p.namespace != "" {
			query["only"] = under(p.namespace)
		}
		if d, err := time.ParseDuration(at); err == nil && d >= 0 && at != "0" { // the same moment for what is shown and what is done
			at = p.now().Add(-d).UTC().Format(time.RFC3339Nano)
		}
		if at != "" {
			query.Set("at", at)
		}
		if len(args) == 0 {
			if at == "" {
				return usage("restore from which backup, or --at which moment? psctl backup list lists the backups, psctl events the moments")
			}
			return r.run(c.Context(), "restore --at "+at, restoresPath, query)
		}
		name, opened, err := r.bring(c.Context(), args[0], at)
		r.opened = opened
		if err != nil {
			return err
		}
		return r.run(c.Context(), "restore "+name+led(" --at ", at), backupsPath+client.Path(name, "restore"), query)
	}
	return c
}

func (p *program) restores() *cobra.Command {
	return tabled(p, &cobra.Command{
		Use:   "restores",
		Short: "List what was restored, and what each restore had not seen",
		Long: `restores lists the restores, the oldest first; -o json as [{"id", "host", "from", "asked", "done", "over", "count", "before", "undoes", "unseen": [{"key"}]}].
One that is unfinished goes on by itself, and leaves alone what was changed meanwhile; over is another that took it back, or its place.
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
			switch {
			case !x.Done.IsZero():
				done = p.clock(x.Done)
			case x.Over != "":
				done = "over, by " + x.Over
			}
			for i, u := range x.Unseen {
				unseen += map[bool]string{true: ", "}[i > 0] + u.Key
			}
			t.add(x.ID, what, done, fmt.Sprint(x.Count), oneLine(unseen, 120))
		}
		return t.write(p.out, false)
	})
}

// run restores, or takes a restore back.
func (r *restorer) run(ctx context.Context, what, path string, query url.Values) error {
	raw, err := r.asked(ctx, what, path, query)
	if raw == nil || err != nil {
		return err
	}
	done, err := readAs[client.Restored]("restore", raw)
	if err != nil {
		return err
	}
	if len(done.Unheard) > 0 {
		r.note("%s could not be heard: what was declared there and has not come here survives; psctl restores lists it when it comes", andWord(done.Unheard))
	}
	if done.Unfinished {
		if err := r.printf("restore %s is ended: it does not go on\n", done.Undoes); err != nil {
			return err
		}
	}
	switch {
	case done.Unfinished && done.Count == 0:
	case done.Undoes != "":
		err = r.printf("taken back: %s. psctl undo %s does it again\n", plural(done.Count, "object"), done.ID)
	default:
		err = r.printf("restored: %s. psctl undo %s takes it back\n", plural(done.Count, "object"), done.ID)
	}
	if err != nil {
		return err
	}
	return r.on.told(r.program, "")
}

// asked shows what would change, asks, and does it. The answer is nil where nothing is left to be said.
func (r *restorer) asked(ctx context.Context, what, path string, query url.Values) ([]byte, error) {
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	query.Set("dry_run", "true")
	raw, err := c.Do(ctx, client.Request{Method: http.MethodPost, Path: path, Query: query, Body: r.opened})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	plan, err := readAs[client.Restored]("restore", raw)
	if err != nil {
		return nil, err
	}
	if query.Has("only") { // an undo is not bounded by a namespace
		if err := r.fit(&plan); err != nil {
			return nil, err
		}
	}
	if r.dry && r.form.value != asTable {
		return nil, r.value(raw, r.form.value)
	}
	takes := func(x client.Result) bool { return x.Action != "kept" }
	if strings.HasPrefix(path, restoresPath+"/") && !slices.ContainsFunc(plan.Results, takes) && !plan.Unfinished && r.form.value == asTable {
		if err := r.results(plan.Results); err != nil {
			return nil, err
		}
		err := r.printf("nothing to take back: all of it has been taken back, or changed, since\n")
		if err != nil || r.on.WaitFor == "" {
			return nil, err
		}
		if _, err = c.Do(ctx, client.Request{Method: http.MethodPost, Path: path, Query: url.Values{}, Body: r.opened, Spread: &r.on.Spread}); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		return nil, r.on.told(r.program, sameCommand)
	}
	if r.form.value == asTable {
		if err := r.show(&plan); err != nil {
			return nil, err
		}
	}
	if r.dry {
		return nil, nil
	}
	if !r.yes {
		if err := r.sure(ctx); err != nil {
			return nil, err
		}
	}
	query.Del("dry_run")
	query.Set("cause", r.why("psctl "+what))
	raw, err = c.Do(ctx, client.Request{Method: http.MethodPost, Path: path, Query: query, Body: r.opened, Spread: &r.on.Spread})
	if err != nil {
		next := "Look first, since another restore is stamped over what others changed in between:  psctl restores"
		if !strings.HasPrefix(path, restoresPath) {
			next = "Look first:  psctl events"
		}
		return nil, unanswered(ctx, what, next, err)
	}
	if r.form.value != asTable {
		if err := r.value(raw, r.form.value); err != nil {
			return nil, err
		}
		return nil, r.on.told(r.program, "")
	}
	return raw, nil
}

// fit finds out whether there is anything of what --only, or --namespace, names.
func (r *restorer) fit(plan *client.Restored) error {
	if r.namespace != "" && len(plan.Results)+len(plan.Refused) == 0 {
		return notFound("nothing is declared in namespace %s now, or in what is restored", r.namespace)
	}
	var errs []error
	for _, only := range r.only {
		if !slices.ContainsFunc(plan.Results, func(x client.Result) bool {
			return strings.HasPrefix(strings.ToLower(x.Kind)+led("/", x.Namespace)+"/"+x.Name+"/", only+"/")
		}) && !slices.ContainsFunc(plan.Refused, func(x client.Refusal) bool { return strings.HasPrefix(x.Key+"/", only+"/") }) {
			errs = append(errs, notFound("--only %s: nothing of that is declared now, or in what is restored: want TYPE, TYPE/NAMESPACE or TYPE/NAMESPACE/NAME, such as deployment/default/web", only))
		}
	}
	return errors.Join(errs...)
}

// asKey is what --only says with its type as keys have it, however people call it: deploy, Deployment, deployments.apps.
func asKey(only string) string {
	word, below, ok := strings.Cut(only, "/")
	if k, err := kindOf(word); err == nil {
		word = k.singular
	}
	if ok {
		word += "/" + below
	}
	return word
}

func (r *restorer) show(plan *client.Restored) error {
	all := plan.Results
	if !r.verbose {
		all = slices.DeleteFunc(slices.Clone(all), func(x client.Result) bool { return x.Action == "unchanged" })
	}
	if err := r.results(all); err != nil {
		return err
	}
	if err := r.refused(plan.Refused); err != nil {
		return err
	}
	for _, x := range plan.Left {
		if err := r.printf("%-10s  %s\n            %s: %s\n", "left out", strings.Replace(x.Key, "/", " ", 1), strings.Join(x.Fields, ", "), x.Why); err != nil {
			return err
		}
	}
	for _, typ := range plan.Missing {
		if err := r.printf("%-10s  every %s: the file has no section of that type\n", "kept", typ); err != nil {
			return err
		}
	}
	if same := len(plan.Results) - len(all); same > 0 {
		if err := r.printf("%-10s  %s\n", "unchanged", plural(same, "object")); err != nil {
			return err
		}
	}
	e := plan.Containers
	if err := r.printf("Containers: %d to replace, %d to start, %d to stop.\n", e.Restart, e.Start, e.Stop); err != nil {
		return err
	}
	if n := len(plan.Locked); n > 0 {
		err := r.printf("Secrets that the asked host cannot open: %d, the first %s. They take a key that it does not have: add the lines\n"+
			"of secrets.key of a host that has it to the one in the data dir (0600), and start the agent again; or apply these Secrets anew.\n", n, plan.Locked[0])
		if err != nil {
			return err
		}
	}
	if !plan.Unfinished {
		return nil
	}
	return r.printf("The restore is unfinished: taken back, it does not go on.\n")
}

// refused shows what is not restored, and why.
func (r *restorer) refused(all []client.Refusal) error {
	for _, x := range all {
		if err := r.printf("%-10s  %s\n            %s\n", "refused", strings.Replace(x.Key, "/", " ", 1), x.Why); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	return r.printf("Refused: %s that cannot be declared as is. What is there of that stays; declare it yourself.\n", plural(len(all), "object"))
}

// sure asks whoever sits at the terminal. The error says that nothing was changed; nobody there is no.
func (r *restorer) sure(ctx context.Context) error {
	var atTerminal bool
	if f, ok := r.in.(*os.File); ok {
		info, err := f.Stat()
		atTerminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if !atTerminal {
		return usage("nothing was changed: nobody was asked, since standard input is no terminal; give --yes")
	}
	fmt.Fprint(r.err, "Go on? [y/N] ")
	line, _ := input(ctx, func() (string, error) { return bufio.NewReader(r.in).ReadString('\n') }) // nothing, at its end
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	if ctx.Err() != nil {
		return &interruptedError{"\ninterrupted: nothing was changed"}
	}
	return errors.New("nothing was changed")
}

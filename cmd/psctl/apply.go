package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// files are the flags that name manifests.
type files struct {
	names     []string
	recursive bool
}

func (f *files) flags(c *cobra.Command) {
	c.Flags().StringSliceVarP(&f.names, "filename", "f", nil, "manifest: a file, a folder of .yaml, .yml and .json files, or - for standard input; several with commas, or repeated")
	c.Flags().BoolVarP(&f.recursive, "recursive", "R", false, "of a folder, also the folders below it")
	_ = c.MarkFlagFilename("filename", "yaml", "yml", "json") // the flag is there
}

func (p *program) apply() *cobra.Command {
	a := &applier{program: p}
	c := &cobra.Command{
		Use:        "apply -f FILE|FOLDER|- …",
		SuggestFor: []string{"create", "run", "replace", "edit", "set"},
		Short:      "Make what manifests say so",
		Long: `apply hands the agent one or more manifests: Deployments, Services, Ingresses, Endpoints, ConfigMaps, Secrets and Namespaces, as
Kubernetes has them.
All of them together are applied whole or not at all, and are on the agent's disk when apply returns. Applying the same
again changes nothing.

When something is wrong, all that is wrong is said, with file and line, and nothing is applied.

` + spreadHelp + `

--wait returns when every Deployment among them runs as told and its replicas have stayed up for 5 s: it shows how far each
is, and what holds a replica up as soon as that is known, with the last lines of the container's log. When --timeout is
over it ends with exit code 5; what was applied stands.

-o json and yaml give the agent's answer: {"commit": ID, "index": N, "results": [{"kind", "namespace", "name",
"action": "created", "configured" or "unchanged", "changes": [{"field", "old", "new"}]}]}. -o name gives KIND/NAME of
each object.`,
		Example: `  psctl apply -f web.yaml --dry-run       what would change, field by field
  psctl apply -f web.yaml --wait
  psctl apply -f shop/ -R -n shop
  sed 's/VERSION/1.4/' web.yaml | psctl apply -f -`,
		Args: usageArgs(cobra.NoArgs, "apply takes manifests by -f: psctl apply -f FILE"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkTimeout(c, a.wait, a.timeout); err != nil {
				return err
			}
			return a.run(c.Context())
		},
	}
	a.files.flags(c)
	a.spread.flags(c)
	p.causeFlag(c)
	a.form = output(c, asJSON, asYAML, asName)
	c.Flags().VarPF((*dryRun)(&a.dryRun), "dry-run", "", "check everything and say what would change; change nothing").NoOptDefVal = "true"
	c.Flags().BoolVarP(&a.verbose, "verbose", "v", false, "show every field that changes")
	waitFlags(c, &a.wait, &a.timeout, "wait until every Deployment runs as told")
	c.ValidArgsFunction = cobra.NoFileCompletions
	return c
}

// waitFlags are --wait and --timeout.
func waitFlags(c *cobra.Command, wait *bool, timeout *time.Duration, text string) {
	c.Flags().BoolVar(wait, "wait", false, text)
	c.Flags().DurationVar(timeout, "timeout", 5*time.Minute, "how long to wait")
}

func checkTimeout(c *cobra.Command, wait bool, timeout time.Duration) error {
	switch {
	case timeout < 0:
		return usage("--timeout %v: want a time span like 2m", timeout)
	case c.Flags().Changed("timeout") && !wait:
		return usage("--timeout says how long to --wait")
	}
	return nil
}

// dryRun is the value of --dry-run. It also takes the words that kubectl's has: here it is the agent that checks, whatever
// is said.
type dryRun bool

func (d *dryRun) String() string { return strconv.FormatBool(bool(*d)) }

func (d *dryRun) Type() string { return "bool" }

func (d *dryRun) Set(s string) error {
	switch s {
	case "true", "server", "client":
		*d = true
	case "false", "none":
		*d = false
	default:
		return errors.New("want true or false")
	}
	return nil
}

// applier is one apply.
type applier struct {
	*program
	files
	form            *format
	dryRun, verbose bool
	wait            bool
	timeout         time.Duration
	spread          spread
}

func (a *applier) run(ctx context.Context) error {
	switch {
	case len(a.files.names) == 0:
		return usage("apply what? psctl apply -f FILE")
	case a.dryRun && (a.wait || a.spread.WaitFor != ""):
		return usage("--dry-run changes nothing, so there is nothing to wait for")
	}
	m, err := a.readManifest(ctx, a.files.names, a.recursive)
	if err != nil {
		return fmt.Errorf("%w\nnothing was applied", err)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	done, err := c.Apply(ctx, m.text, client.ApplyOptions{Namespace: a.ns(), Cause: a.why("psctl apply -f " + m.names()), DryRun: a.dryRun,
		Spread: &a.spread.Spread})
	var wrong *client.StatusError
	if errors.As(err, &wrong) && len(wrong.Mistakes) > 0 {
		return a.refused(m, wrong.Mistakes)
	}
	if err != nil {
		return unanswered(ctx, "apply "+m.names(), againIsSafe, err)
	}
	if err := a.show(done); err != nil {
		return err
	}
	if !a.wait {
		return a.spread.told(a.program, sameCommand)
	}
	var ds []deployment
	for _, r := range done.Results {
		if r.Kind == "Deployment" {
			ds = append(ds, deployment{r.Namespace, r.Name})
		}
	}
	return a.spread.before(a.program, sameCommand, func() error { return a.waitFor(ctx, c, ds, a.timeout, a.progressTo()) })
}

// progressTo is where progress is shown: beside an answer that a script reads, not within it.
func (a *applier) progressTo() io.Writer {
	if a.form.value != asTable {
		return a.err
	}
	return a.out
}

// refused says every mistake, where it is in the files as they were given.
func (a *applier) refused(m manifest, mistakes []client.Mistake) error {
	for _, x := range mistakes {
		fmt.Fprintln(a.err, m.say(x))
	}
	return fmt.Errorf("%s; nothing was applied", plural(len(mistakes), "mistake"))
}

// few is how many changes of an object are shown unasked.
const few = 10

func (a *applier) show(done client.Applied) error {
	switch a.form.value {
	case asJSON, asYAML:
		return a.value(done.Raw, a.form.value)
	}
	suffix := ""
	if a.dryRun {
		suffix = " (dry run)"
	}
	for _, r := range done.Results {
		label := labelOf(r.Name, r.Kind)
		if a.form.value == asName {
			if err := a.printf("%s\n", label); err != nil {
				return err
			}
			continue
		}
		if err := a.printf("%s %s%s\n", label, r.Action, suffix); err != nil {
			return err
		}
		if err := a.changes(r); err != nil {
			return err
		}
		for _, event := range r.Conflicts {
			a.note("! %s: a change of it by who had not seen what is shown was lost: psctl conflicts show %s", label, event)
		}
		for _, text := range r.Warnings {
			a.note("! %s: %s", label, text)
		}
	}
	return nil
}

func (a *applier) changes(r client.Result) error {
	all := r.Changes
	if r.Action == "created" && !a.verbose {
		return nil
	}
	if !a.dryRun && !a.verbose && len(all) > few {
		all = all[:few]
	}
	for _, c := range all {
		if err := a.printf("  %s\n", change(c)); err != nil {
			return err
		}
	}
	if more := len(r.Changes) - len(all); more > 0 {
		return a.printf("  and %d more (-v shows all)\n", more)
	}
	return nil
}

// change is what became of a field, in one line. Where a value is too long for that, as the text of a file in a ConfigMap may be, most of what both
// begin with is left out: else they would look the same.
func change(c client.Change) string {
	old, is := []rune(whole(c.Old)), []rune(whole(c.New))
	same := 0
	for same < min(len(old), len(is)) && old[same] == is[same] {
		same++
	}
	const before = 40
	if max(len(old), len(is)) > sideRunes && same > 2*before {
		old, is = append([]rune("…"), old[same-before:]...), append([]rune("…"), is[same-before:]...)
	}
	return fmt.Sprintf("%s: %s -> %s", c.Field, oneLine(string(old), sideRunes), oneLine(string(is), sideRunes))
}

// sideRunes is how much of one side of a change is shown.
const sideRunes = 200

// side is one side of a change.
func side(raw json.RawMessage) string { return oneLine(whole(raw), sideRunes) }

func whole(raw json.RawMessage) string {
	if len(raw) == 0 || string(raw) == "null" {
		return "(none)"
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

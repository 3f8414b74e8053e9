package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// revision is a pod template that a Deployment had, and which it was rolled out by.
type revision struct {
	Revision int             `json:"revision"` // from 1, since the Deployment was made
	Index    uint64          `json:"index"`    // of the event
	At       time.Time       `json:"at"`
	Actor    string          `json:"actor"`
	Cause    string          `json:"cause,omitempty"`
	Changes  []client.Change `json:"changes,omitempty"` // of the template
	Template json.RawMessage `json:"template"`
}

// revisions are those of a Deployment that is there, the oldest first, as the log of the asked host has them.
func (p *program) revisions(ctx context.Context, d deployment) (all []revision, err error) {
	raw, err := p.askLong(ctx, "/swarm/v1/history"+client.Path("deployment", d.namespace, d.name))
	if err != nil {
		return nil, err
	}
	was, err := readAs[[]client.Was]("history", raw)
	if err != nil {
		return nil, err
	}
	for _, w := range was {
		if w.Action == "lost" {
			continue // it was never rolled out
		}
		if w.Action == "deleted" {
			all = nil
			continue
		}
		of := slices.DeleteFunc(w.Changes, func(c client.Change) bool { return !strings.HasPrefix(c.Field, "spec.template.") })
		if w.Action != "created" && len(of) == 0 {
			continue
		}
		var o struct {
			Spec struct {
				Template json.RawMessage `json:"template"`
			} `json:"spec"`
		}
		if err := json.Unmarshal(w.Object, &o); err != nil {
			return nil, fmt.Errorf("event %d: %w", w.Index, err)
		}
		all = append(all, revision{len(all) + 1, w.Index, w.At, w.Actor, w.Cause, of, o.Spec.Template})
	}
	if len(all) == 0 {
		return nil, notFound("the log of this host tells of no deployment %q in namespace %s", d.name, d.namespace)
	}
	return all, nil
}

// revisionOf is the one of that number; 0 is the one that counts from the newest, from 0.
func revisionOf(all []revision, number, fromEnd int) (*revision, error) {
	i := number - 1
	if number == 0 {
		i = len(all) - 1 - fromEnd
	}
	switch {
	case number < 0 || i >= len(all):
		return nil, notFound("there is no revision %d: psctl rollout history lists them", number)
	case i < 0:
		return nil, usage("there is no revision before this one")
	}
	return &all[i], nil
}

func (p *program) rolloutHistory() *cobra.Command {
	var number int
	c := &cobra.Command{
		Use:   "history deployment/NAME",
		Short: "List the pod templates that a Deployment had, and who rolled them out",
		Long: `history lists the pod templates that a Deployment had since it was made, the oldest first, as the log of the asked host has them; with --revision
one of them, whole. -o json gives [{"revision", "index", "at", "actor", "cause", "changes", "template"}].`,
		Example: `  psctl rollout history deployment/web
  psctl rollout history deployment/web --revision 2`,
		Args: usageArgs(cobra.RangeArgs(1, 2), "of what? psctl rollout history deployment/NAME"),
	}
	form := output(c, asJSON, asYAML)
	c.Flags().IntVar(&number, "revision", 0, "show this one, whole")
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := p.theDeployment(args)
		if err != nil {
			return err
		}
		all, err := p.revisions(c.Context(), d)
		if err != nil {
			return err
		}
		var answer any = all
		if c.Flags().Changed("revision") {
			r, err := revisionOf(all, number, 0)
			if err != nil {
				return err
			}
			if form.value == asTable {
				text, err := yaml.JSONToYAML(r.Template)
				if err != nil {
					return err
				}
				return p.printf("%s", text)
			}
			answer = r
		}
		if form.value != asTable {
			raw, err := json.Marshal(answer)
			if err != nil {
				return err
			}
			return p.value(raw, form.value)
		}
		t := &table{header: []string{"REVISION", "EVENT", "AT", "WHO", "WHY", "CHANGED"}}
		for _, r := range all {
			var fields []string
			for _, ch := range r.Changes {
				fields = append(fields, strings.TrimPrefix(ch.Field, "spec.template.")+" -> "+oneLine(side(ch.New), 40))
			}
			t.add(fmt.Sprint(r.Revision), fmt.Sprint(r.Index), p.clock(r.At), oneLine(r.Actor, 30), oneLine(r.Cause, 40), oneLine(strings.Join(fields, ", "), 120))
		}
		return t.write(p.out, false)
	}
	return c
}

func (p *program) rolloutUndo() *cobra.Command {
	var number int
	var on spread
	c := &cobra.Command{
		Use:   "undo deployment/NAME",
		Short: "Have a Deployment run the pod template that it had before",
		Long: `undo gives a Deployment the pod template of the revision before this one, or of --to-revision; psctl rollout history lists them. The rest of
the Deployment, its replicas say, stays as it is: psctl undo EVENT takes back whatever an event changed.

` + spreadHelp,
		Example: `  psctl rollout undo deployment/web
  psctl rollout undo deployment/web --to-revision 2`,
		Args: usageArgs(cobra.RangeArgs(1, 2), "of what? psctl rollout undo deployment/NAME"),
	}
	c.Flags().IntVar(&number, "to-revision", 0, "go to this one; 0: to the one before")
	on.flags(c)
	p.causeFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := p.theDeployment(args)
		if err != nil {
			return err
		}
		cl, err := p.client()
		if err != nil {
			return err
		}
		var is appsv1.Deployment
		if err := p.read(c.Context(), cl, d, &is); err != nil {
			return err
		}
		all, err := p.revisions(c.Context(), d)
		if err != nil {
			return err
		}
		to, err := revisionOf(all, number, 1)
		if err != nil {
			return err
		}
		// The generation makes sure that nobody has changed it since it was looked at; the version moves with what its replicas do, too.
		patch, err := json.Marshal([]map[string]any{
			{"op": "test", "path": "/metadata/generation", "value": is.Generation},
			{"op": "replace", "path": "/spec/template", "value": to.Template}})
		if err != nil {
			return err
		}
		k := the("Deployment")
		if _, err := cl.Do(c.Context(), client.Request{Method: http.MethodPatch, Path: k.one(d.namespace, d.name), Body: patch,
			Query: url.Values{"cause": {p.why(fmt.Sprintf("psctl rollout undo, to revision %d", to.Revision))}}, Type: "application/json-patch+json",
			Spread: &on.Spread}); err != nil {
			return unanswered(c.Context(), "roll back "+d.String(), lookAt(d)+", since a second undo goes back to what runs now", err)
		}
		if err := p.printf("%s rolled back to revision %d, of %s\n", k.label(d.name), to.Revision, p.clock(to.At)); err != nil {
			return err
		}
		return on.told(p, "")
	}
	return c
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// theDeployment reads NAME, deployment/NAME or deployment NAME.
func (p *program) theDeployment(args []string) (deployment, error) {
	if len(args) == 1 && !strings.Contains(args[0], "/") {
		args = []string{"deployment", args[0]}
	}
	ts, err := targets(args)
	if err != nil {
		return deployment{}, err
	}
	if len(ts) != 1 || ts[0].Kind != "Deployment" || len(ts[0].names) != 1 {
		return deployment{}, usage("%q: want one Deployment, as deployment/NAME", strings.Join(args, " "))
	}
	return deployment{p.ns(), ts[0].names[0]}, nil
}

func (p *program) scale() *cobra.Command {
	var (
		replicas int32
		wait     bool
		timeout  time.Duration
		on       spread
		form     *format
	)
	c := &cobra.Command{
		Use:   "scale deployment/NAME --replicas N",
		Short: "Change how many replicas a Deployment has",
		Long: `scale changes how many replicas a Deployment has; 0 stops it. --wait returns when it runs so many, see psctl apply --help.

` + spreadHelp + `

-o json gives the Deployment as it then is.`,
		Example: `  psctl scale deployment/web --replicas 5 --wait`,
		Args:    usageArgs(cobra.RangeArgs(1, 2), "scale what? psctl scale deployment/NAME --replicas N"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case !c.Flags().Changed("replicas"):
				return usage("how many? psctl scale %s --replicas N", strings.Join(args, " "))
			case replicas < 0:
				return usage("--replicas %d: want 0 or more", replicas)
			}
			if err := checkTimeout(c, wait, timeout); err != nil {
				return err
			}
			d, err := p.theDeployment(args)
			if err != nil {
				return err
			}
			return p.scaleTo(c.Context(), d, replicas, form.value, wait, timeout, &on)
		},
	}
	form = output(c, asJSON, asYAML, asName)
	c.Flags().Int32Var(&replicas, "replicas", 0, "how many")
	on.flags(c)
	p.causeFlag(c)
	waitFlags(c, &wait, &timeout, "wait until so many run")
	c.ValidArgsFunction = p.completeNamed("deployment", false)
	return c
}

func (p *program) scaleTo(ctx context.Context, d deployment, replicas int32, form string, wait bool, timeout time.Duration, on *spread) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	k := the("Deployment")
	var was, is appsv1.Deployment
	if err := p.read(ctx, c, d, &was); err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": replicas}})
	if err != nil {
		return err
	}
	cause := url.Values{"cause": {p.why(fmt.Sprintf("psctl scale --replicas %d", replicas))}}
	raw, err := c.Do(ctx, client.Request{Method: http.MethodPatch, Path: k.one(d.namespace, d.name), Query: cause, Body: patch,
		Type: "application/merge-patch+json", Spread: &on.Spread})
	if err != nil {
		return unanswered(ctx, fmt.Sprintf("scale %s to %d", d, replicas), againIsSafe, err)
	}
	progress := p.out
	switch form {
	case asJSON, asYAML:
		progress = p.err // what is on the output is for a program
		err = p.value(raw, form)
	case asName:
		progress = p.err
		err = p.printf("%s\n", k.label(d.name))
	default:
		if err = json.Unmarshal(raw, &is); err == nil {
			err = p.printf("%s scaled: %d -> %d\n", k.label(d.name), wanted(&was), wanted(&is))
		}
	}
	if err != nil {
		return err
	}
	if !wait {
		return on.told(p, sameCommand)
	}
	return on.before(p, sameCommand, func() error { return p.waitFor(ctx, c, []deployment{d}, timeout, progress) })
}

// read reads a Deployment.
func (p *program) read(ctx context.Context, c *client.Client, d deployment, o *appsv1.Deployment) error {
	err := c.Get(ctx, the("Deployment").one(d.namespace, d.name), nil, o)
	if client.IsNotFound(err) {
		return notFound("no deployment %q in namespace %s", d.name, d.namespace)
	}
	return err
}

func (p *program) rollout() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollout status|restart|history|undo deployment/NAME",
		Short: "Wait until a Deployment runs as told, replace its replicas one by one, or go back to how it was",
		Args:  usageArgs(cobra.NoArgs, "of rollout there are status, restart, history and undo: psctl rollout status deployment/NAME"),
		RunE: func(*cobra.Command, []string) error {
			return usage("psctl rollout status, restart, history or undo, of deployment/NAME")
		},
	}
	c.AddCommand(p.rolloutStatus(), p.rolloutRestart(), p.rolloutHistory(), p.rolloutUndo())
	for _, sub := range c.Commands() {
		sub.DisableFlagsInUseLine = true
		sub.ValidArgsFunction = p.completeNamed("deployment", false)
	}
	return c
}

func (p *program) rolloutStatus() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:     "status deployment/NAME",
		Short:   "Wait until a Deployment runs as told, showing how far it is and what holds it up",
		Example: `  psctl rollout status deployment/web --timeout 2m`,
		Args:    usageArgs(cobra.RangeArgs(1, 2), "of what? psctl rollout status deployment/NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkTimeout(c, true, timeout); err != nil {
				return err
			}
			d, err := p.theDeployment(args)
			if err != nil {
				return err
			}
			cl, err := p.client()
			if err != nil {
				return err
			}
			if err := p.read(c.Context(), cl, d, &appsv1.Deployment{}); err != nil {
				return err
			}
			return p.waitFor(c.Context(), cl, []deployment{d}, timeout, p.out)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return c
}

func (p *program) rolloutRestart() *cobra.Command {
	var on spread
	c := &cobra.Command{
		Use:   "restart deployment/NAME",
		Short: "Replace every replica of a Deployment by a new one, in the way of its strategy",
		Long: `restart makes every replica of a Deployment anew, in the way of its strategy, as after a change of its template: it sets the
annotation kubectl.kubernetes.io/restartedAt there, as kubectl does. psctl rollout status tells how far it is.

` + spreadHelp,
		Example: `  psctl rollout restart deployment/web && psctl rollout status deployment/web`,
		Args:    usageArgs(cobra.RangeArgs(1, 2), "restart what? psctl rollout restart deployment/NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := p.theDeployment(args)
			if err != nil {
				return err
			}
			cl, err := p.client()
			if err != nil {
				return err
			}
			return p.restart(c.Context(), cl, d, &on)
		},
	}
	on.flags(c)
	p.causeFlag(c)
	return c
}

func (p *program) restart(ctx context.Context, c *client.Client, d deployment, on *spread) error {
	if err := p.read(ctx, c, d, &appsv1.Deployment{}); err != nil {
		return err
	}
	k := the("Deployment")
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`,
		p.now().Format(time.RFC3339Nano))
	if _, err := c.Do(ctx, client.Request{Method: http.MethodPatch, Path: k.one(d.namespace, d.name), Body: []byte(patch),
		Query: url.Values{"cause": {p.why("psctl rollout restart")}}, Type: "application/merge-patch+json", Spread: &on.Spread}); err != nil {
		return unanswered(ctx, "restart "+d.String(), lookAt(d)+", since a second restart starts every replica once more", err)
	}
	if err := p.printf("%s restarted\n", k.label(d.name)); err != nil {
		return err
	}
	return on.told(p, "")
}

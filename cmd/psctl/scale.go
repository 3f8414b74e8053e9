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

// theDeployment reads NAME or deployment/NAME.
func (p *program) theDeployment(arg string) (deployment, error) {
	if !strings.Contains(arg, "/") {
		arg = "deployment/" + arg
	}
	ts, err := targets([]string{arg})
	if err != nil {
		return deployment{}, err
	}
	if ts[0].Kind != "Deployment" {
		return deployment{}, usage("%q: want deployment/NAME", arg)
	}
	return deployment{p.ns(), ts[0].names[0]}, nil
}

func (p *program) scale() *cobra.Command {
	var (
		replicas int32
		wait     bool
		timeout  time.Duration
	)
	c := &cobra.Command{
		Use:     "scale deployment/NAME --replicas N",
		Short:   "Change how many replicas a Deployment has",
		Long:    `scale changes how many replicas a Deployment has; 0 stops it. --wait returns when it runs so many, see psctl apply --help.`,
		Example: `  psctl scale deployment/web --replicas 5 --wait`,
		Args:    usageArgs(cobra.ExactArgs(1), "scale what? psctl scale deployment/NAME --replicas N"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case !c.Flags().Changed("replicas"):
				return usage("how many? psctl scale %s --replicas N", args[0])
			case replicas < 0:
				return usage("--replicas %d: want 0 or more", replicas)
			case c.Flags().Changed("timeout") && !wait:
				return usage("--timeout says how long to --wait")
			}
			d, err := p.theDeployment(args[0])
			if err != nil {
				return err
			}
			return p.scaleTo(c.Context(), d, replicas, wait, timeout)
		},
	}
	c.Flags().Int32Var(&replicas, "replicas", 0, "how many")
	waitFlags(c, &wait, &timeout, "wait until so many run")
	c.ValidArgsFunction = p.completeNamed("deployment", false)
	return c
}

func (p *program) scaleTo(ctx context.Context, d deployment, replicas int32, wait bool, timeout time.Duration) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	k := the("Deployment")
	var was, is appsv1.Deployment
	path := k.one(d.namespace, d.name)
	if err := c.Get(ctx, path, nil, &was); client.IsNotFound(err) {
		return notFound("no %s", d)
	} else if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": replicas}})
	if err != nil {
		return err
	}
	cause := url.Values{"cause": {fmt.Sprintf("psctl scale --replicas %d", replicas)}}
	if err := c.Into(ctx, client.Request{Method: http.MethodPatch, Path: path, Query: cause, Body: patch,
		Type: "application/merge-patch+json"}, &is); err != nil {
		return fmt.Errorf("scale %s to %d: %w", d, replicas, err)
	}
	if err := p.printf("%s scaled: %d -> %d\n", k.label(d.name), wanted(&was), wanted(&is)); err != nil {
		return err
	}
	if !wait {
		return nil
	}
	return p.waitFor(ctx, c, []deployment{d}, timeout, p.out)
}

func (p *program) rollout() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollout status deployment/NAME",
		Short: "Wait until a Deployment runs as told",
		Args:  usageArgs(cobra.NoArgs, "there is psctl rollout status deployment/NAME, and nothing else of rollout"),
		RunE: func(*cobra.Command, []string) error {
			return usage("psctl rollout status deployment/NAME")
		},
	}
	var timeout time.Duration
	status := &cobra.Command{
		Use:     "status deployment/NAME",
		Short:   "Wait until a Deployment runs as told, showing how far it is and what holds it up",
		Example: `  psctl rollout status deployment/web --timeout 2m`,
		Args:    usageArgs(cobra.ExactArgs(1), "of what? psctl rollout status deployment/NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := p.theDeployment(args[0])
			if err != nil {
				return err
			}
			cl, err := p.client()
			if err != nil {
				return err
			}
			k := the("Deployment")
			var o appsv1.Deployment
			if err := cl.Get(c.Context(), k.one(d.namespace, d.name), nil, &o); client.IsNotFound(err) {
				return notFound("no %s", d)
			} else if err != nil {
				return err
			}
			return p.waitFor(c.Context(), cl, []deployment{d}, timeout, p.out)
		},
	}
	status.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	status.ValidArgsFunction = p.completeNamed("deployment", false)
	c.AddCommand(status)
	return c
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// reschedule is for how long a host must be silent before its replicas move; a minute, unless one has no time.
const reschedule = 10 * time.Second

// runCluster tells the story of several hosts.
func runCluster(ctx context.Context, bin, manifest string, hosts int) (err error) {
	if manifest, err = filepath.Abs(manifest); err != nil { // a program on a host begins elsewhere
		return err
	}
	say(fmt.Sprintf("%d hosts on this machine, each with a network, a Podman and a disk of its own", hosts))
	c, err := newCluster(ctx, bin, hosts)
	switch {
	case err != nil && ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return err
	}
	defer func() { also(&err, c.Close()) }()
	for _, h := range c.Hosts {
		fmt.Printf("   %s is at %s\n", h.Name, h.Addr())
	}
	for _, tell := range []func(context.Context) error{
		c.form,
		func(ctx context.Context) error { return c.declare(ctx, manifest) },
		c.cutOff, c.heal, c.powerCut, c.powerBack,
	} {
		if err := tell(ctx); err != nil && ctx.Err() != nil {
			return errInterrupted
		} else if err != nil {
			for _, h := range c.Hosts {
				err = fmt.Errorf("%w\n\nthe log of %s:\n%s", err, h.Name, h.Agent.OutputTail())
			}
			return err
		}
	}
	say("Nothing deleted came back, nothing was lost, nothing runs twice. Cleaning up")
	return nil
}

// form makes a cluster of the hosts.
func (c *cluster) form(ctx context.Context) error {
	say("The first host makes a cluster, and prints the token that others join it with")
	flags := func(h *street.Host) []string {
		return []string{"--cluster-name", "demo", "--cluster-addr", h.ClusterAddr(), "--reschedule-after", reschedule.String()}
	}
	first := c.Hosts[0]
	if err := c.start(ctx, first, flags(first)...); err != nil {
		return err
	}
	fmt.Printf("   %s$ TOKEN=$(podman-swarm-agent token)\n", first.Name)
	token, err := first.Token(ctx)
	if err != nil {
		return err
	}
	say("The others join by any one that is in already. Without the token nobody does")
	for n, h := range c.Hosts[1:] {
		if err := c.start(ctx, h, append(flags(h), "--join", c.Hosts[n].ClusterAddr(), "--join-token", token)...); err != nil {
			return err
		}
	}
	for _, h := range c.Hosts {
		if err := until(ctx, func() error { return c.sees(ctx, h, len(c.Hosts)) }); err != nil {
			return err
		}
	}
	_, err = c.psctl(ctx, first, "nodes")
	return err
}

// sees wants a host to know of so many that may be given replicas.
func (c *cluster) sees(ctx context.Context, h *street.Host, want int) error {
	var st struct {
		Hosts []struct {
			Host  string
			Ready bool
		}
	}
	if err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/status", &st); err != nil {
		return err
	}
	ready := 0
	for _, o := range st.Hosts {
		if o.Ready {
			ready++
		}
	}
	if ready != want {
		return fmt.Errorf("%s sees %d hosts that are ready, want %d: %+v", h.Name, ready, want, st.Hosts)
	}
	return nil
}

// agree is an error while the host does not know that all hosts have one state.
func (c *cluster) agree(ctx context.Context, h *street.Host) error {
	var st struct {
		Since string `json:"agree_since"`
	}
	err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/status", &st)
	if err == nil && st.Since == "" {
		err = fmt.Errorf("%s does not know that the hosts agree", h.Name)
	}
	return err
}

// declare applies on one host what all run.
func (c *cluster) declare(ctx context.Context, manifest string) error {
	last := c.Hosts[len(c.Hosts)-1]
	say("Apply a Deployment of three replicas on any host: they spread over all")
	if _, err := c.psctl(ctx, last, "apply", "-f", manifest, "--wait"); err != nil {
		return err
	}
	at, err := c.run(ctx, "web", 3)
	if err != nil {
		return err
	}
	if _, err := c.psctl(ctx, c.Hosts[0], "get", "pods", "-o", "wide"); err != nil {
		return err
	}
	if len(at) < 3 {
		return fmt.Errorf("the three replicas run on %d hosts, want 3", len(at))
	}
	if err := c.answering(ctx, at); err != nil {
		return err
	}
	for n := range 3 { // one of them runs there, the others elsewhere: any host can be asked
		if _, err := c.psctl(ctx, c.Hosts[0], "logs", fmt.Sprintf("web-%d", n), "--tail", "1"); err != nil {
			return err
		}
	}
	say("The Service has one address on every host, and an Ingress leads to it: whichever replica answers, wherever it runs")
	if _, err := c.psctl(ctx, c.Hosts[0], "get", "services"); err != nil {
		return err
	}
	if err := c.reached(ctx); err != nil {
		return err
	}
	say("And a second one, which is to be deleted")
	if err := c.apply(ctx, c.Hosts[0], trial.Deployment("old", len(c.Hosts), "")); err != nil {
		return err
	}
	_, err = c.run(ctx, "old", len(c.Hosts))
	return err
}

func (c *cluster) apply(ctx context.Context, h *street.Host, manifest string) error {
	cmd := c.command(ctx, h, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	_, err := show(cmd, h.Name+"$ psctl apply -f -")
	return err
}

const (
	oldPath   = "/apis/apps/v1/namespaces/default/deployments/old"
	aloneFile = "apiVersion: v1\nkind: Service\nmetadata: {name: made-alone}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n"
	alonePath = "/api/v1/namespaces/default/services/made-alone"
)

// cutOff cuts the last host off, and lets both sides go on.
func (c *cluster) cutOff(ctx context.Context) error {
	first, last := c.Hosts[0], c.Hosts[len(c.Hosts)-1]
	say(fmt.Sprintf("Cut %s off, and delete the second Deployment on %s meanwhile", last.Name, first.Name))
	c.CutOff(last.Number)
	if _, err := c.psctl(ctx, first, "delete", "deployment", "old"); err != nil {
		return err
	}
	there, err := c.has(ctx, last, oldPath)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%s has heard of the delete, cut off as it is", last.Name)
	}
	fmt.Printf("   %s has not heard of it: it shows the Deployment still, and runs its container\n", last.Name)
	say(fmt.Sprintf("%s is alone, no majority, and takes changes all the same: nobody is asked for leave", last.Name))
	return c.apply(ctx, last, aloneFile)
}

// heal puts the wire back.
func (c *cluster) heal(ctx context.Context) error {
	last := c.Hosts[len(c.Hosts)-1]
	say(fmt.Sprintf("Heal the cut: %s catches up, the delete stays deleted, and what was made on it is everywhere", last.Name))
	c.Heal()
	began := time.Now()
	if err := c.everywhere(ctx, oldPath, false); err != nil {
		return err
	}
	if err := c.everywhere(ctx, alonePath, true); err != nil {
		return err
	}
	fmt.Printf("   all hosts show the same after %.1f s\n", time.Since(began).Seconds())
	if _, err := c.run(ctx, "old", 0); err != nil {
		return err
	}
	fmt.Println("   and no container of the deleted Deployment runs any more, anywhere")
	if err := c.everywhere(ctx, oldPath, false); err != nil {
		return fmt.Errorf("it came back: %w", err)
	}
	for _, args := range [][]string{{"get", "deployments"}, {"get", "services"}} {
		if _, err := c.psctl(ctx, last, args...); err != nil {
			return err
		}
	}
	return nil
}

// powerCut kills the second host, and its replicas move.
func (c *cluster) powerCut(ctx context.Context) error {
	first, victim := c.Hosts[0], c.Hosts[1]
	say(fmt.Sprintf("Cut the power of %s: agent, Podman and containers are gone, and nobody was told", victim.Name))
	began := time.Now()
	if err := victim.PowerOff(); err != nil {
		return err
	}
	fmt.Printf("   its replicas move once it has been silent for %v (--reschedule-after; a minute unless told)\n", reschedule)
	at, err := c.run(ctx, "web", 3)
	if err != nil {
		return err
	}
	fmt.Printf("   three replicas run again after %.1f s\n", time.Since(began).Seconds())
	for _, args := range [][]string{{"nodes"}, {"get", "pods", "-o", "wide"}} {
		if _, err := c.psctl(ctx, first, args...); err != nil {
			return err
		}
	}
	if err := c.answering(ctx, at); err != nil {
		return err
	}
	return c.reached(ctx)
}

// powerBack brings the second host back, and nothing runs twice.
func (c *cluster) powerBack(ctx context.Context) error {
	victim := c.Hosts[1]
	say(fmt.Sprintf("Power for %s again: it catches up before it acts, and does not start what has moved", victim.Name))
	if err := victim.PowerOn(ctx); err != nil {
		return err
	}
	if err := c.start(ctx, victim); err != nil {
		return err
	}
	if err := until(ctx, func() error { return c.sees(ctx, victim, len(c.Hosts)) }); err != nil {
		return err
	}
	at, err := c.run(ctx, "web", 3)
	if err != nil {
		return err
	}
	if err := c.answering(ctx, at); err != nil {
		return err
	}
	if err := until(ctx, func() error { return c.agree(ctx, victim) }); err != nil {
		return err
	}
	if _, err := c.psctl(ctx, victim, "status"); err != nil {
		return err
	}
	say("The log knows who did what: the delete, the moves and their reasons, on every host alike")
	_, err = c.psctl(ctx, victim, "events", "deployment/old", "deployment/web")
	return err
}

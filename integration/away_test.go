package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// Failure A.14: what was deleted comes back. Ours: a Deployment is deleted while a host with replicas of it has no agent. When that host's agent
// is back it removes them, whether they ran on or were stopped; the Deployment stays deleted on all hosts, and what is not ours is
// not touched, not even under a replica's name.
func (c *trio) deletedWhileAway(t *testing.T) {
	c.allReady(t)
	here, away := c.Hosts[:2], c.Hosts[2]
	c.ok(t, here[0], trial.Deployment("old", 6, ""), "apply", "-f", "-")
	theirs := c.settled(t, c.Hosts, "old", 6)[2]
	if len(theirs) != 2 {
		t.Fatalf("%s has %v, want two of six replicas", away.Name, theirs)
	}
	podman := func(args ...string) string {
		t.Helper()
		out, err := away.Podman.Podman(t.Context(), args...)
		must(t, err)
		return strings.TrimSpace(out)
	}
	ids := []string{podman("run", "--detach", "--name", "bystander", "localhost/podman-swarm-web:1"),
		podman("run", "--detach", "--name", "old-0", "localhost/podman-swarm-web:1"), podman("create", "--name", "old-1", "localhost/podman-swarm-web:1")}
	notOurs := func() (of []trial.Container) {
		t.Helper()
		all, err := trial.Containers(t.Context(), away.Podman)
		must(t, err)
		for _, o := range all {
			for _, id := range ids {
				if o.ID == id {
					of = append(of, o)
				}
			}
		}
		return of
	}
	before := notOurs()
	if len(before) != len(ids) {
		t.Fatalf("not ours are %v, want %d", before, len(ids))
	}

	must(t, away.Agent.Kill())
	podman("stop", "--time", "0", theirs[0].ID)
	c.ok(t, here[0], "", "delete", "deployment", "old")
	for _, h := range here {
		c.without(t, h, "old")
	}
	all, err := trial.Containers(t.Context(), away.Podman)
	must(t, err)
	if got := trial.OfDeployment(all, "old"); len(got) != 2 || got[0].State == got[1].State {
		t.Fatalf("while its agent is away %s has %v, want one that runs and one that does not", away.Name, got)
	}
	must(t, away.Up(t.Context()))
	c.allReady(t)
	for _, h := range c.Hosts {
		c.without(t, h, "old")
	}
	for _, b := range trial.Bounced(before, notOurs()) {
		t.Errorf("%s: not ours, and not left alone: %s", away.Name, b)
	}
	podman(append([]string{"rm", "--force", "--time", "0"}, ids...)...)
	c.settled(t, c.Hosts, "web", 4)
}

// without waits until a host knows of no such Deployment, has no container of it, and has the state that all have.
func (c *trio) without(t *testing.T, h *street.Host, deployment string) {
	t.Helper()
	patiently(t, func() error {
		all, err := trial.Containers(t.Context(), h.Podman)
		if err != nil {
			return err
		}
		if of := trial.OfDeployment(all, deployment); len(of) > 0 {
			return fmt.Errorf("%s has containers of %s, which is deleted: %v", h.Name, deployment, of)
		}
		if out, code := c.run(t, h, "", "get", "deployment", deployment); code != 4 {
			return fmt.Errorf("%s shows %s, which is deleted: exit code %d: %s", h.Name, deployment, code, out)
		}
		var st struct {
			Agree string `json:"agree_since"`
		}
		if err := trial.JSON(t.Context(), h.Client(), h.URL()+"/swarm/v1/status", &st); err != nil {
			return err
		}
		if st.Agree == "" {
			return fmt.Errorf("%s does not see that all have one state", h.Name)
		}
		return nil
	})
}

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) status() *cobra.Command {
	var check, watch bool
	c := &cobra.Command{
		Use:        "status",
		SuggestFor: []string{"info", "cluster-info", "top"},
		Short:      "Tell how the agent, its host and the cluster are doing, and whatever needs a look",
		Long: `status tells how the agent and its host are doing, and, as that host sees them, the others: who is alive, how far each is
behind, and whether all have the same state. Each line that needs a look begins with "!", and says what to do; of each
replica that does not run, or has not been moved, it says why. With --check the exit code is 1 when there is such a line.

-o json gives all of it: what psctl nodes gives of the hosts is under "hosts", replicas under "not_running" and "not_moved",
each with "why", and whatever else needs a look under "problems", of the hosts too, each as {"what", "why", "do"}.`,
		Example: `  psctl status
  psctl status --watch
  psctl status --check || mail -s 'podman swarm' ops@example.com`,
		Args: usageArgs(cobra.NoArgs, "status takes no arguments"),
	}
	form := output(c, asJSON, asYAML)
	c.Flags().BoolVar(&check, "check", false, "end with exit code 1 when something needs a look")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it anew as it changes, until interrupted")
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, _ []string) error {
		if check && watch {
			return usage("--check looks once, and --watch goes on: take one of them")
		}
		if !check {
			return p.looked(c.Context(), "/swarm/v1/status", form.value, watch, p.statusText)
		}
		raw, err := p.ask(c.Context(), "/swarm/v1/status")
		if err != nil {
			return err
		}
		st, err := readAs[client.Status]("status", raw)
		if err != nil {
			return err
		}
		if form.value != asTable {
			err = p.value(raw, form.value)
		} else {
			err = p.showStatus(&st)
		}
		if err == nil && len(p.concerns(&st)) > 0 {
			err = errTold
		}
		return err
	}
	return c
}

func (p *program) showStatus(st *client.Status) error {
	text, err := p.statusOf(st)
	if err != nil {
		return err
	}
	return p.printf("%s", text)
}

func (p *program) statusText(raw []byte) (string, error) {
	st, err := readAs[client.Status]("status", raw)
	if err != nil {
		return "", err
	}
	return p.statusOf(&st)
}

func (p *program) statusOf(st *client.Status) (string, error) {
	var b strings.Builder
	g := newPage(&b)
	g.line("Host", st.Host)
	g.line("Agent", st.Version+" at "+p.address())
	g.line("Cluster", p.clusterLine(st))
	g.line("Log", plural(int(st.Index), "event")+led(", the last ", p.since(st.At)))
	g.line("Replicas", fmt.Sprintf("%d of %d running", st.Running, st.Replicas))
	if st.SnapshotAge != nil {
		g.line("state.json", "written "+(time.Duration(*st.SnapshotAge*float64(time.Second))).Round(time.Second).String()+" ago")
	}
	g.w.Flush()
	if len(st.Hosts) > 1 {
		b.WriteString("\n")
		if err := p.hostTable(st.Hosts, false).write(&b, false); err != nil {
			return "", err
		}
		b.WriteString("\n")
	}
	all := p.concerns(st)
	for _, c := range all {
		b.WriteString("! " + c + "\n")
	}
	if len(all) == 0 {
		b.WriteString("Nothing needs a look.\n")
	}
	return b.String(), nil
}

// clusterLine says how many hosts there are, and whether they agree; "" of a host that is alone.
func (p *program) clusterLine(st *client.Status) string {
	if len(st.Hosts) < 2 {
		return ""
	}
	alive := 0
	for i := range st.Hosts {
		if st.Hosts[i].State == "alive" {
			alive++
		}
	}
	text := fmt.Sprintf("%d hosts, %d alive", len(st.Hosts), alive)
	if st.Cluster != "" {
		text = st.Cluster + ", " + text
	}
	switch {
	case !st.Agree.IsZero():
		text += "; all that are alive agree since " + p.clock(st.Agree)
	case alive > 1:
		text += "; not known to agree"
	}
	return text
}

// concerns is what needs a look, with what to do.
func (p *program) concerns(st *client.Status) []string {
	var all []string
	add := func(worry bool, format string, a ...any) {
		if worry {
			all = append(all, fmt.Sprintf(format, a...))
		}
	}
	add(st.Recovering != "", "recovering: %s. Changes may be refused until it is done; psctl recovery tells how far it is", st.Recovering)
	add(st.ReadOnly != "", "read-only: %s. Containers run on; make room, and it ends by itself", st.ReadOnly)
	add(st.Podman != "", "Podman is out of reach: %s. Is podman.socket running?  systemctl status podman.socket", st.Podman)
	add(st.SnapshotError != "", "state.json is not written: %s. The log is not touched by that", st.SnapshotError)
	for _, x := range st.Refused {
		add(true, "%s of the old state.json could not be declared: %s. Declare it yourself; psctl status -o json has all that was said of it", x.Key, x.Why)
	}
	add(st.BackupError != "", "no backup can be made: %s. It is tried again each minute", st.BackupError)
	for _, x := range st.Problems {
		all = append(all, x.What+": "+x.Why+led(". ", x.Do))
	}
	add(st.Conflicts > 0, "%s: psctl conflicts lists what was changed by two at once", plural(st.Conflicts, "conflict"))
	add(st.Orphans > 0, "%s that nothing explains, left running: psctl orphans lists them", plural(st.Orphans, "container"))
	add(st.OrphansError != "", "orphans are not known: %s", st.OrphansError)
	for _, n := range st.NotRunning {
		add(true, "%s", replicaConcern("does not run", n))
	}
	for _, n := range st.NotMoved {
		add(true, "%s", replicaConcern("is not moved", n))
	}
	return all
}

// replicaConcern says of a replica what is wrong with it, and why.
func replicaConcern(what string, n client.NotRunning) string {
	where := ""
	if n.Host != "" {
		where = " on " + n.Host
	}
	if what == "is not moved" {
		where = " from " + n.Host
	}
	namespace, pod, _ := strings.Cut(n.Pod, "/")
	return fmt.Sprintf("pod %s %s%s: %s  (psctl describe pod/%s%s)", n.Pod, what, where, oneLine(n.Why, 250), pod, inNamespace(namespace))
}

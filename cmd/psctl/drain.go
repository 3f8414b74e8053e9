package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) drain() *cobra.Command {
	var timeout time.Duration
	var on spread
	var form *format
	c := &cobra.Command{
		Use:   "drain NAME",
		Short: "Move what runs on a host elsewhere, and wait for that",
		Long: `drain has a host be given no new replicas, and has what runs there move to others. It returns when nothing is left
there but what cannot move: then it says what that is, and why, and ends with exit code 1. When --timeout is over it ends
with exit code 5; the host goes on being drained. uncordon ends that.
-o json gives {"host", "drained": nothing is left, "left": [{"pod", "host", "why", "stays": it cannot move}], "starting": those that are elsewhere and
not ready yet}, also with those exit codes; how far it is goes to standard error then.

` + spreadHelp + `
That comes before what runs there moves.`,
		Example: `  psctl drain host2 && ssh host2 systemctl poweroff
  psctl drain host2 --timeout 10m`,
		Args: usageArgs(cobra.ExactArgs(1), "drain which host? psctl nodes lists them; psctl drain NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			if timeout <= 0 {
				return usage("--timeout %v: want a time span like 5m", timeout)
			}
			d := &drainer{program: p, host: hostName(args[0]), form: form.value, moved: map[string]bool{}}
			return d.run(c.Context(), timeout, &on)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	form = output(c, asJSON, asYAML)
	on.flags(c)
	p.causeFlag(c)
	c.ValidArgsFunction = p.completeHosts
	return c
}

// drainer waits for a host to be rid of its replicas.
type drainer struct {
	*program
	c     *client.Client
	host  string
	form  string
	moved map[string]bool // pods that were there, by NAMESPACE/NAME
	since time.Time       // since when nothing is left but what stays; zero: there is more
	stood string          // what that is
}

// left is what a drained host still has, and what of it is still on its way elsewhere.
type left struct {
	here     []client.NotRunning // still there
	stays    int                 // of those, how many cannot move
	starting []string            // elsewhere, and not ready yet
}

func (d *drainer) run(ctx context.Context, timeout time.Duration, on *spread) (err error) {
	if d.c, err = d.client(); err != nil {
		return err
	}
	if err := d.remember(ctx); err != nil {
		return err
	}
	if _, err := d.hostDo(ctx, d.host, "drain", "psctl drain "+d.host, nil, &on.Spread); err != nil {
		return err
	}
	if on.WaitFor == "" {
		return d.told(ctx, timeout)
	}
	return on.before(d.program, sameCommand, func() error { return d.told(ctx, timeout) })
}

// told waits, and tells what it came to.
func (d *drainer) told(ctx context.Context, timeout time.Duration) error {
	l, err := d.wait(ctx, timeout)
	if d.form == asTable {
		if err != nil {
			return err
		}
		return d.printf("node/%s drained: nothing is left there. psctl uncordon %[1]s gives it replicas again.\n", d.host)
	}
	if l == nil {
		return err // nothing is known of it
	}
	raw, err2 := json.Marshal(struct {
		Host     string              `json:"host"`
		Drained  bool                `json:"drained"`
		Left     []client.NotRunning `json:"left"`
		Starting []string            `json:"starting"`
	}{d.host, err == nil, append([]client.NotRunning{}, l.here...), append([]string{}, l.starting...)})
	if err2 == nil {
		err2 = d.value(raw, d.form)
	}
	return errors.Join(err, err2)
}

// wait returns when the host is rid of them, or of all that can move, with what was seen last; nil: nothing.
func (d *drainer) wait(ctx context.Context, timeout time.Duration) (l *left, err error) {
	host, to := d.host, d.out
	if d.form != asTable {
		to = d.err
	}
	show := d.newProgress(to)
	within, cancel := context.WithTimeout(ctx, timeout) // of a look too: an agent may take the connection and be silent
	defer cancel()
	every := time.NewTicker(look)
	defer every.Stop()
	for {
		if now, err := d.look(within, l); err == nil {
			l = now
		} else if within.Err() == nil {
			return nil, err
		}
		if l != nil {
			show.show([]progressLine{{name: "node/" + host, text: l.text()}})
			if len(l.here)+len(l.starting) == 0 {
				return l, nil
			}
			if d.settled(l) {
				return l, fmt.Errorf("%s on %s, which is given nothing new:\n%s\nStop it where it may be stopped (psctl scale, psctl delete), or take the "+
					"host down as it is. psctl uncordon %s gives it replicas again", plural(len(l.here), "replica")+" cannot move and stay", host, l.whys(), host)
			}
		}
		select {
		case <-within.Done():
		case <-every.C:
			continue
		}
		if ctx.Err() != nil {
			return l, &interruptedError{fmt.Sprintf("interrupted. Host %s goes on being drained. To go on waiting:  psctl drain %s\nTo end it:  psctl uncordon %s", host, host, host)}
		}
		return l, &timeoutError{fmt.Sprintf("time is up after %v, and host %s still has:\n%s\nIt goes on being drained. To go on waiting:  "+
			"psctl drain %s\nTo end it:  psctl uncordon %s", timeout, host, l.whys(), host, host)}
	}
}

// pods are all pods.
func (d *drainer) pods(ctx context.Context) ([]corev1.Pod, error) {
	var l corev1.PodList
	err := d.c.Get(ctx, the("Pod").list(""), nil, &l)
	return l.Items, err
}

// remember notes what runs on the host before it is drained.
func (d *drainer) remember(ctx context.Context) error {
	pods, err := d.pods(ctx)
	for i := range pods {
		if pods[i].Spec.NodeName == d.host {
			d.moved[pods[i].Namespace+"/"+pods[i].Name] = true
		}
	}
	return err
}

// look looks once; while the agent is away, what was seen last stands.
func (d *drainer) look(ctx context.Context, before *left) (*left, error) {
	pods, err := d.pods(ctx)
	var st client.Status
	if err == nil {
		err = d.c.Get(ctx, "/swarm/v1/status", nil, &st)
	}
	switch {
	case client.IsUnreachable(err) || client.IsUnavailable(err):
		return before, nil
	case err != nil:
		return nil, err
	}
	whys := map[string]client.NotRunning{}
	for _, n := range append(st.NotRunning, st.NotMoved...) {
		whys[n.Pod] = n
	}
	l := &left{}
	for i := range pods {
		pod := &pods[i]
		name := pod.Namespace + "/" + pod.Name
		switch {
		case pod.Spec.NodeName == d.host:
			n := whys[name]
			n.Pod = name
			d.moved[name] = true
			l.here = append(l.here, n)
			if n.Stays {
				l.stays++
			}
		case d.moved[name] && !ready(pod):
			status, message := podState(pod)
			text := name + " on " + pod.Spec.NodeName + ": " + status
			if pod.Spec.NodeName == "" {
				text = name + ": " + status
			}
			l.starting = append(l.starting, text+led(": ", oneLine(message, 200)))
		}
	}
	return l, nil
}

// settled reports whether nothing is left but what cannot move, for long enough to believe that.
func (d *drainer) settled(l *left) bool {
	if len(l.starting) > 0 || l.stays < len(l.here) {
		d.since = time.Time{}
		return false
	}
	if now := l.whys(); d.since.IsZero() || d.stood != now {
		d.since, d.stood = d.now(), now
	}
	return d.now().Sub(d.since) >= steady
}

// text is how far it is, on a line.
func (l *left) text() string {
	var parts []string
	if n := len(l.here); n > 0 {
		text := plural(n, "replica") + " left"
		if first := l.here[0]; first.Why != "" {
			text += "; " + first.Pod + ": " + oneLine(first.Why, 120)
		}
		parts = append(parts, text)
	}
	if n := len(l.starting); n > 0 {
		parts = append(parts, fmt.Sprintf("%d starting elsewhere; %s", n, l.starting[0]))
	}
	if len(parts) == 0 {
		return "nothing left"
	}
	return strings.Join(parts, "; ")
}

// whys is what is left, and why, a line each.
func (l *left) whys() string {
	if l == nil {
		return "  what is not known: the agent does not answer"
	}
	var lines []string
	for _, n := range l.here {
		lines = append(lines, "  "+n.Pod+led(": ", oneLine(n.Why, 300)))
	}
	for _, text := range l.starting {
		lines = append(lines, "  "+text)
	}
	return strings.Join(lines, "\n")
}

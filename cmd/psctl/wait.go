package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// deployment names a Deployment.
type deployment struct{ namespace, name string }

func (d deployment) String() string { return "deployment " + d.namespace + "/" + d.name }

// owns reports whether the pod is a replica of the Deployment.
func (d deployment) owns(pod *corev1.Pod) bool {
	n, ok := strings.CutPrefix(pod.Name, d.name+"-")
	_, err := strconv.Atoi(n)
	return ok && err == nil && pod.Namespace == d.namespace
}

// waiter waits for Deployments to run as told, and tells how far they are.
type waiter struct {
	*program
	c        *client.Client
	progress *progress
	told     map[string]bool   // hold-ups that have been shown
	logs     map[string]string // by pod and container: the end of its log as shown
	runs     map[string]seen   // by pod: its present run
	away     bool              // the agent does not answer
}

// seen is one run of a pod's containers, and since when a waiter sees it.
type seen struct {
	run   string
	since time.Time
}

const (
	// look is how often a waiter looks, on a connection that stays open.
	look = 250 * time.Millisecond

	// steady is how long replicas must have run before a waiter believes in them: a container that ends as soon as it
	// has read its configuration has been running and ready for a moment too. Docker Swarm waits as long.
	steady = 5 * time.Second
)

// standing is how far a Deployment is.
type standing struct {
	deployment
	done  bool
	text  string
	holds []holdup
	hosts []string // of replicas that are not ready
}

// waitFor returns when every Deployment runs as told and its replicas have for long enough. It tells what holds a replica
// up as soon as that is known, goes on until timeout is over, and then returns a timeoutError. A restart of the agent does
// not end it.
func (p *program) waitFor(ctx context.Context, c *client.Client, ds []deployment, timeout time.Duration, to io.Writer) error {
	if len(ds) == 0 {
		p.note("no Deployments to wait for")
		return nil
	}
	w := &waiter{program: p, c: c, progress: p.newProgress(to), told: map[string]bool{}, logs: map[string]string{}, runs: map[string]seen{}}
	within, cancel := context.WithTimeout(ctx, timeout) // of a look too: an agent may take the connection and be silent
	defer cancel()
	every := time.NewTicker(look)
	defer every.Stop()
	var all []standing
	for {
		began := w.now()
		now, err := w.stand(within, ds)
		switch {
		case err != nil && within.Err() == nil:
			return err
		case err == nil || w.now().Sub(began) > time.Second: // else time was up while the agent answered, and what was seen last counts
			all = now
		}
		if all != nil && !unfinished(all) {
			return nil
		}
		select {
		case <-within.Done():
		case <-every.C:
			continue
		}
		if ctx.Err() != nil {
			return &interruptedError{"interrupted. What was changed stands and is still being carried out. To go on waiting: " +
				"psctl rollout status deployment/" + ds[0].name + inNamespace(ds[0].namespace)}
		}
		return w.timeUp(ds, all, timeout)
	}
}

func unfinished(all []standing) bool {
	for _, s := range all {
		if !s.done {
			return true
		}
	}
	return false
}

// stand looks once at all Deployments and shows what is new. It returns nil while the agent does not answer.
func (w *waiter) stand(ctx context.Context, ds []deployment) ([]standing, error) {
	var all []standing
	for _, d := range ds {
		s, err := w.one(ctx, d)
		switch {
		case client.IsUnreachable(err) || client.IsUnavailable(err):
			if !w.away {
				w.progress.say(fmt.Sprintf("%v; waiting for it to come back", err))
			}
			w.away = true
			return nil, nil
		case err != nil:
			return nil, err
		}
		all = append(all, s)
	}
	if w.away {
		w.progress.say("the agent is back")
	}
	w.away = false
	for _, s := range all {
		for _, h := range s.holds {
			if key := s.namespace + "/" + h.pod + "/" + h.container + "/" + h.reason; !w.told[key] {
				w.told[key] = true
				w.progress.say(w.describe(ctx, s.namespace, h))
			}
		}
	}
	if err := w.tellHosts(ctx, all); err != nil {
		return nil, err
	}
	var lines []progressLine
	for _, s := range all {
		lines = append(lines, progressLine{s.String(), s.text, s.done})
	}
	w.progress.show(lines)
	return all, nil
}

// tellHosts says of hosts that are not ready themselves that this is what their replicas wait for.
func (w *waiter) tellHosts(ctx context.Context, all []standing) error {
	var hosts []string
	for _, s := range all {
		hosts = append(hosts, s.hosts...)
	}
	if len(hosts) == 0 {
		return nil
	}
	var l corev1.NodeList
	if err := w.c.Get(ctx, the("Node").list(""), nil, &l); err != nil {
		if client.IsUnreachable(err) || client.IsUnavailable(err) || client.IsForbidden(err) {
			return nil // the next look says so; and hosts are no concern of who may not see them
		}
		return err
	}
	for i := range l.Items {
		n, key := &l.Items[i], "host "+l.Items[i].Name
		bad := slices.IndexFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue
		})
		if bad < 0 {
			delete(w.told, key)
		} else if slices.Contains(hosts, n.Name) && !w.told[key] {
			w.told[key] = true
			w.progress.say(fmt.Sprintf("  host %s is not ready: %s (psctl status)", n.Name, n.Status.Conditions[bad].Message))
		}
	}
	return nil
}

func (w *waiter) one(ctx context.Context, d deployment) (standing, error) {
	dk := the("Deployment")
	var o appsv1.Deployment
	if err := w.c.Get(ctx, dk.one(d.namespace, d.name), nil, &o); client.IsNotFound(err) {
		return standing{}, notFound("%s is not there: it was deleted while it was waited for", d)
	} else if err != nil {
		return standing{}, err
	}
	s := standing{deployment: d}
	pods, err := podsOf(ctx, w.c, &o)
	if err != nil {
		return standing{}, err
	}
	if s.done, s.text = rolledOut(&o); s.done {
		if !w.steady(pods) {
			s.done, s.text = false, fmt.Sprintf("%d of %d replicas ready; seeing for %v that they stay up", o.Status.AvailableReplicas, wanted(&o), steady)
		}
		return s, nil
	}
	for i := range pods {
		if pods[i].Spec.NodeName != "" && !ready(&pods[i]) {
			s.hosts = append(s.hosts, pods[i].Spec.NodeName)
		}
		holds := heldUp(&pods[i])
		s.holds = append(s.holds, holds...)
		if status, _ := podState(&pods[i]); status != string(corev1.PodRunning) && status != string(corev1.PodPending) {
			s.text += fmt.Sprintf("; %s: %s", pods[i].Name, status)
		}
	}
	return s, nil
}

// steady reports whether every pod has run for long enough: as its host says, or as seen from here, where the host's
// clock is not trusted to agree with ours.
func (w *waiter) steady(pods []corev1.Pod) bool {
	all, now := true, w.now()
	for i := range pods {
		pod, run, started := &pods[i], "", time.Time{}
		for _, c := range pod.Status.ContainerStatuses {
			run += fmt.Sprintf("%s %d ", c.ContainerID, c.RestartCount)
			if c.State.Running != nil && c.State.Running.StartedAt.After(started) {
				started = c.State.Running.StartedAt.Time
			}
		}
		key := pod.Namespace + "/" + pod.Name
		if w.runs[key].run != run {
			w.runs[key] = seen{run, now}
		}
		if now.Sub(w.runs[key].since) < steady && (started.IsZero() || now.Sub(started) < steady) {
			all = false
		}
	}
	return all
}

// ready reports whether a pod has containers and all of them are ready.
func ready(p *corev1.Pod) bool {
	return len(p.Status.ContainerStatuses) > 0 &&
		!slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return !c.Ready })
}

// rolledOut reports whether all replicas of a Deployment run its newest template, and how far it is.
func rolledOut(d *appsv1.Deployment) (bool, string) {
	want, st := wanted(d), d.Status
	switch {
	case st.ObservedGeneration < d.Generation:
		return false, "not taken up yet"
	case st.UpdatedReplicas < want:
		return false, fmt.Sprintf("%d of %d replicas updated, %d ready", st.UpdatedReplicas, want, st.ReadyReplicas)
	case st.AvailableReplicas < want:
		return false, fmt.Sprintf("%d of %d replicas ready", st.AvailableReplicas, want)
	case st.Replicas > want:
		return false, fmt.Sprintf("%d of %d replicas ready, %d still to go", want, want, st.Replicas-want)
	}
	return true, fmt.Sprintf("%d of %d replicas ready: done", st.AvailableReplicas, want)
}

// podsOf gives the replicas of a Deployment.
func podsOf(ctx context.Context, c *client.Client, d *appsv1.Deployment) ([]corev1.Pod, error) {
	k := the("Pod")
	q := url.Values{}
	if d.Spec.Selector != nil {
		q.Set("labelSelector", metav1.FormatLabelSelector(d.Spec.Selector))
	}
	var l corev1.PodList
	if err := c.Get(ctx, k.list(d.Namespace), q, &l); err != nil {
		return nil, err
	}
	var own []corev1.Pod
	for _, pod := range l.Items {
		if (deployment{d.Namespace, d.Name}).owns(&pod) {
			own = append(own, pod)
		}
	}
	return own, nil
}

// describe is a hold-up in full, with the last lines of the container's log.
func (w *waiter) describe(ctx context.Context, namespace string, h holdup) string {
	text := "  pod " + namespace + "/" + h.pod
	if h.container != "" {
		text += ", container " + h.container
	}
	text += ": " + h.reason
	if h.message != "" {
		text += ": " + oneLine(h.message, 1000)
	}
	if !h.logs {
		return text
	}
	lines, err := tail(ctx, w.c, namespace, h.pod, 10)
	if err != nil {
		return text + "\n    (its log cannot be read: " + oneLine(err.Error(), 200) + ")"
	}
	end, key := strings.Join(lines, "\n"), namespace+"/"+h.pod+"/"+h.container
	if end == w.logs[key] {
		return text // what it wrote has been shown
	}
	if w.logs != nil {
		w.logs[key] = end
	}
	for _, line := range lines {
		text += "\n    | " + strings.ReplaceAll(line, "\t", "    ")
	}
	return text
}

// timeUp says how things stand when time is up. What holds replicas up has been told by then, and is named again.
func (w *waiter) timeUp(ds []deployment, all []standing, timeout time.Duration) error {
	if all == nil {
		return &timeoutError{fmt.Sprintf("time is up after %v, and the agent at %s does not answer, so it is not known how %s stands. "+
			"The change itself stands", timeout, w.c.Server(), ds[0])}
	}
	var left, see []string
	for _, s := range all {
		if !s.done {
			left = append(left, fmt.Sprintf("%s: %s", s.deployment, s.text))
			see = append(see, "psctl describe deployment/"+s.name+inNamespace(s.namespace))
		}
	}
	return &timeoutError{fmt.Sprintf("time is up after %v:\n  %s\nThe change itself stands and is still being carried out. "+
		"To see how:\n  %s", timeout, strings.Join(left, "\n  "), strings.Join(see, "\n  "))}
}

// inNamespace is what a command needs to find an object that is not in the default namespace.
func inNamespace(namespace string) string {
	if namespace == "" || namespace == "default" {
		return ""
	}
	return " -n " + namespace
}

// tail gives the last lines of a pod's log.
func tail(ctx context.Context, c *client.Client, namespace, pod string, n int) ([]string, error) {
	k := the("Pod")
	b, err := c.Ask(ctx, k.one(namespace, pod)+"/log", url.Values{"tailLines": {strconv.Itoa(n)}})
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(b), "\n")
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}

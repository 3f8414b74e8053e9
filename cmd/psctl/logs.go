package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) logs() *cobra.Command {
	l := &logReader{program: p}
	c := &cobra.Command{
		Use:   "logs POD | deployment/NAME",
		Short: "Print what a replica's container wrote, or that of all replicas of a Deployment",
		Long: `logs prints what a replica's container wrote. Of a Deployment with several replicas it prints the logs of all of them,
each line after the name of its pod; with -f as they are written. A container that has ended is started again in place, and
its log goes on: why an earlier run ended stands before the lines of this one. An init container is gone, and its log with it,
once the others run.`,
		Example: `  psctl logs web-0 --tail 100
  psctl logs deployment/web -f
  psctl logs web-0 --since 10m`,
		Args: usageArgs(cobra.ExactArgs(1), "logs of what? psctl logs POD, or psctl logs deployment/NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case l.every && l.container != "":
				return usage("--all-containers and -c NAME: want one of them")
			case l.tail < -1:
				return usage("--tail %d: want 0 or more, or -1 for all", l.tail)
			case l.since < 0:
				return usage("--since %v: want a time span like 10m", l.since)
			}
			return l.run(c.Context(), args[0])
		},
	}
	c.Flags().BoolVarP(&l.follow, "follow", "f", false, "go on with what is written from now on, until interrupted")
	c.Flags().Int64Var(&l.tail, "tail", -1, "only so many lines from the end; -1: all")
	c.Flags().DurationVar(&l.since, "since", 0, "only what is not older than this, such as 10m")
	c.Flags().StringVarP(&l.container, "container", "c", "", "name of the container, which need not be given where a pod has one")
	c.Flags().BoolVar(&l.every, "all-containers", false, "of all containers of a pod, each line after POD/CONTAINER")
	c.Flags().BoolVar(&l.timestamps, "timestamps", false, "the time in front of each line")
	c.ValidArgsFunction = p.completeNamed("deployment", true)
	return c
}

// logReader is one logs.
type logReader struct {
	*program
	follow, timestamps bool
	container          string
	every              bool // of the pod's containers
	tail               int64
	since              time.Duration

	writing sync.Mutex // of lines of several pods
}

func (l *logReader) run(ctx context.Context, arg string) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	pods, err := l.pods(ctx, c, arg)
	if err != nil {
		return err
	}
	from, err := l.sources(ctx, c, pods)
	if err != nil {
		return err
	}
	if len(from) == 1 {
		return l.one(ctx, c, from[0], "")
	}
	if !l.follow { // one after the other, so that the order of lines says something
		for _, s := range from {
			err = errors.Join(err, l.one(ctx, c, s, s.name+": "))
		}
		return err
	}
	return l.all(ctx, c, from)
}

// logSource is one log: that of a container of a pod; "" for the only one.
type logSource struct{ pod, container, name string }

// sources are the logs that are meant of the pods.
func (l *logReader) sources(ctx context.Context, c *client.Client, pods []string) (all []logSource, err error) {
	for _, name := range pods {
		if !l.every {
			all = append(all, logSource{name, l.container, name})
			continue
		}
		var pod corev1.Pod
		if err := c.Get(ctx, the("Pod").one(l.ns(), name), nil, &pod); client.IsNotFound(err) {
			return nil, notFound("%s", l.absent(the("Pod"), name))
		} else if err != nil {
			return nil, err
		}
		for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			if t := s.State.Terminated; t == nil || t.ExitCode != 0 { // else it is an init container that is gone, and its log with it
				all = append(all, logSource{name, s.Name, name + "/" + s.Name})
			}
		}
	}
	return all, nil
}

// all follows the logs of several pods. That one cannot be followed, or has ended, is told at once: the others may go on for ever.
func (l *logReader) all(ctx context.Context, c *client.Client, from []logSource) error {
	var told error
	var wg sync.WaitGroup
	for _, s := range from {
		wg.Go(func() {
			err := l.one(ctx, c, s, s.name+": ")
			l.writing.Lock()
			defer l.writing.Unlock()
			switch {
			case ctx.Err() != nil:
			case err == nil:
				l.note("the log of pod %s/%s has ended", l.ns(), s.name)
			case told == nil: // and what to do about it
				l.note("psctl: %s", l.explain(err))
				told = errors.Join(errTold, err)
			default:
				l.note("psctl: %v", err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return told
}

// pods are the replicas that are meant.
func (l *logReader) pods(ctx context.Context, c *client.Client, arg string) ([]string, error) {
	if !strings.Contains(arg, "/") {
		return []string{arg}, nil
	}
	ts, err := targets([]string{arg})
	if err != nil {
		return nil, err
	}
	name := ts[0].names[0]
	switch ts[0].Kind {
	case "Pod":
		return []string{name}, nil
	case "Deployment":
	default:
		return nil, usage("%q: want a pod, or deployment/NAME", arg)
	}
	var d appsv1.Deployment
	if err := c.Get(ctx, ts[0].one(l.ns(), name), nil, &d); client.IsNotFound(err) {
		return nil, notFound("%s", l.absent(ts[0].kind, name))
	} else if err != nil {
		return nil, err
	}
	pods, err := podsOf(ctx, c, &d)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	if len(names) == 0 {
		return nil, notFound("deployment %q in namespace %s has no replicas", name, l.ns())
	}
	slices.Sort(names)
	return names, nil
}

// one prints one log, each line after the prefix.
func (l *logReader) one(ctx context.Context, c *client.Client, s logSource, prefix string) error {
	pod := s.pod
	q := url.Values{}
	set := func(key, value string, given bool) {
		if given {
			q.Set(key, value)
		}
	}
	set("follow", "true", l.follow)
	set("container", s.container, s.container != "")
	set("timestamps", "true", l.timestamps)
	set("tailLines", strconv.FormatInt(l.tail, 10), l.tail >= 0)
	set("sinceSeconds", strconv.FormatInt(int64(math.Ceil(l.since.Seconds())), 10), l.since > 0)
	body, err := c.Open(ctx, client.Request{Path: the("Pod").one(l.ns(), pod) + "/log", Query: q})
	if err != nil {
		if client.IsNotFound(err) {
			var o corev1.Pod
			if client.IsNotFound(c.Get(ctx, the("Pod").one(l.ns(), pod), nil, &o)) {
				return notFound("%s; psctl get pods%s lists them, and of all replicas of a Deployment there is psctl logs deployment/NAME",
					l.absent(the("Pod"), pod), inNamespace(l.ns()))
			}
			return fmt.Errorf("log of pod %s/%s: %v", l.ns(), pod, err) // the pod is there: the exit code must not say that it is not
		}
		return fmt.Errorf("log of pod %s/%s: %w", l.ns(), pod, err)
	}
	defer body.Close()
	r := bufio.NewReader(body)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			if err := l.write(prefix, line); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return nil
		default:
			return fmt.Errorf("log of pod %s/%s broke off: %w", l.ns(), pod, err)
		}
	}
}

// write writes one line whole, beside others that do the same.
func (l *logReader) write(prefix, line string) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if prefix != "" && !strings.HasSuffix(line, "\n") {
		line += "\n"
	}
	return l.printf("%s%s", prefix, line)
}

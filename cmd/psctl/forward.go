package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
	"github.com/podman-swarm/podman-swarm/cmd/internal/pipe"
)

// forwardProtocol is what the agent's route wants to be asked for.
const forwardProtocol = "podman-swarm-forward/1"

func (p *program) portForward() *cobra.Command {
	f := &forwarder{program: p}
	c := &cobra.Command{
		Use:        "port-forward svc/NAME | pod/NAME | deployment/NAME [LOCAL:]PORT…",
		SuggestFor: []string{"forward", "tunnel"},
		Short:      "Lead a port of this machine to a replica, through the agent",
		Long: `port-forward listens on a port of this machine's loopback and leads each connection to a replica, through the agent that is asked: of a
Service to one that is ready, of a Deployment to one that runs, those on the agent's own host first. PORT is a number or a name: of a Service its
port, of the others the container's. LOCAL is the same number where it is not given; 0, and a name, take any that is free.

It takes scope write. TCP only. Each connection looks for a replica anew, so it goes on when replicas come and go; it ends when interrupted.`,
		Example: `  psctl port-forward svc/web 8080:80
  psctl port-forward pod/db-0 5432
  psctl port-forward deploy/web 0:http`,
		Args: usageArgs(cobra.MinimumNArgs(2), "forward which port to what? Such as: psctl port-forward svc/web 8080:80"),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), args[0], args[1:]) },
	}
	c.Flags().StringVar(&f.address, "address", "127.0.0.1", "address to listen on; who can reach it can reach the replica")
	return c
}

// forwarder is one port-forward.
type forwarder struct {
	*program
	address string

	c       *client.Client
	what    string // svc/web, as it was asked for
	path    []string
	saying  sync.Mutex
	serving sync.WaitGroup
}

// forwarded is what the agent says of where a connection would be led.
type forwarded struct {
	Pod     string `json:"pod"`
	Host    string `json:"host"`
	Port    int    `json:"port"`
	Address string `json:"address"`
}

func (f *forwarder) run(ctx context.Context, what string, ports []string) error {
	word, name, ok := strings.Cut(what, "/")
	if !ok {
		word, name = "pod", what
	}
	k, err := kindOf(word)
	if err != nil {
		return err
	}
	if k.Kind != "Service" && k.Kind != "Pod" && k.Kind != "Deployment" || name == "" {
		return usage("%q: want svc/NAME, pod/NAME or deployment/NAME", what)
	}
	if f.c, err = f.client(); err != nil {
		return err
	}
	f.what, f.path = k.singular+"/"+name, []string{"swarm", "v1", "forward", f.ns(), k.singular, name}
	ctx, cancel := context.WithCancel(ctx)
	defer f.serving.Wait()
	defer cancel()
	for _, text := range ports {
		if err := f.listen(ctx, text); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// listen takes connections for one port until ctx ends. Whether there is anything behind it is asked first.
func (f *forwarder) listen(ctx context.Context, text string) error {
	local, remote, ok := strings.Cut(text, ":")
	if !ok {
		local, remote = text, text
		if _, err := strconv.Atoi(text); err != nil {
			local = "0"
		}
	}
	if _, err := strconv.ParseUint(local, 10, 16); remote == "" || local != "" && err != nil {
		return usage("%q: want [LOCAL:]PORT, such as 8080:80", text)
	}
	path := client.Path(append(append([]string{}, f.path...), remote)...)
	var to forwarded
	if err := f.c.Get(ctx, path, nil, &to); err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(f.address, local))
	if err != nil {
		return fmt.Errorf("listen for %s: %w", f.what, err)
	}
	where := to.Address
	if to.Pod != "" {
		where = fmt.Sprintf("%s on %s, port %d", to.Pod, to.Host, to.Port)
	}
	if err := f.printf("Forwarding from %s -> %s:%s (now %s)\n", l.Addr(), f.what, remote, where); err != nil {
		return errors.Join(err, l.Close())
	}
	context.AfterFunc(ctx, func() { l.Close() })
	f.serving.Go(func() {
		f.take(ctx, l, func(conn net.Conn) { f.serve(ctx, conn, path, remote) })
	})
	return nil
}

// take takes connections until ctx ends. One that cannot be taken, such as while there are too many open files, is not the last.
func (f *forwarder) take(ctx context.Context, l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err == nil {
			f.serving.Go(func() { serve(conn) })
			continue
		}
		if ctx.Err() == nil {
			f.say("%s: a connection cannot be taken; trying again: %v", f.what, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

func (f *forwarder) say(format string, a ...any) {
	f.saying.Lock()
	defer f.saying.Unlock()
	f.note(format, a...)
}

// serve leads one connection on.
func (f *forwarder) serve(ctx context.Context, conn net.Conn, path, remote string) {
	defer conn.Close()
	there, err := f.c.Connect(ctx, path, forwardProtocol)
	if err != nil {
		if ctx.Err() == nil {
			f.say("a connection to %s:%s was closed: %v", f.what, remote, err)
		}
		return
	}
	defer there.Close()
	defer context.AfterFunc(ctx, func() { conn.Close(); there.Close() })()
	pipe.Join(conn, conn, there)
}

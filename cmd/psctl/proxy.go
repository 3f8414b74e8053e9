package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) proxy() *cobra.Command {
	port := 8001
	c := &cobra.Command{
		Use:   "proxy",
		Short: "Serve the agent's API on this machine's loopback, with your credentials",
		Long: `proxy serves the API of the agent on a port of this machine's loopback, and asks the agent with the token or certificate that psctl has, for
programs that have none: curl, a browser (/ui/), kubectl --server. Every user of this machine can use it while it runs. Requests of web pages of
another origin, and by another name than localhost, are refused. It ends when interrupted.`,
		Example: `  psctl proxy --port 8001 &
  curl http://localhost:8001/api/v1/namespaces/default/pods`,
		Args: usageArgs(cobra.NoArgs, "proxy takes no arguments: psctl proxy --port 8001"),
		RunE: func(c *cobra.Command, _ []string) error {
			if port < 0 || port > 65535 {
				return usage("--port %d: want a port, or 0 for any that is free", port)
			}
			return p.serveProxy(c.Context(), port)
		},
	}
	c.Flags().IntVarP(&port, "port", "p", port, "port to listen on; 0: any that is free")
	return c
}

func (p *program) serveProxy(ctx context.Context, port int) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx) // streams end with it
	defer cancel()
	srv := &http.Server{Handler: c.Proxy(func(err error) { p.note("%v", err) }), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: log.New(io.Discard, "", 0)}
	if err := p.printf("The API of %s is at http://%s\n", c.Server(), l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	err = errors.Join(context.Cause(ctx), srv.Close())
	<-served
	return err
}

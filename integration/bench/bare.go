package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// bare is NATS servers with a route between any two, over mutual TLS on loopback, and a client in this process on each:
// what sync stands on, and nothing else.
type bare struct {
	servers []*server.Server
	clients []*nats.Conn
	heard   []chan struct{} // by client but the first: one for each message that came
}

const bareSubject = "bench.commit"

func openBare(ctx context.Context, n int) (b *bare, err error) {
	b = &bare{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%d bare NATS servers: %w", n, err), b.close())
		}
	}()
	issuer, err := newIssuer()
	if err != nil {
		return b, err
	}
	for i := range n {
		if err := b.add(issuer, i); err != nil {
			return b, err
		}
		if err := b.routes(ctx, i, i); err != nil {
			return b, err
		}
	}
	for i := range n {
		if err := b.routes(ctx, i, n-1); err != nil {
			return b, err
		}
	}
	return b, b.connected(ctx)
}

func (b *bare) add(issuer *issuer, i int) error {
	secure, err := issuer.config(fmt.Sprintf("bare%d", i))
	if err != nil {
		return err
	}
	o := &server.Options{ServerName: fmt.Sprintf("bare%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		NoSystemAccount: true, Cluster: server.ClusterOpts{Name: "bare", Host: "127.0.0.1", Port: server.RANDOM_PORT, PoolSize: -1,
			NoAdvertise: true, TLSConfig: secure, TLSTimeout: 10, ConnectRetries: 1000,
			Compression: server.CompressionOpts{Mode: server.CompressionOff}}}
	if i > 0 {
		o.Routes = []*url.URL{{Scheme: "nats-route", Host: b.servers[0].ClusterAddr().String()}}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	b.servers = append(b.servers, s)
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("a NATS server is not ready after 10 s")
	}
	c, err := nats.Connect("", nats.InProcessServer(s), nats.NoEcho())
	if err != nil {
		return err
	}
	b.clients = append(b.clients, c)
	if i == 0 {
		return nil
	}
	heard := make(chan struct{}, 1<<17)
	b.heard = append(b.heard, heard)
	sub, err := c.Subscribe(bareSubject, func(*nats.Msg) { heard <- struct{}{} })
	if err != nil {
		return err
	}
	return errors.Join(sub.SetPendingLimits(-1, -1), c.Flush())
}

// routes waits until a server has so many routes.
func (b *bare) routes(ctx context.Context, i, want int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, 20*time.Millisecond, func() error {
		if got := b.servers[i].NumRoutes(); got != want {
			return fmt.Errorf("%s has %d routes, want %d", b.servers[i].Name(), got, want)
		}
		return nil
	})
}

// connected waits until what the first client publishes comes to all.
func (b *bare) connected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, 200*time.Millisecond, func() error { // the hellos of before may still come
		for i, heard := range b.heard {
			if len(heard) == 0 {
				return errors.Join(fmt.Errorf("client %d hears nothing", i+1), b.clients[0].Publish(bareSubject, []byte("hello")))
			}
		}
		return idle(ctx, 200*time.Millisecond)
	})
}

// send publishes a message so many times, and returns when all others have all of them.
func (b *bare) send(ctx context.Context, message []byte, times int) error {
	for _, heard := range b.heard {
		for len(heard) > 0 {
			<-heard
		}
	}
	for range times {
		if err := b.clients[0].Publish(bareSubject, message); err != nil {
			return err
		}
	}
	lost := time.NewTimer(30 * time.Second)
	defer lost.Stop()
	for _, heard := range b.heard {
		for range times {
			select {
			case <-heard:
			case <-lost.C:
				return errors.New("a message of bare NATS was lost")
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func (b *bare) close() error {
	for _, c := range b.clients {
		c.Close()
	}
	for _, s := range b.servers {
		s.Shutdown()
		s.WaitForShutdown()
	}
	return nil
}

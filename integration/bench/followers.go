package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// followers measures (r): what a thousand who follow the log, a hundred of whom do not read, cost whoever changes
// something, and the agent's memory. With them and without is measured in turns.
func (b *bench) followers(ctx context.Context) (rows []row, err error) {
	s, err := b.openStreet(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	all, err := newObjects(objectSize)
	if err != nil {
		return nil, err
	}
	version := 1
	post := func() error {
		version++
		manifest := bytes.Replace(all.of(version%100, version), []byte(`"replicas":3`), []byte(`"replicas":0`), 1)
		_, err := trial.Apply(ctx, s.api, s.agent.URL(), string(manifest))
		return err
	}
	turns, each := b.scale(4, 1), b.scale(500, 20)
	begin := func() error { return errors.Join(s.agent.Up(ctx), s.apply(ctx, 100, 1)) }
	// What as many changes take without anybody who follows, which is the log's part and the state's: of an agent of its own.
	if err := errors.Join(begin(), interleave(ctx, 2*turns*each, timed("apply", post))); err != nil {
		return nil, err
	}
	was, err := resident(s.agent.Pid(), "VmHWM")
	if err := errors.Join(err, s.agent.Kill(), os.RemoveAll(s.agent.DataDir), begin()); err != nil {
		return nil, err
	}
	alone, watched := timed("apply", post), timed("apply, followed", post)
	if err := interleave(ctx, b.scale(100, 5), alone); err != nil {
		return nil, err
	}
	alone.took = nil
	n, stalled := b.scale(1000, 50), b.scale(100, 5)
	var told int64
	for range turns {
		if err := interleave(ctx, each, alone); err != nil {
			return nil, err
		}
		c := &audience{}
		if err := c.join(ctx, s.agent.Addr, n, stalled); err != nil {
			return nil, errors.Join(err, c.leave())
		}
		if err := errors.Join(interleave(ctx, each, watched), c.leave()); err != nil {
			return nil, err
		}
		told += c.bytes.Load()
	}
	most, err := resident(s.agent.Pid(), "VmHWM")
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%s who follow, %d of them do not read", count(n), stalled)
	for _, q := range []struct {
		name string
		of   float64
	}{{"median", 0.5}, {"p99", 0.99}} {
		ours, theirs := watched.quantile(q.of), alone.quantile(q.of)
		ratio := float64(ours) / float64(theirs)
		rows = append(rows, row{Figure: "r  apply with " + what + ", " + q.name, Ours: span(ours), With: "nobody follows", Theirs: span(theirs), Ratio: ratio}.
			aim("<= 1.2", ratio <= 1.2))
	}
	rows[1].Note = fmt.Sprintf("%d applies with and without, in turns of %d, one after the other; they were sent %s, and those who read them share this machine's cores",
		len(watched.took), each, size(float64(told)))
	return append(rows, row{Figure: "r  memory at most, with " + what, Ours: size(most), With: "as many applies, nobody follows", Theirs: size(was), Ratio: most / was}.
		aim("<= 100 MB more", most-was <= 100e6)), nil
}

// audience are those who follow the log.
type audience struct {
	conns []net.Conn
	all   sync.WaitGroup
	bytes atomic.Int64
}

// join has n follow what is to come, of whom some read nothing but the head of the answer.
func (c *audience) join(ctx context.Context, addr string, n, stalled int) error {
	for i := range n {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conn)
		if i < stalled { // so that little fits between
			if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(conn, "GET /swarm/v1/events?follow=true&since=0s HTTP/1.1\r\nHost: %s\r\n\r\n", addr); err != nil {
			return err
		}
		in := bufio.NewReaderSize(conn, 4096)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("follow the log: %w", errors.Join(err, errors.New("want 200")))
		}
		if i >= stalled {
			c.all.Go(func() {
				n, _ := io.Copy(io.Discard, resp.Body) // until the connection is closed
				c.bytes.Add(n)
			})
		}
	}
	return nil
}

// leave ends all.
func (c *audience) leave() error {
	var err error
	for _, conn := range c.conns {
		err = errors.Join(err, conn.Close())
	}
	c.all.Wait()
	return err
}

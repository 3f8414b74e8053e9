package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

// quiet measures (l): what hosts say to each other while nothing happens, and what one more host costs in memory.
func (b *bench) quiet(ctx context.Context) (rows []row, err error) {
	sizes := b.clusterSizes()[1:]
	var all []*cluster
	var memory []float64
	for _, n := range sizes {
		before, err := settled()
		if err != nil {
			return nil, err
		}
		c, err := openCluster(ctx, b.dir, n, n > onDisk, objectSize)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		if err := errors.Join(c.join(ctx), c.fill(ctx, clusterObjects)); err != nil {
			return nil, err
		}
		after, err := settled()
		if err != nil {
			return nil, err
		}
		memory, all = append(memory, (after-before)/float64(n)), append(all, c)
	}
	window := quietWindow
	if b.short {
		window = 4 * time.Second
	}
	if err := idle(ctx, 5*time.Second); err != nil { // the digests are known by then, and in the beats
		return nil, err
	}
	was := make([]said, len(all))
	for i, c := range all {
		was[i] = c.said()
	}
	if err := idle(ctx, window); err != nil {
		return nil, err
	}
	for i, c := range all {
		is, n := c.said(), float64(sizes[i])
		perMinute := func(v uint64) float64 { return float64(v) / n / window.Minutes() }
		messages, bytes := perMinute(is.messages-was[i].messages), perMinute(is.bytes-was[i].bytes)
		wire := bytes + messages*perMessage
		rows = append(rows, row{Figure: fmt.Sprintf("l  sent while idle by each of %d hosts", sizes[i]), Ours: sizeOf(int64(wire)) + "/min",
			With: "the same messages, empty", Theirs: sizeOf(int64(messages*perMessage)) + "/min", Ratio: wire / (messages * perMessage)}.
			note("%s messages a minute to %d others, of %.0f bytes each and %d more for NATS, TLS, TCP and Ethernet; %s objects in the state",
				count(int(messages)), sizes[i]-1, bytes/messages, perMessage, count(clusterObjects)),
			row{Figure: fmt.Sprintf("l  memory for each of %d hosts in one process", sizes[i]), Ours: sizeOf(int64(memory[i]))})
	}
	return rows, nil
}

// quietWindow is how long is listened: the longest of what comes at intervals comes every 30 s.
const quietWindow = 30 * time.Second

// perMessage is what a message costs on the wire beyond its own bytes: the line of NATS before it, a TLS record, the heads
// of TCP, IP and Ethernet, and half a frame that acknowledges.
const perMessage = 40 + 22 + 66 + 33

// said is what all hosts of a cluster have sent, as NATS counts it for each route.
type said struct{ messages, bytes uint64 }

func (c *cluster) said() (all said) {
	for _, h := range c.hosts {
		for _, r := range h.mesh.Routes() {
			all.messages += r.MsgsOut
			all.bytes += r.BytesOut
		}
	}
	return all
}

// settled is how much memory this process holds once what is garbage has been given back.
func settled() (float64, error) {
	debug.FreeOSMemory()
	return resident(os.Getpid(), "VmRSS")
}

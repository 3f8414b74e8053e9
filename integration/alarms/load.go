package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// load is clients that write to every host, read from it and follow its events, whatever becomes of it.
type load struct {
	requests, failed atomic.Int64
	rests            atomic.Bool // nobody writes
}

// run goes on until ctx ends.
func (l *load) run(ctx context.Context, hosts []*street.Host, seed uint64) {
	var all sync.WaitGroup
	for _, h := range hosts {
		rnd := rand.New(rand.NewPCG(seed, uint64(h.Number)+1))
		all.Go(func() { l.write(ctx, h, rnd) })
		all.Go(func() { l.follow(ctx, h) })
	}
	all.Wait()
}

func (l *load) write(ctx context.Context, h *street.Host, rnd *rand.Rand) {
	transport := &http.Transport{DialContext: h.Dial, MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for ctx.Err() == nil {
		if l.rests.Load() {
			pause(ctx, 100*time.Millisecond)
			continue
		}
		name := fmt.Sprintf("load-%s-%d", h.Name, rnd.IntN(20))
		var err error
		switch dice := rnd.IntN(10); {
		case dice < 6:
			_, err = trial.Apply(ctx, client, h.URL(), service(name, 1+rnd.IntN(60000), ""))
		case dice < 7:
			var status *trial.StatusError
			if err = trial.Delete(ctx, client, h.URL(), "Service", name); errors.As(err, &status) && status.Code == http.StatusNotFound {
				err = nil
			}
		default:
			_, err = trial.Do(ctx, client, http.MethodGet, h.URL()+"/api/v1/services", "")
		}
		if ctx.Err() != nil {
			return
		}
		if l.requests.Add(1); err != nil {
			l.failed.Add(1)
		}
		pause(ctx, time.Duration(rnd.IntN(400))*time.Millisecond)
	}
}

// follow follows the events of a host from now on, again and again.
func (l *load) follow(ctx context.Context, h *street.Host) {
	client := &http.Client{Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}}
	for ; ctx.Err() == nil; pause(ctx, time.Second) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL()+"/swarm/v1/events?follow=true&since=1s", nil)
		if err != nil {
			return // never
		}
		resp, err := client.Do(req)
		if err != nil {
			continue
		}
		for lines := bufio.NewReader(resp.Body); err == nil; {
			_, err = lines.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				err = nil
			}
		}
		_ = resp.Body.Close() // it has ended
	}
}

// service is the manifest of a Service.
func service(name string, port int, note string) string {
	annotations := ""
	if note != "" {
		annotations = fmt.Sprintf(", annotations: {note: %q}", note)
	}
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s%s}\nspec: {ports: [{port: %d}]}\n", name, annotations, port)
}

// placed is the manifest of a Deployment whose replicas run an image, on that host alone.
func placed(name, host, image string, replicas int, args string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  replicas: %d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      nodeSelector: {host: %[3]s}
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: %[4]q, imagePullPolicy: Never, args: [%[5]s]}]
`, name, replicas, host, image, args)
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// BenchmarkMetrics_apply is what it costs to measure one change: its commit and its request, each with the event that it names.
func BenchmarkMetrics_apply(b *testing.B) {
	m, id := newMetrics(), events.ID{Inc: 1, Seq: 1}
	b.ReportAllocs()
	for b.Loop() {
		m.observe(time.Millisecond, 1000, 1)
		m.committed(time.Millisecond, id)
		m.answered(api.Answered{Method: "POST", Route: "/api/v1/manifests", Code: 200, Took: time.Millisecond, Event: id})
	}
}

// BenchmarkMetrics_scrape is what one scrape of a host with 10,000 objects costs.
func BenchmarkMetrics_scrape(b *testing.B) {
	dir := b.TempDir()
	log, err := events.Open(dir, events.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	ledger, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- ledger.Run(ctx) }()
	defer func() { cancel(); <-done }()
	_, err = ledger.Record(ctx, projection.By{}, func(*projection.State) (all []projection.Change, _ error) {
		for i := range 10_000 {
			name := fmt.Sprintf("object-%05d", i)
			object, err := json.Marshal(map[string]any{"kind": "Service", "metadata": map[string]any{"name": name, "namespace": "default"}, "spec": map[string]any{"ports": []any{map[string]any{"port": 80}}}})
			if err != nil {
				return nil, err
			}
			all = append(all, projection.Change{Kind: events.Declared, Key: "service/default/" + name, Object: object})
		}
		return all, nil
	})
	if err != nil {
		b.Fatal(err)
	}
	m := newMetrics()
	backups := &snapshot.Backups{Dir: dir, Ledger: ledger}
	a := &agent{c: &config{NodeName: "a"}, ledger: ledger}
	m.registry.MustRegister(&hostFigures{time.Now(), log, ledger, &snapshot.View{Ledger: ledger}, &snapshot.Folds{Dir: dir}, backups, a.stuck},
		&containers{&podman.Reconciler{}})
	b.ReportAllocs()
	for b.Loop() {
		promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(&recorder{}, &http.Request{Method: "GET", Header: http.Header{}})
	}
}

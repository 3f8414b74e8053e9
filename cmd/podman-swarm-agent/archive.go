package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// archive is what is done about backups beside making them. None of it holds a change up, and what goes wrong with it is said, in the
// status and as a metric.
type archive struct {
	drill *snapshot.Drill
}

func (a *agent) openArchive() {
	a.archive.drill = &snapshot.Drill{Backups: a.backups, Log: a.part("backup")}
}

// actors are what goes on while the agent lives.
func (r *archive) actors() []func(context.Context) error {
	return []func(context.Context) error{r.drill.Run}
}

// problems is what needs a look.
func (r *archive) problems() (all []api.Problem) {
	if err := r.drill.Said().Failed; err != nil {
		all = append(all, api.Problem{What: "the newest backup cannot be restored from", Why: err.Error(),
			Do: "psctl backup create makes another; psctl backup verify all says which are whole. Look at the disk"})
	}
	return all
}

// Describe sends nothing: what Collect sends is all there is.
func (r *archive) Describe(chan<- *prometheus.Desc) {}

// Collect sends how it goes.
func (r *archive) Collect(out chan<- prometheus.Metric) {
	send := sending(out)
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	drilled, verified := r.drill.Said(), 0.0
	if !drilled.At.IsZero() {
		verified = float64(drilled.At.Unix())
	}
	send(gauge, "backup_last_verified_timestamp_seconds", "When a backup was last read from the disk and found whole; 0: not since the start.", verified)
	send(counter, "backup_drills_total", "How often the newest backup was read to find out whether it is whole.", float64(drilled.Count))
	send(counter, "backup_drill_errors_total", "How often it was not.", float64(drilled.Errors))
}

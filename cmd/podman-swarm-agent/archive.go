package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/bucket"
)

// archive is what is done about backups beside making them. None of it holds a change up, and what goes wrong with it is said, in the
// status and as a metric.
type archive struct {
	drill      *snapshot.Drill
	increments *snapshot.Increments
	trimmer    *snapshot.Trimmer
	copies     *snapshot.Copies
}

func (a *agent) backupDir() string { return cmp.Or(a.c.BackupDir, a.c.DataDir) }

func (a *agent) openArchive() {
	a.archive.drill = &snapshot.Drill{Backups: a.backups, Log: a.part("backup")}
	every := a.c.BackupIncrementInterval
	a.archive.increments = &snapshot.Increments{Backups: a.backups, Source: a.events, Every: every,
		All: a.c.logKeep != logKeep{} || a.events.First() > 1, Log: a.part("backup")} // what was once trimmed is nowhere else
	a.archive.trimmer = &snapshot.Trimmer{Source: a.events, Increments: a.archive.increments, Drill: a.archive.drill, Folds: a.folds,
		Age: a.c.logKeep.age, Bytes: a.c.logKeep.bytes, Log: a.part("log")}
	if every > 0 {
		a.backups.Of = a.archive.increments.Of
	}
	a.archive.copies = &snapshot.Copies{Backups: a.backups, To: a.c.to, Log: a.part("backup")}
}

// actors are what goes on while the agent lives.
func (r *archive) actors() []func(context.Context) error {
	return []func(context.Context) error{r.drill.Run, r.increments.Run, r.trimmer.Run, r.copies.Run}
}

// problems is what needs a look.
func (r *archive) problems() (all []api.Problem) {
	if err := r.drill.Said().Failed; err != nil {
		all = append(all, api.Problem{What: "the newest backup cannot be restored from", Why: err.Error(),
			Do: "psctl backup create makes another; psctl backup verify all says which are whole. Look at the disk"})
	}
	if err := r.increments.Said().Failed; err != nil {
		all = append(all, api.Problem{What: "what was changed since the last backup is in none", Why: err.Error(), Do: "It is tried again; the log has it"})
	}
	if err := r.trimmer.Said().Failed; err != nil {
		all = append(all, api.Problem{What: "the log cannot be trimmed", Why: err.Error(), Do: "It is kept as it is, and tried again; psctl backup verify all says which backups are whole"})
	}
	if said := r.copies.Said(); said.Failed != nil {
		all = append(all, api.Problem{What: "backups are not copied elsewhere", Why: fmt.Sprintf("%v; %d of them are not there", said.Failed, said.Missing),
			Do: "It is tried again; those here are not touched by that"})
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
	if copied := r.copies.Said(); r.copies.To != nil {
		at := 0.0
		if !copied.At.IsZero() {
			at = float64(copied.At.Unix())
		}
		send(gauge, "backup_copy_last_success_timestamp_seconds", "When all backups were last seen to be at --backup-to; 0: not since the start.", at)
		send(gauge, "backup_copies_missing", "Backups and increments that are here and not there.", float64(copied.Missing))
		send(gauge, "backup_copies_missing_bytes", "Their size.", float64(copied.Bytes))
		send(counter, "backup_copies_total", "Files copied there since the start of the agent.", float64(copied.Count))
		send(counter, "backup_copy_errors_total", "Tries that did not copy all.", float64(copied.Errors))
	}
	send(gauge, "log_first_index", "Index of the first event in the log; what was before is with the backups.", float64(r.trimmer.Source.First()))
	waits := 0.0
	if said := r.trimmer.Said(); said.Waits != "" || said.Failed != nil {
		waits = 1
	}
	send(gauge, "log_trim_waiting", "1 while more of the log is there than is to be kept, since what it goes behind is not there yet.", waits)
	if inc := r.increments.Said(); r.increments.Every > 0 {
		send(gauge, "backup_increment_index", "Index of the last event that is in an increment beside the backups.", float64(inc.Last))
		send(gauge, "backup_increments", "Increments there are.", float64(inc.Pieces))
		send(gauge, "backup_increment_bytes", "Size of all of them.", float64(inc.Bytes))
		send(counter, "backup_increments_total", "Increments made since the start of the agent.", float64(inc.Made))
		send(counter, "backup_increment_errors_total", "Tries that made none although there was something to keep.", float64(inc.Errors))
	}
}

// storeAt is the place that --backup-to names; nil where it is "". Errors have nothing of what was given, since people put secrets into addresses.
func storeAt(where, backups string) (snapshot.Store, error) {
	switch {
	case where == "":
		return nil, nil
	case strings.Contains(where, "://"):
		b, err := bucket.Open(where)
		if err != nil { // and not a nil that is none
			return nil, err
		}
		return b, nil
	}
	abs, err := filepath.Abs(where)
	if err != nil {
		return nil, err
	}
	if abs == backups || strings.HasPrefix(abs, filepath.Join(backups, snapshot.IncrementsFolder)) {
		return nil, errors.New("that is where the backups are: want another disk")
	}
	return snapshot.FolderStore(abs), nil
}

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

// backupsApart reports whether the folder of the backups is outside the data dir, and so perhaps on another disk, which may not be mounted.
func (c *config) backupsApart() bool {
	return c.BackupDir != "" && !strings.HasPrefix(c.BackupDir+"/", strings.TrimSuffix(c.DataDir, "/")+"/")
}

func (a *agent) openArchive() {
	if a.empty { // nothing can be on a disk that is not mounted
		if err := a.backups.MakeDir(); err != nil {
			a.log.Error("the folder of the backups cannot be made", "err", err)
		}
	}
	a.archive.drill = &snapshot.Drill{Backups: a.backups, Log: a.part("backup")}
	every := a.c.BackupIncrementInterval
	a.archive.increments = &snapshot.Increments{Backups: a.backups, Source: a.events, Every: every,
		All: a.c.logKeep != logKeep{} || a.events.First() > 1, Log: a.part("backup")} // what was once trimmed is nowhere else
	a.archive.trimmer = &snapshot.Trimmer{Source: a.events, Increments: a.archive.increments, Drill: a.archive.drill, Folds: a.folds,
		Age: a.c.logKeep.age, Bytes: a.c.logKeep.bytes, Log: a.part("log")}
	if every > 0 {
		a.backups.Of, a.restorer.Increments = a.archive.increments.Find, a.archive.increments
	}
	a.archive.copies = &snapshot.Copies{Backups: a.backups, To: a.c.to, Log: a.part("backup")}
}

// actors are what goes on while the agent lives.
func (r *archive) actors() []func(context.Context) error {
	return []func(context.Context) error{r.drill.Run, r.increments.Run, r.trimmer.Run, r.copies.Run}
}

// problems is what needs a look.
func (r *archive) problems() (all []api.Problem) {
	if err := r.drill.Backups.Made().Stays; err != nil {
		all = append(all, api.Problem{What: "old backups are not removed", Why: err.Error(),
			Do: "The others are, unless none is whole: then psctl backup create makes one that is. It is tried again after each backup; psctl backup prune tries now"})
	}
	if err := r.drill.Said().Failed; err != nil {
		all = append(all, api.Problem{What: "the newest backup cannot be restored from", Why: err.Error(),
			Do: "psctl backup create makes another; psctl backup verify all says which are whole. Look at the disk"})
	}
	if err := r.increments.Said().Failed; err != nil {
		all = append(all, api.Problem{What: "what was changed since the last backup is in none", Why: err.Error(), Do: "It is tried again; the log has it"})
	}
	if err := r.increments.Said().Stays; err != nil {
		all = append(all, api.Problem{What: "increments that no backup needs are not removed", Why: err.Error(),
			Do: "Backups and increments go on. Move a backup that psctl backup verify all calls damaged out of " + r.increments.Backups.Dir + ", with what stands beside it"})
	}
	if err := r.trimmer.Said().Failed; err != nil {
		all = append(all, api.Problem{What: "the log cannot be trimmed", Why: err.Error(), Do: "It is kept as it is, and tried again; psctl backup verify all says which backups are whole"})
	}
	if said := r.copies.Said(); said.Failed != nil {
		all = append(all, api.Problem{What: "backups are not copied elsewhere", Why: fmt.Sprintf("%v; %d of them are not there", said.Failed, said.Missing),
			Do: "It is tried again; those here are not touched by that. Of one that is damaged here what is there stays: psctl backup verify all"})
	}
	return all
}

// Describe sends nothing: what Collect sends is all there is.
func (r *archive) Describe(chan<- *prometheus.Desc) {}

// Collect sends how it goes.
func (r *archive) Collect(out chan<- prometheus.Metric) {
	f := figures{out}
	drilled := r.drill.Said()
	f.gauge("backup_last_verified_timestamp_seconds", "When a backup was last read from the disk and found whole, as far as this host can open it; 0: not since the start.", timestamp(drilled.At))
	f.gauge("backup_damaged", "1 while the newest backup that was read from the disk is not whole.", truth(drilled.Failed != nil))
	f.counter("backup_drills_total", "How often the newest backup was read to find out whether it is whole.", float64(drilled.Count))
	f.counter("backup_drill_errors_total", "How often it was not.", float64(drilled.Errors))
	if copied := r.copies.Said(); r.copies.To != nil {
		f.gauge("backup_copy_last_success_timestamp_seconds", "When all backups were last seen to be at --backup-to; 0: not since the start.", timestamp(copied.At))
		f.gauge("backup_copies_missing", "Backups and increments that are here and not there.", float64(copied.Missing))
		f.gauge("backup_copies_missing_bytes", "Their size.", float64(copied.Bytes))
		f.counter("backup_copies_total", "Files copied there since the start of the agent.", float64(copied.Count))
		f.counter("backup_copy_errors_total", "Tries that did not copy all.", float64(copied.Errors))
	}
	f.gauge("log_first_index", "Index of the first event in the log; what was before is with the backups.", float64(r.trimmer.Source.First()))
	said := r.trimmer.Said()
	f.gauge("log_trim_waiting", "1 while more of the log is there than is to be kept, since what it goes behind is not there yet.",
		truth(said.Waits != "" || said.Failed != nil))
	if inc := r.increments.Said(); r.increments.Every > 0 {
		f.gauge("backup_increment_index", "Index of the last event that is in an increment beside the backups.", float64(inc.Last))
		f.gauge("backup_increments", "Increments there are.", float64(inc.Pieces))
		f.gauge("backup_increment_bytes", "Size of all of them.", float64(inc.Bytes))
		f.gauge("backup_increment_failing", "1 while the newest try has made none although there was something to keep.", truth(inc.Failed != nil))
		f.counter("backup_increments_total", "Increments made since the start of the agent.", float64(inc.Made))
		f.counter("backup_increment_errors_total", "Tries that made none although there was something to keep.", float64(inc.Errors))
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

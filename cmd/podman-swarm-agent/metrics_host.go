package main

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// hostFigures collects what there is to say of this host's log, state and backups.
type hostFigures struct {
	started time.Time
	log     *events.Log
	ledger  *projection.Ledger
	view    *snapshot.View
	folds   *snapshot.Folds
	backups *snapshot.Backups
	stuck   func() int // replicas that are not where they should be
}

// Describe sends nothing: what Collect sends is all there is.
func (h *hostFigures) Describe(chan<- *prometheus.Desc) {}

// Collect sends all of it. Log and state are looked at once each, so that the figures of one scrape fit together.
func (h *hostFigures) Collect(out chan<- prometheus.Metric) {
	f := figures{out}
	f.gauge("build_info", "Always 1; the version of the agent.", 1, "version", version)
	h.ofLog(f)
	h.ofState(f)
	h.ofBackups(f)
}

func (h *hostFigures) ofLog(f figures) {
	st := h.log.Stats()
	f.gauge("log_index", "Index of the last event in the log.", float64(st.End.Index))
	f.gauge("log_bytes", "Size of the log.", float64(st.Bytes))
	f.gauge("log_segments", "Files that the log is in.", float64(st.Segments))
	if st.Free >= 0 { // else the disk does not say
		f.gauge("log_free_bytes", "Free space on the log's disk.", float64(st.Free))
	}
	f.gauge("log_reserve_bytes", "Room that is kept for the log, to end what it writes when the disk is full.", float64(st.Reserve))
	f.gauge("read_only", "1 while changes are refused since the log cannot be written.", truth(st.Writable != nil))

	stats := h.ledger.Stats()
	for i, kind := range projection.Kinds() {
		f.counter("events_appended_total", "Events that this agent has recorded since it started.", float64(stats.Events[i].Load()), "kind", string(kind))
	}
	f.counter("commits_total", "Commits that this agent has recorded since it started.", float64(stats.Commits.Load()))
}

func (h *hostFigures) ofState(f figures) {
	v := h.ledger.View()
	f.gauge("conflicts", "Changes that lost without having been seen by what won.", float64(len(v.Conflicts())))
	unfinished := slices.DeleteFunc(snapshot.Restores(v.State), func(r snapshot.Restored) bool { return !r.Done.IsZero() || r.Over != "" })
	f.gauge("restores_unfinished", "Restores of any host that are begun and not done.", float64(len(unfinished)))
	f.gauge("replicas_stuck", "Replicas of the cluster that are placed nowhere, or on a host that is silent or to be left, as this host sees it.", float64(h.stuck()))
	f.gauge("state_file_age_seconds", "Age of state.json, or of the agent while that has not written it, when the log has gone on since; else 0.",
		behind(h.view.Written(), v.Index(), h.started, time.Now()))
	f.gauge("fold_snapshot_index", "Index of the newest snapshot of the fold; what came later is folded at a start.", float64(h.folds.Last()))
}

func (h *hostFigures) ofBackups(f figures) {
	var last snapshot.BackupFile
	if all, err := h.backups.List(); err == nil && len(all) > 0 && !all[len(all)-1].Ahead {
		last = all[len(all)-1]
	}
	made := h.backups.Made()
	f.gauge("backup_last_success_timestamp_seconds", "When the newest backup was made, by its name; 0: there is none, or only such as were made when the clock was ahead.", timestamp(last.Made))
	f.gauge("backup_bytes", "Size of the newest backup.", float64(last.Bytes))
	f.gauge("backup_interval_seconds", "Time between two backups, by --backup-interval; 0: they are made on demand only.", h.backups.Every.Seconds())
	f.gauge("backup_seconds", "How long the making of the newest backup took, since the start of the agent.", made.Took.Seconds())
	f.gauge("backup_failing", "1 while the newest try has made no backup.", truth(made.Failed != nil))
	f.gauge("backup_prune_failing", "1 while the newest try to remove old backups has left some that are not to be kept.", truth(made.Stays != nil))
	f.counter("backups_total", "Backups made since the start of the agent.", float64(made.Count))
	f.counter("backup_errors_total", "Backups that could not be made.", float64(made.Errors))
}

// behind is for how many seconds state.json has not been what the log is.
func behind(w *snapshot.Written, index uint64, started, now time.Time) float64 {
	switch {
	case w == nil || w.At.IsZero():
		return now.Sub(started).Seconds()
	case w.Index == index:
		return 0
	}
	return now.Sub(w.At).Seconds()
}

// containers collects what the reconciler says of itself.
type containers struct{ r *podman.Reconciler }

// Describe sends nothing: the labels of what Collect sends are not known before.
func (c *containers) Describe(chan<- *prometheus.Desc) {}

// Collect sends the recovery's report and the containers by phase.
func (c *containers) Collect(out chan<- prometheus.Metric) {
	f := figures{out}
	progress, stats := c.r.Progress(), c.r.Stats()
	c.ofRecovery(f, progress.Stage == podman.Ready)
	for _, phase := range []projection.Phase{projection.Pending, projection.Running, projection.Exited} {
		f.gauge("containers", "Replicas of this host by how they are doing.", float64(progress.Phases[phase]), "state", string(phase))
	}
	f.gauge("containers_crash_looping", "Replicas of this host that wait to be started again, since they ended shortly after their start, again and again.", float64(progress.Looping))
	f.gauge("orphans", "Containers of ours that nothing explains.", float64(len(c.r.Orphans())))
	f.gauge("podman_up", "1 while this host's Podman answers.", truth(progress.Podman == "" && stats.Passes.Load() > 0))
	f.counter("container_restarts_total", "Containers that had exited and were started again.", float64(stats.Restarts.Load()))
	f.counter("containers_created_total", "Containers made.", float64(stats.Created.Load()))
	f.counter("containers_started_total", "Containers started, new ones and those that had exited.", float64(stats.Started.Load()))
	f.counter("containers_removed_total", "Containers removed.", float64(stats.Removed.Load()))
	f.counter("reconcile_passes_total", "Times that all containers of this host were listed.", float64(stats.Passes.Load()))
	f.counter("reconcile_errors_total", "Lists and steps that ended in an error.", float64(stats.Errors.Load()))
}

func (c *containers) ofRecovery(f figures, ready bool) {
	report := c.r.Report()
	f.gauge("recovered", "1 once the recovery after the last start is done.", truth(ready))
	f.gauge("recovery_started_timestamp_seconds", "When the last recovery began.", timestamp(report.Started))
	f.gauge("recovery_finished_timestamp_seconds", "When it was done; 0: it goes on.", timestamp(report.Done))
	for result, is := range map[string]bool{
		"running":   report.Done.IsZero(),
		"succeeded": !report.Done.IsZero() && report.Failed == 0 && report.Bounced == 0,
		"failed":    !report.Done.IsZero() && (report.Failed > 0 || report.Bounced > 0),
	} {
		f.gauge("recovery_result", "1 for what became of the last recovery: failed where a replica was tried in vain, or what ran as wanted was touched.",
			truth(is), "result", result)
	}
	for phase, seconds := range report.Seconds {
		f.gauge("recovery_seconds", "How long each phase of the last recovery took.", seconds, "phase", phase)
	}
	f.gauge("recovery_events_replayed", "Events folded from the log at the last start.", float64(report.Replayed))
	for outcome, n := range map[string]int{"adopted": report.Adopted, "started": report.Restart, "created": report.Created,
		"removed": report.Removed, "orphaned": report.Orphans, "failed": report.Failed, "bounced": report.Bounced} {
		f.gauge("recovery_containers", "What the last recovery did about containers.", float64(n), "outcome", outcome)
	}
}

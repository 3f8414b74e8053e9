package api

import (
	"net/http"
	"slices"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// AuditBackup is where the chains of hashes stood when a backup was made.
type AuditBackup struct {
	Name  string `json:"name,omitempty"` // as whoever asks calls it
	Node  string `json:"node"`           // the host that made it
	Heads []Mark `json:"heads"`
}

// readAuditBackup says where the chains stood in a backup that is sent, opened if it was sealed.
func (s *Server) readAuditBackup(q *request) error {
	data, err := q.body(maxBackup)
	if err != nil {
		return err
	}
	b, err := snapshot.ReadSent(data)
	if err != nil {
		return badRequest("%v", err)
	}
	return q.json(http.StatusOK, AuditBackup{Node: b.Node, Heads: nonNil(s.marksOf(b.State.Vector()))})
}

// marksOf are the places of a vector.
func (s *Server) marksOf(v []projection.Head) (marks []Mark) {
	for _, h := range v {
		if h.Seq > 0 {
			marks = append(marks, Mark{Host: s.Trail.Host(h.Inc), Incarnation: h.Inc, Seq: h.Seq, Hash: h.Hash})
		}
	}
	return marks
}

// knownByBackups adds what backups of this host know, and such as were brought. One of another host may have been ahead.
func (s *Server) knownByBackups(names []string, brought []AuditBackup, a *Audit, add func(string, []Mark, func(*Mark) bool)) error {
	for i := range brought {
		b := &brought[i]
		add("backup "+b.Name, slices.DeleteFunc(b.Heads, func(m Mark) bool { return m.Hash == events.Hash{} }), func(*Mark) bool { return b.Node != s.Node })
	}
	if len(names) == 0 {
		return nil
	}
	if s.Backups == nil {
		return notServed("backups")
	}
	if slices.Contains(names, "all") {
		files, err := s.Backups.List()
		if err != nil {
			return err
		}
		names = nil
		for _, f := range files {
			names = append(names, f.Name)
		}
	}
	for _, name := range names {
		if _, err := s.Backups.Stat(name); err != nil {
			return noBackup(name, err)
		}
		b, err := s.Backups.Read(name)
		if err != nil {
			a.Unread = append(a.Unread, err.Error())
			continue
		}
		add("backup "+name, s.marksOf(b.State.Vector()), func(*Mark) bool { return b.Node != s.Node })
	}
	return nil
}

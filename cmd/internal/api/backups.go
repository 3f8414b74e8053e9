package api

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// backupRoutes are what is done with the backups of this host.
func (s *Server) backupRoutes(handle func(string, func(*request) error)) {
	route := func(pattern string, do func(*request) error) {
		handle(pattern, func(q *request) error {
			if s.Backups == nil {
				return notServed("backups")
			}
			return do(q)
		})
	}
	route("GET /swarm/v1/backups", func(q *request) error {
		plan, err := s.Backups.Plan()
		if err != nil {
			return err
		}
		return q.json(http.StatusOK, nonNil(plan))
	})
	route("POST /swarm/v1/backups", func(q *request) error {
		by := q.by("on demand")
		f, err := s.Backups.CreateAsked(q.Context(), by.Cause+", "+by.Actor, truth(q.URL.Query().Get("pin")), func(f snapshot.BackupFile) error {
			return q.tellOfBackup(by, f.Fact())
		})
		if err != nil {
			return err
		}
		s.Backups.Tidy() // on a host that makes none unasked nothing else would
		return q.json(http.StatusCreated, f)
	})
	route("POST /swarm/v1/backups/upload", func(q *request) error {
		if s.Restorer == nil {
			return notServed("restore")
		}
		data, err := q.body(maxBackup)
		if err != nil {
			return err
		}
		name, put, err := s.Restorer.Take(data)
		if err != nil {
			return badRequest("the backup is not taken: %v", err)
		}
		f, err := s.Backups.Stat(name)
		if err != nil {
			return err
		}
		if put {
			fact := f.Fact()
			fact.Brought = true
			_ = q.tellOfBackup(q.by("a backup was brought"), fact) // what is wrong is said, and no reason to have it brought again
		}
		return q.json(http.StatusCreated, f)
	})
	route("POST /swarm/v1/backups/prune", func(q *request) error {
		dry, err := q.dry()
		if err != nil {
			return err
		}
		plan, err := s.Backups.Prune(dry)
		if errors.Is(err, snapshot.ErrNoneWhole) {
			return refused(http.StatusConflict, metav1.StatusReasonConflict, err.Error())
		}
		if fact, removed := snapshot.RemovedFact(plan); removed && !dry { // also where others could not be
			_ = q.tellOfBackup(q.by("old backups were removed"), fact)
		}
		if err != nil {
			return err
		}
		return q.json(http.StatusOK, nonNil(plan))
	})
	route("GET /swarm/v1/backups/{name}", func(q *request) error {
		name := q.PathValue("name")
		if _, err := s.Backups.Stat(name); err != nil {
			return noBackup(name, err)
		}
		f, err := os.Open(filepath.Join(s.Backups.Dir, name))
		if err != nil {
			return noBackup(name, err)
		}
		defer f.Close()
		q.w.Header().Set("Content-Type", "application/octet-stream")
		if strings.HasSuffix(name, ".json") {
			q.w.Header().Set("Content-Type", "application/json")
		}
		http.ServeContent(q.w, q.Request, "", time.Time{}, f)
		return nil
	})
	route("GET /swarm/v1/backups/{name}/verify", func(q *request) error {
		name := q.PathValue("name")
		f, err := s.Backups.Stat(name)
		if err != nil {
			return noBackup(name, err)
		}
		v := Verified{BackupFile: f}
		if c, err := s.Backups.Check(name); err != nil {
			v.Damage = err.Error()
		} else {
			v.found(c)
		}
		return q.json(http.StatusOK, v)
	})
	route("GET /swarm/v1/increments/verify", func(q *request) error {
		folder := snapshot.Folder{Dir: s.Backups.Dir, Keys: s.Backups.Keys}
		if s.Restorer != nil && s.Restorer.Increments != nil { // whose log must go on from them
			folder = s.Restorer.Increments.Folder()
		}
		all, err := folder.CheckAll(q.Context())
		if err != nil {
			return err
		}
		return q.json(http.StatusOK, nonNil(all))
	})
	route("POST /swarm/v1/backups/verify", func(q *request) error { // of one that is not here, or that was opened elsewhere
		data, err := q.body(maxBackup)
		if err != nil {
			return err
		}
		v := Verified{BackupFile: snapshot.BackupFile{Bytes: int64(len(data))}}
		if c, err := snapshot.CheckBytes(data); err != nil {
			v.Damage = err.Error()
		} else {
			v.found(c)
			v.Made = c.About.Made
		}
		return q.json(http.StatusOK, v)
	})
}

// tellOfBackup records what was done about the backups of this host, and who asked. It is done by then: that it cannot be recorded is logged, and no reason to
// have left it, least of all on a full disk, where old ones have to go. While the agent recovers nothing is recorded, since a log that was set back
// would tell of it under numbers that others know.
func (q *request) tellOfBackup(by projection.By, fact projection.Backups) error {
	err := q.writable()
	if err == nil {
		var r projection.Receipt
		r, err = q.s.Ledger.Record(context.WithoutCancel(q.Context()), by, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Observed, Key: projection.BackupKey(q.s.Node), Object: projection.Encode(fact)}}, nil
		})
		if err == nil {
			q.recorded(r.Stamp.ID)
			return nil
		}
	}
	q.s.log().Warn("what was done about the backups cannot be recorded, nor who asked", "actor", by.Actor, "cause", by.Cause, "err", err)
	return err
}

// maxBackup bounds in bytes what is taken as a backup over the API. A larger one can be put into the folder.
const maxBackup = 256 << 20

// Verified is what was found out about a backup: what it says of itself, or what is wrong with it.
type Verified struct {
	snapshot.BackupFile
	About    *snapshot.About `json:"about,omitempty"`
	Unopened bool            `json:"unopened,omitempty"` // it is sealed, no key here opens it, and its bytes are those that were written
	Damage   string          `json:"damage,omitempty"`
	// Original is what is known of a file of version 1, which says nothing of itself.
	Original *snapshot.Original `json:"original,omitempty"`
}

func (v *Verified) found(c snapshot.Checked) {
	v.Original, v.Unopened = c.Original, !c.Opened
	if c.Original == nil {
		v.About = &c.About
	}
}

func noBackup(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return refused(http.StatusNotFound, metav1.StatusReasonNotFound, "there is no backup "+name+" on this host")
	}
	return err
}

func nonNil[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

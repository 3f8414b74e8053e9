package api

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/secret"
	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// RestorePlan is what a restore would change, or has changed.
type RestorePlan struct {
	*snapshot.Restored          // nil: it was a dry run
	Results            []Result `json:"results"` // also of what is the same, and is stamped anew, and of what an undo leaves (kept)
	Containers         Effect   `json:"containers"`
	Unseen             []Unseen `json:"unseen,omitempty"`
	// Refused are objects of a file of version 1 that cannot be declared as they are: what is there of them stays.
	Refused []snapshot.Refusal `json:"refused,omitempty"`
	// Left is what of others of that file is not taken over, and why.
	Left []snapshot.Left `json:"left,omitempty"`
	// Missing are the types of which that file has no section: what is there of them stays.
	Missing []string `json:"missing,omitempty"`
	// Locked are the Secrets that come back, or stay, and are sealed by keys that this host does not have, with these.
	Locked []string `json:"locked,omitempty"`
	// Unfinished says that what is taken back was not done yet: it ends with that, also where nothing changes.
	Unfinished bool `json:"unfinished,omitempty"`
}

// Effect is what becomes of containers, counted.
type Effect struct {
	Restart int `json:"restart"` // replaced, within maxSurge and maxUnavailable
	Start   int `json:"start"`
	Stop    int `json:"stop"`
}

// Unseen is an object that a restore had not seen when it was made, and which survived it.
type Unseen struct {
	Key   string `json:"key"`
	Stamp string `json:"stamp"`
}

// restoreRoutes are how what was declared comes back.
func (s *Server) restoreRoutes(handle func(string, func(*request) error)) {
	handle("GET /swarm/v1/restores", func(q *request) error { return q.json(http.StatusOK, s.restores()) })
	handle("POST /swarm/v1/restores", s.restoreMoment)
	handle("POST /swarm/v1/backups/{name}/restore", func(q *request) error {
		return s.restore(q, func() (snapshot.Source, error) { return s.restoredFrom(q, q.PathValue("name")) })
	})
	handle("POST /swarm/v1/restores/{id}/undo", s.undoRestore)
}

// restores are those that are known of, and what each had not seen.
func (s *Server) restores() []RestorePlan {
	st := s.Ledger.View().State
	all := []RestorePlan{}
	for _, r := range snapshot.Restores(st) {
		plan := RestorePlan{Restored: &r}
		for _, o := range r.Unseen(st) {
			plan.Unseen = append(plan.Unseen, Unseen{o.Key, o.Stamp.String()})
		}
		all = append(all, plan)
	}
	return all
}

// unfinished are the problems that other hosts have begun to restore something and have said nothing more of it for a minute. What keeps this one it says itself.
func (s *Server) unfinished(st *projection.State) (all []Problem) {
	for _, r := range snapshot.Restores(st) {
		o, ok := st.Lookup(projection.RestoreKey(r.ID))
		if !ok || r.Host == s.Node || !r.Done.IsZero() || r.Over != "" || s.now().Sub(o.Stamp.Time.Wall()) < time.Minute {
			continue
		}
		all = append(all, Problem{What: "the " + r.Restore.String() + " is unfinished",
			Why: fmt.Sprintf("host %s, which does it, has said nothing more of it since %s, after %d objects", r.Host, stamp(o.Stamp.Time.Wall()), r.Count),
			Do:  "It goes on once that host can. psctl undo " + r.ID + " takes it back, on any host, and another restore of the same takes its place"})
	}
	return all
}

// restoreMoment restores what this host's log said at a moment.
func (s *Server) restoreMoment(q *request) error {
	m, ok, err := q.moment()
	if err != nil {
		return err
	}
	if !ok {
		return badRequest("restore to which moment? ?at= says it, as %s", snapshot.MomentForms)
	}
	return s.restore(q, func() (snapshot.Source, error) {
		from, err := s.Restorer.Moment(q.Context(), m)
		return from, q.noMoment(err)
	})
}

// restore shows what a restore would change, or does it.
func (s *Server) restore(q *request, source func() (snapshot.Source, error)) error {
	if s.Restorer == nil {
		return notServed("restore")
	}
	query := q.URL.Query()
	dry, err := q.dry()
	if err != nil {
		return err
	}
	for _, only := range query["only"] {
		if typ, _, _ := strings.Cut(only, "/"); typ == "" || strings.HasSuffix(only, "/") {
			return badRequest("only %q: want TYPE, TYPE/NAMESPACE or TYPE/NAMESPACE/NAME, such as deployment/default/web", only)
		}
	}
	if !dry { // before a source is made, which may put one more backup into the folder
		if err := q.writable(); err != nil {
			return err
		}
	}
	from, err := source()
	if err != nil {
		return err
	}
	only, err := from.Scope(query["only"])
	if err != nil {
		return badRequest("only: %v", err)
	}
	plan, err := s.plan(s.Ledger.View().State, from.Want, projection.Restore{From: from.File, Only: only}, nil)
	if err != nil {
		return err
	}
	plan.Refused, plan.Left, plan.Missing = from.RefusedIn(only), from.LeftIn(only), from.Missing
	if !dry {
		if plan.Restored, err = s.Restorer.Restore(q.Context(), q.by(""), from, only); err != nil {
			return err
		}
		q.restored(plan.Restored)
	}
	return q.json(http.StatusOK, plan)
}

// restoredFrom is the backup of that name, with ?at= and the increments after it up to there, or the one that comes with the request, opened by who has the key.
func (s *Server) restoredFrom(q *request, name string) (from snapshot.Source, err error) {
	m, past, err := q.moment()
	if err != nil {
		return from, err
	}
	if past {
		dry, err := q.dry()
		if err != nil {
			return from, err
		}
		from, err = s.Restorer.SourceAt(q.Context(), name, m, dry)
		if errors.Is(err, seal.ErrNoKey) {
			return from, refused(http.StatusConflict, metav1.StatusReasonConflict, err.Error()+": psctl restore --at goes by the log, or, where the key is, podman-swarm-agent backup extract --identity FILE makes one backup of that moment")
		}
		if err = q.noMoment(err); err != nil {
			err = noBackup(name, err)
		}
		return from, err
	}
	data, err := q.body(maxBackup)
	if err != nil {
		return from, err
	}
	if len(data) == 0 {
		from, err = s.Restorer.Source(name)
		if errors.Is(err, seal.ErrNoKey) {
			return from, refused(http.StatusConflict, metav1.StatusReasonConflict, err.Error()+": psctl restore "+name+" --identity FILE opens it where the key is")
		}
		if err != nil {
			return from, noBackup(name, err)
		}
		return from, nil
	}
	if from, err = s.Restorer.Brought(name, data); err != nil {
		return from, badRequest("it cannot be restored from: %v", err)
	}
	return from, nil
}

func (s *Server) undoRestore(q *request) error {
	if s.Restorer == nil {
		return notServed("restore")
	}
	dry, err := q.dry()
	if err != nil {
		return err
	}
	id := q.PathValue("id")
	st := s.Ledger.View().State
	undone, ok := st.LookupRestore(id)
	if !ok {
		return refused(http.StatusNotFound, metav1.StatusReasonNotFound, "there is no restore "+id+": psctl restores lists them, and an event is taken back by its index or id, which psctl events shows")
	}
	was, err := s.before(q, undone)
	if err != nil {
		return err
	}
	plan, err := s.plan(st, was.Want, projection.Restore{Only: undone.Only, Undoes: id}, &undone)
	if err != nil {
		return err
	}
	takes := len(plan.Results) > 0
	plan.kept(undone.Kept(st, was.Want))
	plan.Unfinished = slices.ContainsFunc(snapshot.Restores(st), func(x snapshot.Restored) bool { return x.ID == id && x.Done.IsZero() && x.Over == "" })
	if !dry && (takes || plan.Unfinished) { // by the record of an undo alone is one over that would go on
		if err := q.writable(); err != nil {
			return err
		}
		if plan.Restored, err = s.Restorer.Undo(q.Context(), q.by(""), id, was); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return noBackup(undone.Before, err)
			}
			return err
		}
		q.restored(plan.Restored)
	} else if !dry { // it has been taken back: by what, is waited for
		for _, r := range snapshot.Restores(st) {
			if r.Undoes == id {
				q.restored(&r)
			}
		}
	}
	return q.json(http.StatusOK, plan)
}

// restored notes the last commit of a restore for who waits until others have it: they have then what came before, too.
func (q *request) restored(r *snapshot.Restored) {
	if o, ok := q.s.Ledger.View().State.Lookup(projection.RestoreKey(r.ID)); ok {
		q.recorded(o.Stamp.ID)
	}
}

// before is what was there before a restore, as this host knows it, or as the backup has it that comes with the request, opened by who has the key.
func (s *Server) before(q *request, undone projection.Restore) (snapshot.Source, error) {
	data, err := q.body(maxBackup)
	if err != nil {
		return snapshot.Source{}, err
	}
	if len(data) > 0 {
		was, err := s.Restorer.BroughtBefore(undone, data)
		if err != nil {
			return was, badRequest("it is not what was there before: %v", err)
		}
		return was, nil
	}
	was, err := s.Restorer.Before(q.Context(), undone)
	if errors.Is(err, seal.ErrNoKey) || err != nil && undone.Host != s.Node {
		return was, refused(http.StatusConflict, metav1.StatusReasonConflict, err.Error())
	}
	if err != nil {
		return was, noBackup(undone.Before, err)
	}
	return was, nil
}

// plan is what a restore would change, object by object, and what would become of the containers.
func (s *Server) plan(st *projection.State, want projection.Declarations, r projection.Restore, undone *projection.Restore) (*RestorePlan, error) {
	changes := r.Next("dry-run", st, want, undone, nil, 1<<62, s.now())[1:]
	p, err := s.planOf(st, changes)
	if err != nil {
		return p, err
	}
	clashing := s.clashing(st, changes)
	for i := range p.Results {
		if x := &p.Results[i]; x.Kind == "Service" {
			x.Warnings = clashing["service/"+x.Namespace+"/"+x.Name]
		}
	}
	if s.Secrets == nil {
		return p, nil
	}
	for _, c := range changes {
		if strings.HasPrefix(c.Key, secret.Type+"/") { // of one that is deleted there is nothing to open
			p.Locked = append(p.Locked, s.Secrets.LockedOf(c.Object)...)
		}
	}
	return p, nil
}

// planOf is what changes of declared objects come to upon a state.
func (s *Server) planOf(st *projection.State, changes []projection.Change) (*RestorePlan, error) {
	p := &RestorePlan{Results: []Result{}}
	placed := map[string]int{} // containers by Deployment
	for pl, err := range st.Placements("") {
		if err == nil && pl.Host != "" {
			placed[pl.Namespace+"/"+pl.Deployment]++
		}
	}
	for _, c := range changes {
		typ, namespace, name := manifest.SplitKey(c.Key)
		res := Result{Kind: kindOf(typ), Namespace: namespace, Name: name, Action: "created"}
		shown, there := st.Lookup(c.Key)
		switch {
		case c.Object == nil:
			res.Action = "deleted"
		case there && bytes.Equal(shown.Version.Object, c.Object):
			res.Action = "unchanged"
		case there:
			res.Action = "configured"
		}
		if err := p.add(&res, typ, shown, c.Object, placed[namespace+"/"+name]); err != nil {
			return nil, err
		}
	}
	order := map[string]int{"created": 0, "configured": 1, "deleted": 2, "unchanged": 3}
	slices.SortStableFunc(p.Results, func(a, b Result) int { return order[a.Action] - order[b.Action] })
	return p, nil
}

// kept adds what an undo leaves, since somebody else has changed it after the restore.
func (p *RestorePlan) kept(keys []string) {
	for _, key := range keys {
		typ, namespace, name := manifest.SplitKey(key)
		p.Results = append(p.Results, Result{Kind: kindOf(typ), Namespace: namespace, Name: name, Action: "kept"})
	}
}

// add adds what becomes of one object, of which so many containers are there.
func (p *RestorePlan) add(res *Result, typ string, shown projection.Object, now []byte, containers int) error {
	defer func() { p.Results = append(p.Results, *res) }()
	if typ == "deployment" {
		p.Containers.count(res.Action, shown, now, containers)
	}
	if res.Action != "configured" {
		return nil
	}
	was, err := manifest.Decode(typ, shown.Version.Object)
	if err != nil {
		return nil // of a kind that this version does not know: it is restored whole, and not compared
	}
	is, err := manifest.Decode(typ, now)
	if err != nil {
		return nil
	}
	res.Changes, err = differences(was, is)
	return err
}

// count adds what becomes of the containers of a Deployment.
func (e *Effect) count(action string, shown projection.Object, now []byte, containers int) {
	replicas := func(raw []byte) int {
		from, to, ok := valueAt(raw, "spec", "replicas")
		if !ok {
			return 1
		}
		n := 0
		for _, c := range raw[from:to] {
			n = 10*n + int(c-'0')
		}
		return n
	}
	switch action {
	case "created":
		e.Start += replicas(now)
	case "deleted":
		e.Stop += containers
	case "configured":
		want := replicas(now)
		e.Start += max(0, want-containers)
		e.Stop += max(0, containers-want)
		from, to, ok1 := valueAt(now, "spec", "template")
		wasFrom, wasTo, ok2 := valueAt(shown.Version.Object, "spec", "template")
		if ok1 != ok2 || ok1 && !bytes.Equal(now[from:to], shown.Version.Object[wasFrom:wasTo]) {
			e.Restart += min(containers, want)
		}
	}
}

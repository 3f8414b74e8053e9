package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Trail is what an audit of this host's log takes beside its state.
type Trail interface {
	// Verify reads the whole log from the disk, unless ctx ends first, and holds its chains to what is known of them; as events.Verify.
	Verify(ctx context.Context, known []events.Known) ([]events.Chain, error)
	// Host is whose events an incarnation counts; "" where that is not known.
	Host(inc events.Incarnation) string
	// Remembered is how far others have once said to be.
	Remembered() []Mark
	// Peer asks another host how far it has each chain, and how far others have once said to be.
	Peer(ctx context.Context, host string) (holds, remembers []Mark, err error)
	// Points asks another host where the commits of an incarnation end, after one event up to another.
	Points(ctx context.Context, host string, inc events.Incarnation, after, upTo uint64) ([]Mark, error)
	// Commits asks another host for the commits of an incarnation after one event up to another, in order; fn keeps none of the bytes.
	Commits(ctx context.Context, host string, inc events.Incarnation, after, upTo uint64, fn func(payload []byte) error) error
}

// Mark is a place on the chain of hashes of one incarnation: the last event of a commit, and the hash of that.
type Mark struct {
	Host        string             `json:"host,omitempty"` // whose events they are; "" when that is not known
	Incarnation events.Incarnation `json:"incarnation"`
	Seq         uint64             `json:"seq"`
	Hash        events.Hash        `json:"hash"`
	At          time.Time          `json:"at,omitzero"` // when a host said so, of what is remembered
}

// Line is the mark as one writes it down: host, event, and as much of the hash as nobody finds another commit for.
func (m *Mark) Line() string {
	host := m.Host
	if host == "" {
		host = "-"
	}
	return host + " " + events.ID{Inc: m.Incarnation, Seq: m.Seq}.String() + " " + m.Hash.String()[:min(events.KnownDigits, len(m.Hash.String()))]
}

// AuditHeads are where the chains of this host's log end.
type AuditHeads struct {
	Host  string    `json:"host"`
	At    time.Time `json:"at"`
	Heads []Mark    `json:"heads"`
	Lines []string  `json:"lines"` // the same, to be written down elsewhere, and given to verify
}

// AuditRequest is what a log is to be held to, beside itself.
type AuditRequest struct {
	Peers   []string `json:"peers,omitempty"`   // names of hosts; "all": those that are alive
	Backups []string `json:"backups,omitempty"` // names of backups of this host; "all"
	Heads   []string `json:"heads,omitempty"`   // lines as AuditHeads has them
	// Brought are backups that whoever asks has, by what POST /swarm/v1/audit/backup has said of each.
	Brought []AuditBackup `json:"brought,omitempty"`
}

// Audit is what came of it.
type Audit struct {
	Host     string         `json:"host"`
	Good     bool           `json:"good"`             // nothing is wrong, and all that it was to be held to could be read
	Damage   string         `json:"damage,omitempty"` // what is wrong with the log as a whole
	Chains   []AuditChain   `json:"chains"`
	HeldTo   []string       `json:"held_to"`            // what it was held to
	Unread   []string       `json:"unread,omitempty"`   // what it was to be held to and could not be, and why
	Findings []AuditFinding `json:"findings,omitempty"` // what hosts have noticed of each other's logs, ever
}

// AuditChain is one chain of the log.
type AuditChain struct {
	Host        string             `json:"host,omitempty"`
	Incarnation events.Incarnation `json:"incarnation"`
	Last        uint64             `json:"last"`              // event
	Events      uint64             `json:"events"`            // of it that are held here
	Commits     int                `json:"commits"`           // that they came in
	Trimmed     uint64             `json:"trimmed,omitempty"` // its events up to this one were trimmed off, and cannot be read here
	Lacks       []AuditRange       `json:"lacks,omitempty"`   // what this host took over as state
	Head        events.Hash        `json:"head"`
	Agreed      int                `json:"agreed"`           // places at which it is as others know it
	Unheld      int                `json:"unheld,omitempty"` // and at which that cannot be told, since it is not held here
	Bad         string             `json:"bad,omitempty"`    // what is wrong with the next commit
	Differs     []AuditDifference  `json:"differs,omitempty"`
}

// AuditRange are the events from one to another.
type AuditRange struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// AuditDifference is where a chain is not as somebody knows it.
type AuditDifference struct {
	First   uint64 `json:"first"` // event that is missing, or may be another
	Seq     uint64 `json:"seq"`   // up to which that is known
	From    string `json:"from"`  // who knows
	Missing bool   `json:"missing,omitempty"`
	Text    string `json:"text"`
}

// AuditFinding is what one host has noticed of the log of another.
type AuditFinding struct {
	By   string `json:"by"`
	Host string `json:"host"`
	projection.Finding
}

func (s *Server) auditRoutes(handle func(string, func(*request) error)) {
	route := func(pattern string, do func(*request) error) {
		handle(pattern, func(q *request) error {
			if s.Trail == nil {
				return notServed("the audit")
			}
			return do(q)
		})
	}
	route("GET /swarm/v1/audit/head", func(q *request) error {
		answer := AuditHeads{Host: s.Node, At: s.now().UTC(), Heads: s.marks(), Lines: []string{}}
		for i := range answer.Heads {
			answer.Lines = append(answer.Lines, answer.Heads[i].Line())
		}
		return q.json(http.StatusOK, answer)
	})
	route("POST /swarm/v1/audit/verify", alone("the log is being verified for somebody else: try again when that is done", s.verify))
	route("POST /swarm/v1/audit/backup", alone("another backup is being read for an audit: try again when that is done", s.readAuditBackup))
}

// alone does something for one caller at a time, and tells others that it is busy: whoever may read may ask for it, and each time it takes the memory of
// a large backup, or reads all of the log from the disk.
func alone(busy string, do func(*request) error) func(*request) error {
	var held sync.Mutex
	return func(q *request) error {
		if !held.TryLock() {
			return unavailable(busy)
		}
		defer held.Unlock()
		return do(q)
	}
}

// marks are where the chains end of what this host has on disk, by its memory.
func (s *Server) marks() []Mark {
	all := nonNil(s.marksOf(s.Ledger.View().OnDisk().Vector()))
	slices.SortStableFunc(all, func(a, b Mark) int { return strings.Compare(a.Host, b.Host) })
	return all
}

// maxAudit bounds in bytes what a log is asked to be held to.
const maxAudit = 64 << 20

// verify holds this host's log, as it is on disk, to itself and to what is known of it elsewhere.
func (s *Server) verify(q *request) error {
	var r AuditRequest
	data, err := q.body(maxAudit)
	if err != nil {
		return err
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &r); err != nil {
			return badRequest("what to hold the log to: want JSON: %v", err)
		}
	}
	a := Audit{Host: s.Node, Chains: []AuditChain{}, HeldTo: []string{"itself"}}
	peers := map[string][]events.Known{}
	known, err := s.knownOf(q.Context(), &r, &a, peers)
	if err != nil {
		return err
	}
	chains, err := s.Trail.Verify(q.Context(), known)
	asked := map[events.Ask]bool{}
	for more := s.closer(q.Context(), chains, peers, asked, &a); len(more) > 0; more = s.closer(q.Context(), chains, peers, asked, &a) {
		known = append(known, more...)
		chains, err = s.Trail.Verify(q.Context(), known)
	}
	if err := q.Context().Err(); err != nil { // nobody hears the answer
		return err
	}
	a.take(chains, err)
	for _, c := range a.Chains {
		a.Good = a.Good && c.Bad == "" && len(c.Differs) == 0
	}
	for o := range s.Ledger.View().All(projection.FindingType + "/") {
		by, host, _ := strings.Cut(strings.TrimPrefix(o.Key, projection.FindingType+"/"), "/")
		if f, ok := projection.Read[projection.Finding](s.Ledger.View().State, o.Key); ok {
			a.Findings = append(a.Findings, AuditFinding{by, host, f})
		}
	}
	return q.json(http.StatusOK, a)
}

// take takes what the log itself tells.
func (a *Audit) take(chains []events.Chain, err error) {
	told := false
	for i := range chains {
		c := &chains[i]
		x := AuditChain{Host: c.Node, Incarnation: c.Inc, Last: c.Last, Events: c.Holds(), Commits: c.Records, Trimmed: c.Trimmed, Head: c.Head,
			Agreed: c.Agreed, Unheld: c.Unheld}
		for _, r := range c.Lacks {
			x.Lacks = append(x.Lacks, AuditRange(r))
		}
		if c.Bad != nil {
			x.Bad, told = c.Bad.Error(), true
		}
		for k := range c.Differs {
			d := &c.Differs[k]
			x.Differs = append(x.Differs, AuditDifference{d.First(c.Last), d.Seq, d.From, d.Missing, c.Explain(d)})
			told = true
		}
		a.Chains = append(a.Chains, x)
	}
	var damaged *events.CorruptError
	switch {
	case errors.As(err, &damaged):
		a.Damage = damaged.Error()
	case err != nil && !told:
		a.Damage = err.Error()
	}
	a.Good = a.Damage == "" && len(a.Unread) == 0
}

// knownOf is what the log is to be held to, and what each of the hosts holds. It is asked for before the log is read, which may go on meanwhile.
func (s *Server) knownOf(ctx context.Context, r *AuditRequest, a *Audit, peers map[string][]events.Known) (all []events.Known, err error) {
	add := func(from string, marks []Mark, may func(*Mark) bool) {
		for i := range marks {
			m := &marks[i]
			all = append(all, events.Known{Inc: m.Incarnation, Seq: m.Seq, Hash: m.Hash.String(), Host: m.Host, From: from, May: may(m)})
		}
		a.HeldTo = append(a.HeldTo, from)
	}
	never := func(*Mark) bool { return false }
	notMine := func(m *Mark) bool { return m.Host != s.Node } // another may be ahead in what is a third one's
	for _, line := range r.Heads {
		k, err := ReadMark(line)
		if err != nil {
			return nil, badRequest("%v", err)
		}
		if k != nil {
			all = append(all, *k)
		}
	}
	if len(r.Heads) > 0 {
		a.HeldTo = append(a.HeldTo, "the heads that were written down")
	}
	for _, host := range s.auditPeers(r.Peers) {
		holds, remembers, err := s.Trail.Peer(ctx, host)
		if err != nil {
			a.Unread = append(a.Unread, fmt.Sprintf("host %s: %v", host, err))
			continue
		}
		before := len(all)
		add(fromHost+host, holds, notMine)
		peers[fromHost+host] = slices.Clone(all[before:])
		remembers = slices.DeleteFunc(remembers, func(m Mark) bool { return m.Hash == events.Hash{} })
		add("what host "+host+" remembers", remembers, notMine)
	}
	if err := s.knownByBackups(r.Backups, r.Brought, a, add); err != nil {
		return nil, err
	}
	remembered := slices.DeleteFunc(s.Trail.Remembered(), func(m Mark) bool { return m.Hash == events.Hash{} })
	add("what this host remembers", remembered, func(*Mark) bool { return true })
	add("this host's memory", s.marks(), never)
	return all, nil
}

// auditPeers are the hosts that are meant.
func (s *Server) auditPeers(names []string) (all []string) {
	for _, name := range names {
		if name != "all" {
			all = append(all, name)
			continue
		}
		if s.Cluster == nil {
			continue
		}
		for _, p := range s.Cluster().Peers {
			if p.Alive {
				all = append(all, p.Host)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// closer asks hosts what events.Asks says, but for what has been asked. What they do not answer, the log is not held to.
func (s *Server) closer(ctx context.Context, chains []events.Chain, holds map[string][]events.Known, asked map[events.Ask]bool, a *Audit) (all []events.Known) {
	for _, ask := range events.Asks(chains, holds) {
		if asked[ask] {
			continue
		}
		asked[ask] = true
		host := strings.TrimPrefix(ask.From, fromHost)
		points, err := s.points(ctx, host, ask.Inc, ask.After, ask.UpTo)
		var next []events.Known
		if err == nil && (len(points) == 0 || points[len(points)-1].Seq != ask.UpTo) {
			next, err = s.points(ctx, host, ask.Inc, ask.UpTo-1, min(ask.Beyond, ask.UpTo+largestCommit))
		}
		if err != nil {
			a.Unread = append(a.Unread, fmt.Sprintf("host %s, incarnation %v, after event %d: %v", host, ask.Inc, ask.After, err))
			continue
		}
		var first *events.Known
		if len(next) > 0 {
			first = &next[0]
		}
		all = append(all, ask.Answer(s.Trail.Host(ask.Inc), points, first)...)
	}
	return all
}

// fromHost begins what is known from a host.
const fromHost = "host "

// largestCommit is how many events of a commit are reckoned with, where its end is looked for.
const largestCommit = 1 << 16

func (s *Server) points(ctx context.Context, host string, inc events.Incarnation, after, upTo uint64) (all []events.Known, err error) {
	marks, err := s.Trail.Points(ctx, host, inc, after, upTo)
	for _, m := range marks {
		all = append(all, events.Known{Inc: inc, Seq: m.Seq, Hash: m.Hash.String()})
	}
	return all, err
}

// ReadMark reads a line of AuditHeads; nil: it is empty, or a comment.
func ReadMark(line string) (*events.Known, error) {
	line, _, _ = strings.Cut(line, "#")
	f := strings.Fields(line)
	if len(f) == 0 {
		return nil, nil
	}
	k := events.Known{From: "a head that was written down"}
	if len(f) == 3 {
		if f[0] != "-" {
			k.Host = f[0]
		}
		f = f[1:]
	}
	if len(f) != 2 {
		return nil, fmt.Errorf("head %q: want HOST EVENT HASH, as psctl audit head prints it", line)
	}
	id, err := events.ParseID(f[0])
	if err != nil || id.IsZero() {
		return nil, fmt.Errorf("head %q: %q is no event; want HOST EVENT HASH, as psctl audit head prints it", line, f[0])
	}
	k.Inc, k.Seq, k.Hash = id.Inc, id.Seq, strings.ToLower(f[1])
	if len(k.Hash) < events.KnownDigits || len(k.Hash) > 64 || strings.Trim(k.Hash, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("head %q: want %d to 64 hexadecimal digits of its hash", line, events.KnownDigits)
	}
	return &k, nil
}

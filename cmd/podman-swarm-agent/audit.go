package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
)

// trail is what the API's audit asks of this agent.
type trail struct {
	a *agent

	mu    sync.Mutex
	hosts map[events.Incarnation]string // that were found out
}

// Verify reads the log from the disk, beside what is written to it.
func (t *trail) Verify(ctx context.Context, known []events.Known) ([]events.Chain, error) {
	key, err := keyring{t.a.c.DataDir, t.a.c.credentials}.logKey()
	if err != nil {
		return nil, err
	}
	return events.Verify(ctx, filepath.Join(t.a.c.DataDir, "events"), key, t.a.history.Trimmed, known...)
}

// Host is whose events an incarnation counts, as its last commit says, or who has said so in a beat.
func (t *trail) Host(inc events.Incarnation) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if host, ok := t.hosts[inc]; ok {
		return host
	}
	host := t.a.writerOf(inc)
	if host != "" {
		if t.hosts == nil {
			t.hosts = map[events.Incarnation]string{}
		}
		t.hosts[inc] = host
	}
	return host
}

var errWriter = errors.New("found")

// writerOf looks for the last commit of an incarnation.
func (a *agent) writerOf(inc events.Incarnation) (host string) {
	last := a.ledger.View().OnDisk().Head(inc).Seq
	if last > 0 {
		_, err := a.events.Missing(context.Background(), onlyOf(inc, last-1), 0, func(r events.Record) error {
			c, err := events.ParseCommit(r.Payload)
			if err != nil {
				return err
			}
			host = strings.Clone(c.Node)
			return errWriter
		})
		if err != nil && !errors.Is(err, errWriter) {
			a.log.Warn("who wrote an incarnation's events cannot be read", "incarnation", inc, "err", err)
		}
	}
	if host == "" && a.many() {
		st, _ := a.cluster.sync.Status()
		for _, k := range st.Claims {
			if k.Inc == inc {
				return k.Host
			}
		}
	}
	return host
}

// onlyOf is having everything, but of one incarnation nothing after an event.
func onlyOf(inc events.Incarnation, after uint64) func(events.Incarnation) uint64 {
	return func(i events.Incarnation) uint64 {
		if i == inc {
			return after
		}
		return 1<<64 - 1
	}
}

// Remembered is how far the others have once said to be.
func (t *trail) Remembered() []api.Mark {
	if !t.a.many() {
		return nil
	}
	st, _ := t.a.cluster.sync.Status()
	return marksOf(st.Claims)
}

func marksOf(claims []peersync.Claim) (all []api.Mark) {
	for _, k := range claims {
		if k.Seq > 0 {
			all = append(all, api.Mark{Host: k.Host, Incarnation: k.Inc, Seq: k.Seq, Hash: k.Hash, At: k.At.UTC()})
		}
	}
	return all
}

// memberHeads is what a member answers of the logs of all.
type memberHeads struct {
	Holds     []api.Mark `json:"holds"`
	Remembers []api.Mark `json:"remembers"`
}

// ownHeads answers another member how far this host has each chain, and how far others have once said to be.
func (a *agent) ownHeads(w http.ResponseWriter, _ *http.Request) {
	t := trail{a: a}
	all := memberHeads{Remembers: t.Remembered()}
	for _, h := range a.ledger.View().OnDisk().Vector() {
		if h.Seq > 0 {
			all.Holds = append(all.Holds, api.Mark{Host: t.Host(h.Inc), Incarnation: h.Inc, Seq: h.Seq, Hash: h.Hash})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all) // one that has left is not told
}

// Commits asks another member for commits.
func (t *trail) Commits(ctx context.Context, host string, inc events.Incarnation, after, upTo uint64, fn func(payload []byte) error) error {
	r, err := t.a.askMember(ctx, host, "/v1/audit/commits?"+chainQuery(inc, after, upTo))
	if err != nil {
		return err
	}
	defer r.Close()
	all := bufio.NewScanner(r)
	all.Buffer(nil, maxCommit)
	for all.Scan() {
		if err := fn(all.Bytes()); err != nil {
			return err
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("what host %s says of its log: %w", host, err)
	}
	return nil
}

func chainQuery(inc events.Incarnation, after, upTo uint64) string {
	return url.Values{"incarnation": {inc.String()}, "after": {strconv.FormatUint(after, 10)}, "up_to": {strconv.FormatUint(upTo, 10)}}.Encode()
}

// maxHeads bounds in bytes what another host may say of how far it has each chain; maxCommit one of its commits.
const (
	maxHeads  = 64 << 20
	maxCommit = 64 << 20
)

// Peer asks another member for its heads.
func (t *trail) Peer(ctx context.Context, host string) (holds, remembers []api.Mark, err error) {
	r, err := t.a.askMember(ctx, host, "/v1/audit/heads")
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	var all memberHeads
	if err := json.NewDecoder(io.LimitReader(r, maxHeads)).Decode(&all); err != nil {
		return nil, nil, fmt.Errorf("what host %s says of its log: %w", host, err)
	}
	return all.Holds, all.Remembers, nil
}

// Points asks another member where its commits end.
func (t *trail) Points(ctx context.Context, host string, inc events.Incarnation, after, upTo uint64) (all []api.Mark, err error) {
	r, err := t.a.askMember(ctx, host, "/v1/audit/points?"+chainQuery(inc, after, upTo))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	d := json.NewDecoder(r)
	for {
		var m api.Mark
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("what host %s says of its log: %w", host, err)
		}
		if uint64(len(all)) >= upTo-after {
			return nil, fmt.Errorf("host %s says of its log that it has more commits than there are events", host)
		}
		all = append(all, m)
	}
}

// touched is what has been found of logs of late, for who looks at the state of things.
func (a *agent) touched(v *projection.View) (all []api.Problem) {
	for o := range v.All(projection.FindingType + "/") {
		var f projection.Finding
		by, host, _ := strings.Cut(strings.TrimPrefix(o.Key, projection.FindingType+"/"), "/")
		if json.Unmarshal(o.Version.Object, &f) != nil || a.now().Sub(f.At) > findingStands {
			continue
		}
		p := api.Problem{What: fmt.Sprintf("the log of host %s is not what it was from event %d of incarnation %v on", host, f.First, f.Incarnation),
			Why: fmt.Sprintf("host %s holds others in their place, found %s", by, f.At.Format("2006-01-02 15:04:05 UTC")),
			Do:  "find out who was at its disk: psctl audit verify --peer all; what was lost there has come back from the others, or is recorded again"}
		if f.Had > f.Has {
			p.Why = fmt.Sprintf("it had events up to %d on its disk and has come back with %d, as host %s found %s: the disk was put back or lost, or the log was cut",
				f.Had, f.Has, by, f.At.Format("2006-01-02 15:04:05 UTC"))
		}
		all = append(all, p)
	}
	return all
}

package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// By these headers of a write the answer waits until so many hosts have the change on disk, this one included; or all
// that are known, but for those of which somebody has said that they are dead. The answer says which have it by the last
// three. When time is up, the change stands all the same, and the answer is that of success, with a warning that says so.
const (
	HeaderWaitFor     = "Podman-Swarm-Wait-For"     // N, or "all"
	HeaderWaitTimeout = "Podman-Swarm-Wait-Timeout" // "30s", which it is by default
	HeaderOnDisk      = "Podman-Swarm-On-Disk"      // "h1, h2"
	HeaderNotOnDisk   = "Podman-Swarm-Not-On-Disk"  // "h3"; absent when as many have it as was asked for
	HeaderDead        = "Podman-Swarm-Not-Waited-For"
)

// durability is what an answer waits for.
type durability struct {
	hosts   int // 0: all that are known, and not said to be dead
	timeout time.Duration
}

// waitFor reads what a write wants to be waited for; nil: for nobody. What cannot be had is refused before anything is
// changed.
func (q *request) waitFor() (*durability, error) {
	text := q.Header.Get(HeaderWaitFor)
	if text == "" || q.Method == http.MethodGet || q.Method == http.MethodHead {
		return nil, nil
	}
	if q.s.Spread == nil {
		return nil, notServed("waiting for other hosts (" + HeaderWaitFor + ")")
	}
	w := &durability{timeout: 30 * time.Second}
	if text != "all" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, badRequest("%s %q: want a number of hosts, this one included, or all", HeaderWaitFor, plain(text, 50))
		}
		if known, _ := q.s.inSight(q.s.Ledger.View().State); n > max(known, 1) {
			return nil, badRequest("%s %d: the cluster has %d hosts; nothing was changed", HeaderWaitFor, n, max(known, 1))
		}
		w.hosts = n
	}
	if text := q.Header.Get(HeaderWaitTimeout); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return nil, badRequest("%s %q: want a time span like 30s", HeaderWaitTimeout, plain(text, 50))
		}
		w.timeout = min(d, time.Hour)
	}
	return w, nil
}

// unchanged notes what the answer waits for when nothing had to be recorded: who asks again after time was up wants to
// know of what he asked for first.
func (q *request) unchanged(st *projection.State, keys []string) {
	q.commits = nil
	for _, key := range keys {
		if o, ok := st.Lookup(key); ok && !slices.Contains(q.commits, o.Stamp.ID) {
			q.commits = append(q.commits, o.Stamp.ID)
		}
	}
}

// spread waits as the request asks, once, and says who has the change on disk: nil when that was not asked for. It also
// puts that into the headers of the answer.
func (q *request) spread() *OnDisk {
	if q.wait == nil || q.commits == nil {
		return q.onDisk
	}
	ctx, cancel := q.streaming()
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, q.wait.timeout)
	defer stop()
	_ = http.NewResponseController(q.w).SetWriteDeadline(time.Now().Add(q.wait.timeout + q.s.patience()))
	d := &OnDisk{Enough: true, Missing: []string{}}
	for i, id := range q.commits {
		have, missing, err := q.s.Spread(ctx, id, q.wait.hosts)
		if i == 0 {
			d.Have = slices.Clone(have)
		}
		d.Have = slices.DeleteFunc(d.Have, func(h string) bool { return !slices.Contains(have, h) })
		d.Missing = append(d.Missing, missing...)
		if err != nil {
			d.Enough = false
			if d.Why = err.Error(); ctx.Err() != nil {
				d.Why = fmt.Sprintf("time was up after %v", q.wait.timeout)
			}
		}
	}
	slices.Sort(d.Have)
	slices.Sort(d.Missing)
	d.Missing = slices.Compact(d.Missing)
	if q.wait.hosts == 0 {
		d.Dead = q.s.dead(d.Have)
	}
	q.wait, q.onDisk = nil, d
	head := q.w.Header()
	if d.Dead != nil {
		head.Set(HeaderDead, strings.Join(d.Dead, ", "))
	}
	head.Set(HeaderOnDisk, strings.Join(d.Have, ", "))
	if !d.Enough {
		head.Set(HeaderNotOnDisk, strings.Join(d.Missing, ", "))
		head.Add("Warning", fmt.Sprintf("299 - %q", plain(d.say(), 500)))
	}
	return d
}

// dead are the hosts, but for these, of which somebody has said that they are.
func (s *Server) dead(but []string) (all []string) {
	l := s.look()
	for host := range knownHosts(l.State) {
		if a := l.absence(host); a != nil && a.state == StateDown && !slices.Contains(but, host) {
			all = append(all, host)
		}
	}
	return all
}

// say is what a warning says of a change that not as many hosts have as was asked for.
func (d *OnDisk) say() string {
	return fmt.Sprintf("the change is made and stands, on disk of %s; not yet known to be on disk of %s (%s): they get it as soon as they are in reach",
		strings.Join(d.Have, ", "), strings.Join(d.Missing, ", "), d.Why)
}

// SpreadFunc waits until so many hosts (0: all that are known and not said to be dead), this one included, have the commit on disk. It says who
// has, this host first of all, and which known ones have not. The error says why not as many have it as was wanted: that
// of ctx when time was up.
type SpreadFunc func(ctx context.Context, commit events.ID, hosts int) (have, missing []string, err error)

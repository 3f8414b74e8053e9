package trial

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Load is clients that write through an agent's API, one request at a time each, and a record of what was
// acknowledged to them. A change counts as acknowledged when the 200 was read to its end.
//
// A client applies manifests of up to three objects that carry the same generation, deletes objects, and now and then
// applies a manifest with a mistake in its last document, none of which may ever be seen.
type Load struct {
	clients []*client
	think   time.Duration

	mu           sync.Mutex
	frozen       bool // what is answered now is not believed
	acknowledged int
	wrong        []string // answers that are wrong by themselves
}

type client struct {
	rnd        *rand.Rand
	groups     []*group
	generation uint64
}

// NewLoad is a load of so many clients, each with groups of its own, that think for a random time of up to twice
// think between requests. The same seed makes the same requests.
func NewLoad(clients, groups int, think time.Duration, seed uint64) *Load {
	l := &Load{think: think}
	for i := range clients {
		c := &client{rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		for j := range groups {
			c.groups = append(c.groups, &group{name: fmt.Sprintf("load-%d-%d", i, j)})
		}
		l.clients = append(l.clients, c)
	}
	return l
}

// Acknowledged is how many changes have been acknowledged so far.
func (l *Load) Acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acknowledged
}

// Freeze makes every answer that comes after it count for nothing until the next Run: the change may have been made
// or not. It is for the moment before a disk is cut off, after which what is acknowledged may be a lie of the disk's.
func (l *Load) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = true
}

// Run writes to the agent at url. Each client ends when ctx does, or at the first request to which there is no answer,
// as when the agent is killed; Run returns when all have.
func (l *Load) Run(ctx context.Context, url string) {
	l.mu.Lock()
	l.frozen = false
	l.mu.Unlock()
	transport := &http.Transport{MaxIdleConnsPerHost: len(l.clients)}
	defer transport.CloseIdleConnections()
	var wg sync.WaitGroup
	for _, c := range l.clients {
		wg.Go(func() { l.run(ctx, c, &http.Client{Transport: transport, Timeout: 20 * time.Second}, url) })
	}
	wg.Wait()
}

func (l *Load) run(ctx context.Context, c *client, http *http.Client, url string) {
	for ctx.Err() == nil {
		g := c.groups[c.rnd.IntN(len(c.groups))]
		c.generation++
		if !l.request(c, g, http, url) {
			return
		}
		wait(ctx, time.Duration(c.rnd.Int64N(int64(2*l.think)+1)))
	}
}

// request makes one request, and reports whether the client may go on. It is not cut off when the load ends: only the
// agent's own end does that.
func (l *Load) request(c *client, g *group, http *http.Client, url string) bool {
	ctx := context.Background()
	v := g.acked
	switch dice := c.rnd.IntN(100); {
	case dice < 8: // a mistake in the last document
		bad := strings.Replace(g.document(service, c.generation), "port: 80", "port: 80000", 1)
		_, err := Apply(ctx, http, url, g.document(deployment, c.generation)+"---\n"+bad)
		var status *StatusError
		if err == nil || errors.As(err, &status) && (status.Code < 400 || status.Code > 499) && !retry(err) {
			l.complain(fmt.Sprintf("a manifest with a mistake in it was answered with %v", err))
		}
		return errors.As(err, &status)
	case dice < 20 && v != version{}: // one object goes
		k := c.rnd.IntN(kinds)
		for v[k] == 0 {
			k = (k + 1) % kinds
		}
		v[k] = 0
		return l.settle(g, v, Delete(ctx, http, url, kindName(k), g.name))
	case dice < 35: // two of three
		v[deployment], v[ingress] = c.generation, c.generation
	default:
		v = version{c.generation, c.generation, c.generation}
	}
	_, err := Apply(ctx, http, url, g.manifest(v))
	return l.settle(g, v, err)
}

// retry reports whether an answer says that nothing was recorded and that the same is worth another try.
func retry(err error) bool {
	var status *StatusError
	return errors.As(err, &status) &&
		(status.Code == http.StatusServiceUnavailable || status.Code == http.StatusInsufficientStorage)
}

// settle notes what became of a request that wanted the group to be v, and reports whether the client may go on.
func (l *Load) settle(g *group, v version, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var status *StatusError
	switch {
	case l.frozen:
		g.pending = &v
		return false
	case err == nil:
		g.old, g.acked = g.acked, v
		l.acknowledged++
		return true
	case retry(err):
		return true
	case errors.As(err, &status) && status.Code < 500:
		l.wrong = append(l.wrong, fmt.Sprintf("%s: a good request was refused: %v", g.name, err))
		return true
	}
	g.pending = &v
	return false
}

func (l *Load) complain(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, what)
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// Clients work on a few Services of namespace default through one host, and remember what they were told. Nobody else
// may touch those.
type Clients struct {
	name           string
	count, objects int
	think          time.Duration
	began          time.Time

	mu     sync.Mutex
	rnds   []*rand.Rand
	values int // that have been written, so that each is new
	done   []porcupine.Operation
}

// New is so many clients on so many objects, whose names begin with name, that think for up to twice think between
// requests. The same seed asks for the same things, as far as the answers are the same.
func New(name string, clients, objects int, think time.Duration, seed uint64) *Clients {
	c := &Clients{name: name, count: clients, objects: objects, think: think, began: time.Now()}
	for i := range clients {
		c.rnds = append(c.rnds, rand.New(rand.NewPCG(seed, uint64(i))))
	}
	return c
}

// Names are the objects' names.
func (c *Clients) Names() []string {
	var names []string
	for i := range c.objects {
		names = append(names, c.object(i))
	}
	return names
}

func (c *Clients) object(i int) string { return fmt.Sprintf("%s-%d", c.name, i) }

// Answered is how many requests have had an answer so far, and how many were sent and have had none.
func (c *Clients) Answered() (answered, unanswered int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.done {
		if c.done[i].Return == math.MaxInt64 {
			unanswered++
		}
	}
	return len(c.done) - unanswered, unanswered
}

// Run has the clients ask the agent at url until ctx ends, whether it answers or not: it may be killed and come back
// meanwhile. It returns when no request is under way.
func (c *Clients) Run(ctx context.Context, http *http.Client, url string) {
	var wg sync.WaitGroup
	for i := range c.count {
		wg.Go(func() {
			seen := make([]sight, c.objects)
			for ctx.Err() == nil {
				n := c.rnds[i].IntN(c.objects)
				q := c.ask(c.rnds[i], c.object(n), seen[n].value)
				c.once(i, http, url, q, &seen[n])
				pause(ctx, time.Duration(c.rnds[i].Int64N(int64(2*c.think)+1)))
			}
		})
	}
	wg.Wait()
}

// sight is what a client has last seen of an object.
type sight struct{ value, version string }

// ask draws a request.
func (c *Clients) ask(rnd *rand.Rand, object, seen string) question {
	q := question{object: object}
	switch dice := rnd.IntN(100); {
	case dice < 35:
		return q // a read
	case dice < 65 && seen != "":
		q.verb, q.seen = update, seen
	case dice < 70:
		q.verb = remove
		return q
	case dice < 85:
		q.verb = create
	default:
		q.verb = apply
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values++
	q.value = fmt.Sprint(c.values)
	return q
}

// once sends a request and notes what came of it.
func (c *Clients) once(client int, http *http.Client, url string, q question, seen *sight) {
	// Not cut off when ctx ends: only an agent's own end leaves a question open.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	asked := time.Since(c.began)
	a, sent := send(ctx, http, url, q, seen)
	ended := int64(time.Since(c.began))
	if !sent || a.unknown && q.verb == read {
		return
	}
	if a.unknown {
		ended = math.MaxInt64
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, porcupine.Operation{ClientId: client, Input: q, Call: int64(asked), Output: a, Return: ended})
}

// otherLog is how an agent says that a resourceVersion is from before it began to count its events anew, as it does after a start where it could
// not learn from all hosts how many of its own they hold. A value that was read before does not stand for its resourceVersion any more.
const otherLog = "is not of this host's log"

// send makes the request. sent is false when it was surely not carried out, and says nothing.
func send(ctx context.Context, client *http.Client, url string, q question, seen *sight) (a answer, sent bool) {
	const services = "/api/v1/namespaces/default/services"
	var body []byte
	var err error
	switch q.verb {
	case read:
		body, err = trial.Do(ctx, client, http.MethodGet, url+services+"/"+q.object, "")
	case apply:
		var applied trial.Applied
		applied, err = trial.Apply(ctx, client, url, service(q, ""))
		a.created = err == nil && len(applied.Results) == 1 && applied.Results[0].Action == "created"
	case create:
		body, err = do201(ctx, client, url+services, service(q, ""))
	case update:
		body, err = trial.Do(ctx, client, http.MethodPut, url+services+"/"+q.object, service(q, seen.version))
	case remove:
		_, err = trial.Do(ctx, client, http.MethodDelete, url+services+"/"+q.object, "")
	}
	var status *trial.StatusError
	var op *net.OpError
	switch {
	case err == nil:
		a.done = true
	case errors.As(err, &op) && op.Op == "dial":
		return a, false
	case q.verb == update && errors.As(err, &status) && status.Code == http.StatusConflict && strings.Contains(status.Body, otherLog):
		*seen = sight{} // refused for the version's sake, whatever the object is
		return a, false
	case errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusConflict):
		*seen = sight{}
		return a, true
	case errors.As(err, &status) && (status.Code == http.StatusServiceUnavailable || status.Code == http.StatusInsufficientStorage):
		return a, false // it says that nothing was recorded
	default:
		a.unknown = true
		return a, true
	}
	if body != nil {
		if *seen, err = seenIn(body); err != nil {
			a.value = err.Error() // which nobody has written
		} else if q.verb == read {
			a.value = seen.value
		}
	}
	return a, true
}

// do201 is trial.Do for what answers 201.
func do201(ctx context.Context, client *http.Client, url, body string) ([]byte, error) {
	b, err := trial.Do(ctx, client, http.MethodPost, url, body)
	var status *trial.StatusError
	if errors.As(err, &status) && status.Code == http.StatusCreated {
		return []byte(status.Body), nil
	}
	return b, err
}

// annotation keeps the value.
const annotation = "trial/value"

func service(q question, version string) string {
	if version != "" {
		version = fmt.Sprintf("\n  resourceVersion: %q", version)
	}
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n  annotations: {%s: %q}%s\n"+
		"spec:\n  selector: {app: %[1]s}\n  ports: [{name: http, port: 80}]\n", q.object, annotation, q.value, version)
}

func seenIn(body []byte) (sight, error) {
	var o struct {
		Metadata struct {
			ResourceVersion string
			Annotations     map[string]string
		}
	}
	err := json.Unmarshal(body, &o)
	return sight{o.Metadata.Annotations[annotation], o.Metadata.ResourceVersion}, err
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

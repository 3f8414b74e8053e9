package linear

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is operations on one object that end before the next begins, but for those without an answer.
type history struct{ ops []porcupine.Operation }

func (h *history) add(q question, a answer) *history {
	q.object = "x"
	call := int64(2 * len(h.ops))
	ret := call + 1
	if a.unknown {
		ret = math.MaxInt64
	}
	h.ops = append(h.ops, porcupine.Operation{Input: q, Output: a, Call: call, Return: ret})
	return h
}

func (h *history) did(v verb, value string) *history {
	return h.add(question{verb: v, value: value}, answer{done: true, created: v == apply && len(h.ops) == 0})
}

func (h *history) open(v verb, value string) *history {
	return h.add(question{verb: v, value: value}, answer{unknown: true})
}

func (h *history) saw(value string) *history {
	return h.add(question{verb: read}, answer{done: value != "", value: value})
}

func (h *history) updated(seen, value string, done bool) *history {
	return h.add(question{verb: update, value: value, seen: seen}, answer{done: done})
}

func TestCheck_seesWhatNoOrderExplains(t *testing.T) {
	for name, c := range map[string]struct {
		history *history
		want    bool
	}{
		"what was written is read":                  {new(history).did(apply, "1").saw("1"), true},
		"an acknowledged change is lost":            {new(history).did(apply, "1").did(apply, "2").saw("1"), false},
		"an acknowledged delete is undone":          {new(history).did(apply, "1").did(remove, "").saw("1"), false},
		"an open change may be seen":                {new(history).did(apply, "1").open(apply, "2").saw("2"), true},
		"an open change may be seen later":          {new(history).did(apply, "1").open(apply, "2").saw("1").saw("2"), true},
		"an open change may never be seen":          {new(history).did(apply, "1").open(apply, "2").saw("1"), true},
		"an open change is not seen and then taken": {new(history).did(apply, "1").open(apply, "2").saw("2").saw("1"), false},
		"an open delete":                            {new(history).did(apply, "1").open(remove, "").saw("1").saw(""), true},
		"a value that nobody wrote":                 {new(history).did(apply, "1").saw("7"), false},
		"an update of what was read":                {new(history).did(apply, "1").updated("1", "2", true).saw("2"), true},
		"two updates of one version":                {new(history).did(apply, "1").updated("1", "2", true).updated("1", "3", true), false},
		"the second is refused":                     {new(history).did(apply, "1").updated("1", "2", true).updated("1", "3", false).saw("2"), true},
		"refused without a reason":                  {new(history).did(apply, "1").updated("1", "2", false), false},
		"created twice":                             {new(history).did(create, "1").did(create, "2"), false},
		"created over an apply":                     {new(history).did(apply, "1").did(create, "2"), false},
		"created again after a delete":              {new(history).did(create, "1").did(remove, "").did(create, "2").saw("2"), true},
		"an apply says created of what was there": {new(history).did(create, "1").
			add(question{verb: apply, value: "2"}, answer{done: true, created: true}), false},
	} {
		err := (&Clients{done: c.history.ops}).Check(5*time.Second, "")
		if got := err == nil; got != c.want {
			t.Errorf("%s: got %v, want linearizable: %v", name, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), "x: nothing explains") {
			t.Errorf("%s: got %q, want the object named", name, err)
		}
	}
}

// An update that is refused for a resourceVersion of another log says nothing of the object; one that is refused for what the object is does.
func TestClients_versionOfAnotherLog(t *testing.T) {
	for message, want := range map[string]int{
		"Operation cannot be fulfilled: resourceVersion 7 is not of this host's log; the object has been modified": 0,
		"Operation cannot be fulfilled: the object has been modified":                                              1,
	} {
		agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprintf(w, `{"kind":"Status","message":%q}`, message)
		}))
		c, seen := New("x", 1, 1, 0, 1), sight{"1", "7"}
		c.once(0, agent.Client(), agent.URL, question{object: "x-0", verb: update, value: "2", seen: "1"}, &seen)
		agent.Close()
		if len(c.done) != want || seen != (sight{}) {
			t.Errorf("%s: got %v and %v, want %d", message, c.done, seen, want)
		}
	}
}

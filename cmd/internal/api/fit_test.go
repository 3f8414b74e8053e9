package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

const servicesPath = "/api/v1/namespaces/default/services"

// ported is a Service, as JSON, with that port on the hosts; 0: with whichever.
func ported(name string, port int) string {
	return fmt.Sprintf(`{"kind":"Service","apiVersion":"v1","metadata":{"name":%q},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":%d}]}}`, name, port)
}

// What another Service has is refused by every way in, and named; whoever has it may declare it again.
func TestService_whatAnotherHas(t *testing.T) {
	a := start(t, t.TempDir())
	past(t, a)
	a.want(201, "POST", servicesPath, ported("one", 30080))
	a.want(201, "POST", servicesPath, ported("two", 30081))
	index := a.index()
	const patch = `{"spec":{"ports":[{"port":80,"nodePort":30080}]}}`
	for _, got := range []answer{
		a.want(422, "POST", "/api/v1/manifests", ported("three", 30080)),
		a.want(422, "POST", "/api/v1/manifests?dry_run=true", ported("three", 30080)),
		a.want(422, "POST", servicesPath, ported("three", 30080)),
		a.want(422, "PUT", servicesPath+"/two", ported("two", 30080)),
		a.want(422, "PATCH", servicesPath+"/two", patch, "Content-Type: application/merge-patch+json"),
		a.want(422, "PATCH", servicesPath+"/two", patch, "Content-Type: application/strategic-merge-patch+json"),
	} {
		if all := string(got.body); !strings.Contains(all, "spec.ports[0].nodePort") || !strings.Contains(all, "Service default/one has it") {
			t.Errorf("got %s", all)
		}
	}
	if got := string(a.want(422, "POST", "/api/v1/manifests", strings.ReplaceAll(ported("three", 0), `"type"`, `"clusterIP":"192.0.2.1","type"`)).body); !strings.Contains(got, "spec.clusterIP") ||
		!strings.Contains(got, "it is none of --service-cidr 10.96.0.0/12") {
		t.Errorf("an address of none: got %s", got)
	}
	if got := a.want(200, "POST", "/api/v1/manifests", ported("one", 30080)); got.field("results.0.action") != "unchanged" || a.index() != index {
		t.Errorf("again: got %s", got.body)
	}
	a.want(200, "PUT", servicesPath+"/one", strings.ReplaceAll(ported("one", 30080), `"type"`, `"sessionAffinity":"ClientIP","type"`))
	gone := a.index() + 1
	a.want(200, "DELETE", servicesPath+"/one", "")
	a.want(201, "POST", servicesPath, ported("three", 30080))
	if got := a.want(409, "POST", fmt.Sprint("/swarm/v1/undo?event=", gone), ""); !strings.Contains(string(got.body), "Service default/three has it") {
		t.Errorf("undone: got %s", got.body)
	}
}

// Of many who ask for one port at once, one gets it.
func TestService_oneOfMany(t *testing.T) {
	a := start(t, t.TempDir())
	var wait sync.WaitGroup
	codes := make([]int, 12)
	for i := range codes {
		wait.Go(func() { codes[i] = a.do("POST", servicesPath, ported(fmt.Sprint("s", i), 30080)).code })
	}
	wait.Wait()
	got := map[int]int{}
	for _, code := range codes {
		got[code]++
	}
	if got[201] != 1 || got[422] != len(codes)-1 {
		t.Errorf("got %v", got)
	}
}

// busyLedger is a ledger to which somebody else has just declared another Service, each of so many times that something is recorded.
type busyLedger struct {
	*projection.Ledger
	times, asked, moved int
}

func (l *busyLedger) Record(ctx context.Context, by projection.By, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	if l.asked++; l.asked <= l.times {
		object := []byte(ported(fmt.Sprint("other", l.asked), 31000+l.asked))
		if _, err := l.Ledger.Record(ctx, by, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Declared, Key: fmt.Sprint("service/default/other", l.asked), Object: object}}, nil
		}); err != nil {
			return projection.Receipt{}, err
		}
	}
	return l.Ledger.Record(ctx, by, func(st *projection.State) ([]projection.Change, error) {
		changes, err := decide(st)
		if errors.Is(err, errServicesMoved) {
			l.moved++
		}
		return changes, err
	})
}

// While others declare Services it is decided anew outside of the ledger, where nobody waits for it, and within it only when that has been in vain often.
func TestService_isDecidedOutsideOfTheLedger(t *testing.T) {
	for _, c := range []struct{ times, asked, moved int }{{0, 1, 0}, {5, 6, 5}, {100, servicesTries + 1, servicesTries}} {
		var busy *busyLedger
		a := start(t, t.TempDir(), func(s *Server) {
			busy = &busyLedger{Ledger: s.Ledger.(*projection.Ledger), times: c.times}
			s.Ledger = busy
		})
		a.want(201, "POST", servicesPath, ported("mine", 30080))
		if busy.asked != c.asked || busy.moved != c.moved {
			t.Errorf("%d others: recorded %d times, %d of them left for another try; want %d and %d", c.times, busy.asked, busy.moved, c.asked, c.moved)
		}
		busy.times = 0
		a.want(422, "POST", servicesPath, ported("late", 30080))
		a.stop()
	}
}

// A Service whose first choice another has keeps what it got when that one ends, and its manifest, applied again, changes nothing.
func TestService_staysWhereItIs(t *testing.T) {
	a := start(t, t.TempDir())
	const one, two = "s24", "s37" // whose names want the same port
	alone := a.want(201, "POST", servicesPath, ported(two, 0)).field("spec.ports.0.nodePort")
	a.want(200, "DELETE", servicesPath+"/"+two, "")
	if got := a.want(201, "POST", servicesPath, ported(one, 0)).field("spec.ports.0.nodePort"); got != alone {
		t.Fatalf("they want %s and %s", got, alone)
	}
	a.want(200, "POST", "/api/v1/manifests", ported(two, 0))
	had := a.want(200, "GET", servicesPath+"/"+two, "").field("spec.ports.0.nodePort")
	if o, _ := a.ledger.View().Lookup("service/default/" + two); had == alone || !strings.Contains(string(o.Version.Object), `"nodePort":`+had) {
		t.Errorf("it has %s, and declared is %s", had, o.Version.Object)
	}
	a.want(200, "DELETE", servicesPath+"/"+one, "")
	if got := a.want(200, "POST", "/api/v1/manifests", ported(two, 0)); got.field("results.0.action") != "unchanged" {
		t.Errorf("applied again: got %s", got.body)
	}
	if got := a.want(200, "GET", servicesPath+"/"+two, "").field("spec.ports.0.nodePort"); got != had {
		t.Errorf("the other has ended: got %s, want %s", got, had)
	}
	a.want(200, "PATCH", servicesPath+"/"+two, `{"spec":{"type":"ClusterIP"}}`, "Content-Type: application/merge-patch+json")
	a.want(200, "DELETE", servicesPath+"/"+two, "")
	a.want(200, "POST", "/api/v1/manifests", ported(one, 0)+"\n---\n"+strings.ReplaceAll(ported("asks", 0), `"nodePort":0`, `"nodePort":`+alone))
	if got := a.want(200, "GET", servicesPath+"/asks", "").field("spec.ports.0.nodePort"); got != alone {
		t.Errorf("declared together with one whose name wants what it asks for: got %s, want %s", got, alone)
	}
}

// Services that are declared together may take from each other what they give up, in whichever order they stand.
func TestService_swapped(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(200, "POST", "/api/v1/manifests", ported("one", 30080)+"\n---\n"+ported("two", 30081))
	a.want(200, "POST", "/api/v1/manifests", ported("one", 30081)+"\n---\n"+ported("two", 30080))
	a.want(200, "POST", "/api/v1/manifests", ported("three", 30081)+"\n---\n"+ported("one", 30090))
	a.want(200, "POST", "/api/v1/manifests", ported("four", 30090)+"\n---\n"+strings.Replace(ported("one", 0), "NodePort", "ClusterIP", 1))
	for name, want := range map[string]string{"one": "0", "two": "30080", "three": "30081", "four": "30090"} {
		if got := a.want(200, "GET", servicesPath+"/"+name, "").field("spec.ports.0.nodePort"); got != want && !(want == "0" && got == "") {
			t.Errorf("%s: got %q, want %s", name, got, want)
		}
	}
	// What one keeps without a word is not free.
	silent := strings.Replace(ported("two", 0), `,"nodePort":0`, "", 1)
	if got := a.want(422, "POST", "/api/v1/manifests", ported("five", 30080)+"\n---\n"+silent); !strings.Contains(string(got.body), "Service default/two has it") {
		t.Errorf("got %s", got.body)
	}
}

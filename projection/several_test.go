package projection

import (
	"encoding/json"
	"testing"
	"time"
)

// A pod takes no requests before all its containers do, and is ready since the last of them is.
func TestReplica_whole(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0).UTC() }
	first := Replica{Phase: Running, Container: "a", Started: at(10)}
	side := Replica{Phase: Running, Container: "b", Started: at(11)}
	ended, asked, early := side, side, side
	ended.Phase, ended.Reason = Exited, "CrashLoopBackOff"
	asked.Unready = "readiness probe: no"
	early.Started = at(9)
	own, pending := first, Replica{Phase: Pending, Reason: "PodInitializing"}
	own.Unready = "readiness probe: not yet"
	var was *Replica
	for _, c := range []struct {
		name    string
		first   Replica
		others  map[string]Replica
		unready string
		readied time.Time
	}{
		{"before the first", pending, nil, "", time.Time{}},
		{"the other is not there", first, nil, "container side: it is not there yet", time.Time{}},
		{"both run", first, map[string]Replica{"side": side}, "", at(103)},
		{"still", first, map[string]Replica{"side": side, "init": ended}, "", at(103)},
		{"the other has ended", first, map[string]Replica{"side": ended}, "container side: CrashLoopBackOff", at(103)},
		{"the other is not ready", first, map[string]Replica{"side": asked}, "container side: readiness probe: no", at(103)},
		{"the other has the network of another run", first, map[string]Replica{"side": early}, "container side: it has to be started again", at(103)},
		{"the first is not ready itself", own, map[string]Replica{"side": ended}, "readiness probe: not yet", at(103)},
		{"both run again", first, map[string]Replica{"side": side}, "", at(109)},
	} {
		now := at(101)
		if was != nil {
			now = was.Finished.Add(time.Second)
		}
		whole := c.first.Whole(c.others, []string{"side"}, c.first.Started, was, now)
		if whole.Unready != c.unready || !whole.Readied.Equal(c.readied) {
			t.Errorf("%s: got %q since %v, want %q since %v", c.name, whole.Unready, whole.Readied, c.unready, c.readied)
		}
		if part := whole.Part(""); part.Unready != c.first.Unready || part.Others != nil {
			t.Errorf("%s: the first by itself: got %+v", c.name, part)
		}
		if part, has := whole.Part("side"), c.others["side"]; part != nil && part.Phase != has.Phase || (part == nil) != (has.Container == "") {
			t.Errorf("%s: the other: got %+v", c.name, part)
		}
		whole.Finished = now // the test's clock
		was = whole
	}
	if p := (*Replica)(nil).Part("side"); p != nil {
		t.Errorf("of nothing: got %+v", p)
	}
}

// What is said of a pod of one container is what it ever was, byte for byte.
func TestReplica_wholeOfOne(t *testing.T) {
	one := Replica{Phase: Running, Unready: "readiness probe: no", Started: time.Unix(10, 0).UTC(), Readied: time.Unix(11, 0).UTC()}
	was := one
	got, err := json.Marshal(one.Whole(nil, nil, time.Time{}, &was, time.Unix(99, 0)))
	if want := string(Encode(one)); err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

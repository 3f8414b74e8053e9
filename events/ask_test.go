package events

import (
	"slices"
	"testing"
)

func TestAsks_whatIsStillToBeCompared(t *testing.T) {
	const peer = "host h2"
	holds := func(seq uint64) map[string][]Known { return map[string][]Known{peer: {{Inc: 7, Seq: seq}}} }
	jumped := Chain{Inc: 7, Last: 20, Lacks: []Range{{6, 10}}}
	differs := Chain{Inc: 7, Last: 20, Differs: []Difference{{Known: Known{Inc: 7, Seq: 20, From: "paper"}}, {Known: Known{Inc: 7, Seq: 20, From: peer}, After: 12}}}
	cut := Chain{Inc: 7, Last: 20, Differs: []Difference{{Known: Known{Inc: 7, Seq: 25, From: peer}, After: 12, Missing: true}}}
	for _, c := range []struct {
		what  string
		chain Chain
		seq   uint64
		want  []Ask
	}{
		{"as far, and the same", Chain{Inc: 7, Last: 20}, 20, nil},
		{"the other is behind", Chain{Inc: 7, Last: 20}, 15, nil},
		{"the other is ahead", Chain{Inc: 7, Last: 20}, 25, []Ask{{peer, 7, 19, 20, 25}}},
		{"a part was jumped over", jumped, 20, []Ask{{peer, 7, 4, 5, 20}}},
		{"all of it was", Chain{Inc: 7, Last: 10, Lacks: []Range{{1, 10}}}, 10, nil},
		{"another by then", differs, 20, []Ask{{peer, 7, 12, 20, 20}}},
		{"cut off", cut, 25, []Ask{{peer, 7, 19, 20, 25}}},
		{"of another incarnation", Chain{Inc: 8, Last: 20}, 25, nil},
		{"damaged", Chain{Inc: 7, Last: 20, Bad: ErrFailed}, 25, nil},
	} {
		if got := Asks([]Chain{c.chain}, holds(c.seq)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.what, got, c.want)
		}
	}
}

func TestAsk_answer(t *testing.T) {
	a := Ask{"host h2", 7, 12, 20, 25}
	point := func(seq uint64, hash string) Known { return Known{Inc: 7, Seq: seq, Hash: hash} }
	told := func(seq uint64, hash string) Known {
		return Known{Inc: 7, Seq: seq, Hash: hash, Host: "h1", From: "host h2"}
	}
	next, other := point(20, "bb"), point(22, "cc")
	for _, c := range []struct {
		what   string
		points []Known
		next   *Known
		want   []Known
	}{
		{"all of it", []Known{point(15, "aa"), point(20, "bb")}, nil, []Known{told(15, "aa"), told(20, "bb")}},
		{"it has not got the ones before", nil, &next, []Known{told(20, "bb")}},
		{"none of its commits ends there", []Known{point(15, "aa")}, &other, []Known{told(15, "aa"), told(20, "")}},
		{"it has not got it", nil, nil, nil},
	} {
		if got := a.Answer("h1", c.points, c.next); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.what, got, c.want)
		}
	}
}

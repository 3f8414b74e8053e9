package events

import (
	"maps"
	"slices"
)

// Ask is a question to who knows more of a chain than where it ends: where its commits end, after one event and up to another.
type Ask struct {
	From   string // as in Known
	Inc    Incarnation
	After  uint64
	UpTo   uint64
	Beyond uint64 // how far who is asked has the chain: where none of its commits ends with event UpTo, it is asked for the next, up to here
}

// Asks says what is still to be asked of whom, so that all that both hold is compared, and the first event is named that is another: each commit up
// to a difference; where a chain was that somebody has further, when it was as far as the log's; and where it was before the log jumped over a part
// of it, since behind that the log is as all others know it whatever stands before. holds is where the chains end that each has. When the answers have
// been given to Verify, there may be more to ask.
func Asks(chains []Chain, holds map[string][]Known) (all []Ask) {
	for i := range chains {
		c := &chains[i]
		if c.Last == 0 || c.Bad != nil {
			continue
		}
		for _, from := range slices.Sorted(maps.Keys(holds)) {
			n := slices.IndexFunc(holds[from], func(k Known) bool { return k.Inc == c.Inc })
			if n < 0 {
				continue
			}
			ask := func(after, upTo uint64) {
				if upTo > 0 && after < upTo {
					all = append(all, Ask{from, c.Inc, after, upTo, holds[from][n].Seq})
				}
			}
			if d := slices.IndexFunc(c.Differs, func(d Difference) bool { return d.From == from && !d.Missing }); d >= 0 {
				ask(c.Differs[d].After, min(c.Differs[d].Seq, c.Last))
				continue
			}
			if holds[from][n].Seq > c.Last {
				ask(c.Last-1, c.Last)
			}
			for _, r := range c.Lacks {
				ask(max(r.From, 2)-2, r.From-1)
			}
		}
	}
	return all
}

// Answer is what the log is to be held to by what was answered: the ends of commits up to UpTo, and where none of them is that, the first one from
// there on, if that is had.
func (a *Ask) Answer(host string, points []Known, next *Known) (all []Known) {
	met := false
	for _, k := range points {
		k.Host, k.From = host, a.From
		all = append(all, k)
		met = met || k.Seq == a.UpTo
	}
	switch {
	case met || next == nil:
	case next.Seq == a.UpTo:
		k := *next
		k.Host, k.From = host, a.From
		all = append(all, k)
	default: // no commit ends there, so no hash is the right one
		all = append(all, Known{Inc: a.Inc, Seq: a.UpTo, Host: host, From: a.From})
	}
	return all
}

package events

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Chain is the hash chain of one incarnation, as far as Verify found it whole.
type Chain struct {
	Inc     Incarnation
	Node    string  // name of the host, as its last commit gives it
	First   uint64  // number of the first of its events in this log; 0 where it holds none
	Last    uint64  // of the last one found good
	Records int     // found good
	Head    Hash    // of the last one found good
	Trimmed uint64  // its events up to this one were trimmed off, and not to be had
	Lacks   []Range // its events that this log does not hold, since it jumped over them
	Bad     error   // what is wrong with the next one; nil when all are good
	// Differs is where the chain is not what others know of it, the first place first.
	Differs []Difference
	Agreed  int // how many places it is held to, and is as others know it
	Unheld  int // and how many are among what this log lacks, or what stands behind damage, so that nothing can be said of them

	beyond uint64 // up to this event it goes on behind damage, by what is written there
}

// Range is the events From to To of an incarnation, both included.
type Range struct{ From, To uint64 }

// Known is a place on a chain as somebody knows it: after event Seq, the last of its commit.
type Known struct {
	Inc  Incarnation
	Seq  uint64
	Hash string // in hexadecimal; the first 32 digits are enough
	Host string // whose chain it is; "" when that is not known
	From string // who knows: "host h2", "backup …"
	// May says that this log need not have come so far yet: another host is ahead.
	May bool
}

// KnownDigits is how many digits of a hash a Known has at least: 128 bits, for which nobody finds another commit.
const KnownDigits = 32

// Difference is a place where a chain is not what somebody knows of it.
type Difference struct {
	Known
	After   uint64 // up to this event it is as others know it, if there is such a one
	Missing bool   // the log ends before it, so what follows on Last was cut off; else something else stands there
}

// First is the first event that may not be what it was, of a chain that ends with event last.
func (d *Difference) First(last uint64) uint64 {
	if d.Missing {
		return last + 1
	}
	return d.After + 1
}

// Verify recomputes every hash and follows the chain of each incarnation in the log in dir, in the order in which
// they first occur, and holds each to what others know of it. It needs no lock and changes nothing. The error says that the log itself is
// damaged, that chains are broken, or that they are not as they are known, naming host, incarnation and event; the chains are returned in either case.
// Of damage, whose event it is is told from what stands around it, where that suffices; nothing behind it is held to anything.
// What was trimmed off the log is held to it as if it still stood there, if trimmed gives it; nil: it is not looked at.
// key is as in Dump. When ctx ends, so does the reading, with its error.
func Verify(ctx context.Context, dir string, key *Key, trimmed Trimmed, known ...Known) ([]Chain, error) {
	var v *verifying
	var unread error
	err := ErrTrimmed
	for errors.Is(err, ErrTrimmed) { // while it was read: it is read anew, from where it begins now
		v = newVerifying(known)
		err = whole(dir, key, func(first place, all heads) (err error) {
			ends := heads{}
			if unread = v.trimmed(ctx, first, trimmed, ends); unread != nil || len(v.chains) == 0 {
				*v = *newVerifying(known)
				v.floor(all)
				return ctx.Err()
			}
			v.joins(all, ends)
			return nil
		}, func(f *frame, _ *mark) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := f.record()
			return v.record(&r)
		})
	}
	var damage *CorruptError
	if errors.As(err, &damage) {
		err = errors.Join(err, v.damaged(dir, damage))
	}
	v.judge()
	if unread != nil && !errors.Is(unread, ErrTrimmed) {
		err = errors.Join(err, fmt.Errorf("what was trimmed off the log cannot be verified: %w", unread))
	}
	for i := range v.chains {
		c := &v.chains[i]
		err = errors.Join(err, c.Bad)
		for k := range c.Differs {
			err = errors.Join(err, errors.New(c.Explain(&c.Differs[k])))
		}
	}
	if err != nil {
		return v.chains, fmt.Errorf("verify log %s: %w", dir, err)
	}
	return v.chains, nil
}

// Trimmed gives the records that were trimmed off a log, in its order, all that there are before the event with that index. None, or ErrTrimmed: they
// cannot be had.
type Trimmed func(ctx context.Context, before uint64, fn func(Record) error) error

func sortedIncs(all heads) []Incarnation {
	var incs []Incarnation
	for inc := range all {
		incs = append(incs, inc)
	}
	slices.Sort(incs)
	return incs
}

// verifying is what Verify has found so far.
type verifying struct {
	chains []Chain
	at     map[Incarnation]int
	held   map[Incarnation][]held

	partly bool // what was trimmed off is not there from the first event on
}

// held is a place that the log is held to.
type held struct {
	Known
	met, agrees bool
}

func newVerifying(known []Known) *verifying {
	v := &verifying{at: map[Incarnation]int{}, held: map[Incarnation][]held{}}
	for _, k := range known {
		v.held[k.Inc] = append(v.held[k.Inc], held{Known: k})
	}
	for _, all := range v.held {
		slices.SortFunc(all, func(a, b held) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return v
}

// floor takes in where each incarnation stood when the log was trimmed.
func (v *verifying) floor(all heads) {
	for _, inc := range sortedIncs(all) {
		h, c := all[inc], v.chain(inc)
		c.Last, c.Head, c.Trimmed = h.last, h.hash, h.last
		v.pass(inc, h.last, h.last, h.hash)
	}
}

func (v *verifying) chain(inc Incarnation) *Chain {
	i, ok := v.at[inc]
	if !ok {
		i = len(v.chains)
		v.at[inc] = i
		v.chains = append(v.chains, Chain{Inc: inc})
	}
	return &v.chains[i]
}

func (v *verifying) record(r *Record) error {
	if r.Inc == 0 {
		return v.jump(r)
	}
	c := v.chain(r.Inc)
	if c.Bad != nil {
		if c.Node == "" { // else nobody could tell whose it is
			if m, err := ParseCommit(r.Payload); err == nil {
				c.Node = m.Node
			}
		}
		return nil
	}
	if c.Bad = c.follow(r); c.Bad == nil {
		v.pass(r.Inc, r.Seq, c.Last, r.Hash)
	}
	return nil
}

// jump moves all chains to where the state that was taken over has them. It is this log's own word: its checksum has been checked.
func (v *verifying) jump(r *Record) error {
	j, err := parseJump(r.Payload)
	if err != nil {
		return err
	}
	for _, to := range j.Jump.Heads {
		c := v.chain(to.Inc)
		switch {
		case c.Bad != nil:
			continue
		case to.Anew:
			c.Lacks, c.Trimmed = []Range{{1, to.Seq}}, 0
		case to.Seq > c.Last:
			c.Lacks = append(c.Lacks, Range{c.Last + 1, to.Seq})
		case to.Seq < c.Last: // what follows was given up
			c.Lacks = slices.DeleteFunc(c.Lacks, func(r Range) bool { return r.From > to.Seq })
			if n := len(c.Lacks); n > 0 {
				c.Lacks[n-1].To = min(c.Lacks[n-1].To, to.Seq)
			}
			c.Trimmed = min(c.Trimmed, to.Seq)
		}
		c.Last, c.Head = to.Seq, to.Hash
		v.pass(to.Inc, to.Seq, to.Seq, to.Hash)
	}
	return nil
}

// pass holds the chain to what is known of it between two events, at the second of which it has a hash. What the log has once had as it is
// known counts as that, also if it was given up since.
func (v *verifying) pass(inc Incarnation, from, to uint64, hash Hash) {
	all := v.held[inc]
	i, _ := slices.BinarySearchFunc(all, from, func(h held, seq uint64) int { return cmp.Compare(h.Seq, seq) })
	for ; i < len(all) && all[i].Seq <= to; i++ {
		h := &all[i]
		h.met = true
		h.agrees = h.agrees || h.Seq == to && len(h.Hash) >= KnownDigits && strings.HasPrefix(hex.EncodeToString(hash[:]), h.Hash)
	}
}

// judge says what came of it.
func (v *verifying) judge() {
	var unheard []Incarnation
	for inc := range v.held {
		if _, ok := v.at[inc]; !ok {
			unheard = append(unheard, inc)
		}
	}
	slices.Sort(unheard)
	for _, inc := range unheard {
		v.chain(inc)
	}
	for i := range v.chains {
		c := &v.chains[i]
		var after uint64
		for _, h := range v.held[c.Inc] {
			if c.Node == "" {
				c.Node = h.Host
			}
			switch {
			case h.agrees:
				c.Agreed, after = c.Agreed+1, h.Seq
			case h.met:
				c.Differs = append(c.Differs, Difference{Known: h.Known, After: after})
			case h.Seq <= max(c.Last, c.beyond):
				c.Unheld++
			case !h.May && c.Bad == nil:
				c.Differs = append(c.Differs, Difference{Known: h.Known, After: after, Missing: true})
			}
		}
	}
}

// Explain says of one of Differs what a person can make of it.
func (c *Chain) Explain(d *Difference) string {
	text, first := "", d.First(c.Last)
	switch {
	case d.Missing && c.Last == 0:
		text = fmt.Sprintf("it is not in this log, and %s knows of %d events", d.From, d.Seq)
	case d.Missing:
		text = fmt.Sprintf("the log ends with event %d of it, and %s knows of event %d", c.Last, d.From, d.Seq)
	case first == d.Seq:
		text = fmt.Sprintf("it is not what %s knows by that number", d.From)
	default:
		text = fmt.Sprintf("from it to event %d, something is not as %s knows it", d.Seq, d.From)
	}
	return fmt.Sprintf("host %q, incarnation %v, event %d: %s", c.Node, c.Inc, first, text)
}

// follow takes in the next record of the chain. That it follows on the one before, by the hashes put down, is seen
// before it comes here.
func (c *Chain) follow(r *Record) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("host %q, incarnation %v, event %d, record %d: %w", c.Node, c.Inc, r.Seq, r.Number, fmt.Errorf(format, a...))
	}
	if h := HashOf(r.Payload); h != r.Hash {
		return bad("its hash is %v, and it was put down as %v", h, r.Hash)
	}
	m, err := ParseCommit(r.Payload)
	if err != nil && !errors.Is(err, ErrVersion) {
		return bad("%w", err)
	}
	if err == nil {
		c.Node = m.Node
		if m.Inc != r.Inc || m.Seq != r.Seq || len(m.Events) != int(r.Count) {
			return bad("it says that it is %d events of incarnation %v from %d on", len(m.Events), m.Inc, m.Seq)
		}
	}
	if c.First == 0 {
		c.First = r.Seq
	}
	c.Last, c.Head = r.Seq+uint64(r.Count)-1, r.Hash
	c.Records++
	return nil
}

// Holds is how many events of the chain are in the log.
func (c *Chain) Holds() uint64 {
	n := c.Last - c.Trimmed
	for _, r := range c.Lacks {
		n -= r.To - r.From + 1
	}
	return n
}

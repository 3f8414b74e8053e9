package events

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrVersion is returned for a commit in a format of a later version. Of the commit then only Inc and Seq are set, if it still
// says them in the same way.
var ErrVersion = errors.New("format version is newer than this agent understands: upgrade the agent")

// ParseCommit reads a commit's bytes. The events' objects are parts of b, which must not be changed afterwards.
//
// Bytes as Append writes them are read by a small parser of our own at some million commits a second, and the
// objects in them are not looked into. Any other JSON of the same meaning (fields in another order, or unknown
// ones that a later version added) is read by encoding/json, and then the objects are checked as well.
func ParseCommit(b []byte) (Commit, error) {
	var c Commit
	if (&parser{b: b}).commit(&c) && c.check() == nil {
		return c, nil
	}
	return parseSlow(b)
}

// Parser is ParseCommit for many commits, one after the other: it makes no second copy of a text that it has seen, and
// the Events of what it returns are overwritten by the next Parse. The zero value is ready; it is for one goroutine.
type Parser struct {
	// Key, unless nil, gives the text of a key. The bytes are the caller's of Parse. It saves a look-up for who looks
	// every key up anyway.
	Key func([]byte) string

	p parser
}

// Parse is ParseCommit, but for the life of Commit.Events.
func (p *Parser) Parse(b []byte) (Commit, error) {
	if p.p.words == nil || len(p.p.words) > 1<<12 { // causes may differ every time, and are not kept for ever
		p.p.words = map[string]string{}
	}
	c := Commit{Events: p.p.events[:0]}
	p.p.b, p.p.i, p.p.key = b, 0, p.Key
	if p.p.commit(&c) && c.check() == nil {
		p.p.events, p.p.node, p.p.actor, p.p.cause = c.Events, c.Node, c.Actor, c.Cause
		return c, nil
	}
	return parseSlow(b)
}

// parser reads what Append writes. Each method reports whether it found what it expected, and moves past it.
type parser struct {
	b []byte
	i int

	words  map[string]string // texts seen; nil: not kept
	events []Event           // room for a commit's
	key    func([]byte) string

	node, actor, cause string // of the last commit: those of the next are mostly the same
}

func (p *parser) lit(s string) bool {
	if len(p.b)-p.i < len(s) || string(p.b[p.i:p.i+len(s)]) != s {
		return false
	}
	p.i += len(s)
	return true
}

// until returns what stands before the next c, and moves past it.
func (p *parser) until(c byte) ([]byte, bool) {
	n := bytes.IndexByte(p.b[p.i:], c)
	if n < 0 {
		return nil, false
	}
	s := p.b[p.i : p.i+n]
	p.i += n + 1
	return s, true
}

// text reads a string that holds no escape, with its closing quote. likely, which holds none, is what it often is.
func (p *parser) text(to *string, likely string) bool {
	s, ok := p.until('"')
	switch {
	case !ok || len(s) == 0:
		return false
	case string(s) == likely:
		*to = likely
		return true
	case !plain(s):
		return false
	case p.words == nil:
		*to = string(s)
		return true
	}
	word, ok := p.words[string(s)]
	if !ok {
		word = string(s)
		p.words[word] = word
	}
	*to = word
	return true
}

// keyText reads a key, as text does.
func (p *parser) keyText(to *string) bool {
	if p.key == nil {
		return p.text(to, "")
	}
	s, ok := p.until('"')
	if !ok || len(s) == 0 || !plain(s) {
		return false
	}
	*to = p.key(s)
	return true
}

func (p *parser) kind(to *Kind) bool {
	s, ok := p.until('"')
	if !ok || len(s) == 0 || !plain(s) {
		return false
	}
	*to = known(s)
	return true
}

func (p *parser) digits() (uint64, bool) {
	from := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	return parseUint(p.b[from:p.i])
}

// fixed returns the next n bytes, which a quote must follow, and moves past it.
func (p *parser) fixed(n int) ([]byte, bool) {
	if len(p.b)-p.i <= n || p.b[p.i+n] != '"' {
		return nil, false
	}
	s := p.b[p.i : p.i+n]
	p.i += n + 1
	return s, true
}

func (p *parser) hex() (uint64, bool) {
	s, ok := p.fixed(16)
	if !ok {
		return 0, false
	}
	return parseHex(s)
}

func (p *parser) id(to *ID) bool {
	s, ok := p.until('"')
	if ok {
		*to, ok = parseID(s)
	}
	return ok
}

func (p *parser) stamp(to *Stamp) bool {
	s, ok := p.until('"')
	if ok {
		*to, ok = parseStamp(s)
	}
	return ok
}

// start reads what every commit begins with: up to and with the hash of the one before.
func (p *parser) start(c *Commit) bool {
	if !p.lit(`{"v":1,"inc":"`) {
		return false
	}
	inc, ok1 := p.hex()
	if !ok1 || !p.lit(`,"seq":`) {
		return false
	}
	seq, ok2 := p.digits()
	if !ok2 || !p.lit(`,"time":"`) {
		return false
	}
	t, ok3 := p.hex()
	if !ok3 {
		return false
	}
	c.Inc, c.Seq, c.Time = Incarnation(inc), seq, Time(t)
	if p.lit(`,"prev":"`) {
		if s, ok := p.fixed(2 * len(c.Prev)); !ok || !parseHash(s, &c.Prev) {
			return false
		}
	}
	return true
}

func (p *parser) commit(c *Commit) bool {
	if !p.start(c) {
		return false
	}
	if p.lit(`,"node":"`) && !p.text(&c.Node, p.node) ||
		p.lit(`,"actor":"`) && !p.text(&c.Actor, p.actor) ||
		p.lit(`,"cause":"`) && !p.text(&c.Cause, p.cause) ||
		!p.lit(`,"events":[`) {
		return false
	}
	for {
		c.Events = append(c.Events, Event{}) // the first makes room for one, as there nearly always is
		if !p.event(&c.Events[len(c.Events)-1]) {
			return false
		}
		if p.lit("]}") {
			return p.i == len(p.b)
		}
		if !p.lit(",") {
			return false
		}
	}
}

func (p *parser) event(e *Event) bool {
	if !p.lit(`{"kind":"`) || !p.kind(&e.Kind) || !p.lit(`,"key":"`) || !p.keyText(&e.Key) ||
		!p.lit(`,"uid":"`) || !p.id(&e.UID) ||
		p.lit(`,"base":"`) && !p.stamp(&e.Base) ||
		p.lit(`,"for":"`) && !p.stamp(&e.For) ||
		p.lit(`,"ends":[`) && !p.ends(e) {
		return false
	}
	if p.lit(`,"size":`) {
		n, ok := p.digits()
		if !ok || !p.lit(`,"object":`) || n > uint64(len(p.b)-p.i) {
			return false
		}
		e.Object = p.b[p.i : p.i+int(n) : p.i+int(n)]
		p.i += int(n)
	}
	return p.lit("}")
}

func (p *parser) ends(e *Event) bool {
	for {
		var end End
		if !p.lit(`{"uid":"`) || !p.id(&end.UID) || p.lit(`,"base":"`) && !p.stamp(&end.Base) || !p.lit("}") {
			return false
		}
		e.Ends = append(e.Ends, end)
		if p.lit("]") {
			return true
		}
		if !p.lit(",") {
			return false
		}
	}
}

// known gives the constant for a kind, so that a million events do not hold a million copies of one word.
func known(s []byte) Kind {
	for _, k := range [...]Kind{Declared, Decided, Observed, Trust} {
		if string(k) == string(s) {
			return k
		}
	}
	return Kind(s)
}

// parseHash reads a hash in the one text form that Append writes.
func parseHash(s []byte, h *Hash) bool {
	if len(s) != 2*len(h) {
		return false
	}
	for i := range len(h) / 8 {
		v, ok := parseHex(s[16*i : 16*i+16])
		if !ok {
			return false
		}
		binary.BigEndian.PutUint64(h[8*i:], v)
	}
	return *h != Hash{}
}

// parseSlow reads any JSON of a commit's meaning.
func parseSlow(b []byte) (Commit, error) {
	var j struct {
		V      int    `json:"v"`
		Inc    string `json:"inc"`
		Seq    uint64 `json:"seq"`
		Time   string `json:"time"`
		Prev   Hash   `json:"prev"`
		Node   string `json:"node"`
		Actor  string `json:"actor"`
		Cause  string `json:"cause"`
		Events []struct {
			Kind   Kind            `json:"kind"`
			Key    string          `json:"key"`
			UID    ID              `json:"uid"`
			Base   Stamp           `json:"base"`
			For    Stamp           `json:"for"`
			Ends   []End           `json:"ends"`
			Size   *int            `json:"size"`
			Object json.RawMessage `json:"object"`
		} `json:"events"`
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return Commit{}, fmt.Errorf("commit: %w", err)
	}
	if j.V > Version {
		inc, _ := parseHex([]byte(j.Inc))
		return Commit{Inc: Incarnation(inc), Seq: j.Seq}, fmt.Errorf("commit of format %d: %w", j.V, ErrVersion)
	}
	inc, ok1 := parseHex([]byte(j.Inc))
	t, ok2 := parseHex([]byte(j.Time))
	if j.V != Version || !ok1 || !ok2 {
		return Commit{}, fmt.Errorf("commit: v %d, inc %q, time %q: want format %d and 16 hexadecimal digits each",
			j.V, j.Inc, j.Time, Version)
	}
	c := Commit{Inc: Incarnation(inc), Seq: j.Seq, Time: Time(t), Prev: j.Prev, Node: j.Node, Actor: j.Actor, Cause: j.Cause}
	for i, e := range j.Events {
		if (e.Object != nil) != (e.Size != nil) || e.Size != nil && *e.Size != len(e.Object) {
			return Commit{}, fmt.Errorf("commit: event %d: size does not fit its object of %d bytes", i, len(e.Object))
		}
		if len(e.Ends) == 0 {
			e.Ends = nil
		}
		c.Events = append(c.Events, Event{known([]byte(e.Kind)), e.Key, e.UID, e.Base, e.For, e.Ends, e.Object})
	}
	if err := c.check(); err != nil {
		return Commit{}, err
	}
	return c, nil
}

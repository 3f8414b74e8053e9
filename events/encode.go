package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Version is the format version that this package writes.
const Version = 1

// Append appends the commit's canonical encoding to b: compact JSON with a fixed order of fields, empty ones left
// out, each object last in its event, raw, with its length before it. These bytes are what is hashed, stored and
// handed to other hosts, verbatim and never made again from the decoded form.
//
// It returns an error, and b as it was, for a commit that ParseCommit would not take.
func (c *Commit) Append(b []byte) ([]byte, error) {
	if err := c.check(); err != nil {
		return b, err
	}
	if err := c.checkText(); err != nil {
		return b, err
	}
	b = slices.Grow(b, c.room())
	b = append(b, `{"v":1,"inc":"`...)
	b = appendHex(b, uint64(c.Inc))
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, c.Seq, 10)
	b = append(b, `,"time":"`...)
	b = appendHex(b, uint64(c.Time))
	b = append(b, '"')
	if c.Prev != (Hash{}) {
		b = append(b, `,"prev":"`...)
		b = appendHash(b, c.Prev)
		b = append(b, '"')
	}
	b = appendField(b, `,"node":`, c.Node)
	b = appendField(b, `,"actor":`, c.Actor)
	b = appendField(b, `,"cause":`, c.Cause)
	b = append(b, `,"events":[`...)
	for i := range c.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.Events[i].append(b)
	}
	return append(b, "]}"...), nil
}

// room is about how long the encoding will be: enough for nearly all commits, so that they are not copied as they grow.
func (c *Commit) room() int {
	n := 256 + len(c.Node) + len(c.Actor) + len(c.Cause)
	for i := range c.Events {
		e := &c.Events[i]
		n += 256 + len(e.Key) + 100*len(e.Ends) + len(e.Object)
	}
	return n
}

// checkText refuses what JSON cannot hold as it is: what was read back would differ from what was folded.
func (c *Commit) checkText() error {
	for _, s := range [...]string{c.Node, c.Actor, c.Cause} {
		if !utf8.ValidString(s) {
			return fmt.Errorf("commit with a text that is not UTF-8: %q", s)
		}
	}
	for i := range c.Events {
		if e := &c.Events[i]; !utf8.ValidString(e.Key) || !utf8.ValidString(string(e.Kind)) {
			return fmt.Errorf("event %d: kind %q, key %q: want UTF-8", i, e.Kind, e.Key)
		}
	}
	return nil
}

func (e *Event) append(b []byte) []byte {
	b = append(b, `{"kind":`...)
	b = appendString(b, string(e.Kind))
	b = appendField(b, `,"key":`, e.Key)
	b = append(b, `,"uid":"`...)
	b = append(e.UID.append(b), '"')
	if !e.Base.IsZero() {
		b = append(b, `,"base":"`...)
		b = append(e.Base.append(b), '"')
	}
	if !e.For.IsZero() {
		b = append(b, `,"for":"`...)
		b = append(e.For.append(b), '"')
	}
	for i, end := range e.Ends {
		if i == 0 {
			b = append(b, `,"ends":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"uid":"`...)
		b = append(end.UID.append(b), '"')
		if !end.Base.IsZero() {
			b = append(b, `,"base":"`...)
			b = append(end.Base.append(b), '"')
		}
		b = append(b, '}')
	}
	if len(e.Ends) > 0 {
		b = append(b, ']')
	}
	if e.Object != nil {
		b = append(b, `,"size":`...)
		b = strconv.AppendInt(b, int64(len(e.Object)), 10)
		b = append(b, `,"object":`...)
		b = append(b, e.Object...)
	}
	return append(b, '}')
}

func appendHash(b []byte, h Hash) []byte {
	for _, c := range h {
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return b
}

func appendField(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(append(b, name...), s)
}

// appendString quotes s. Almost every string needs no escaping; the standard encoder does the others.
func appendString(b []byte, s string) []byte {
	if !plain(s) {
		q, _ := json.Marshal(s) // a string always marshals
		return append(b, q...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func plain[T string | []byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

package tail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/summary"
	"github.com/podman-swarm/podman-swarm/events"
)

// Lines are what is told of each event of the record: one JSON object each, without a line end. To what the log has of
// it (events.AppendLines) comes, after the index, the position; then the time by the clock of the host that wrote it, and
// with what program its actor asked.
func (it *Item) Lines() [][]byte {
	it.once.Do(func() {
		lines := bytes.SplitAfter(events.AppendLines(nil, it.Record, it.Commit), []byte("\n"))
		for i, line := range lines[:len(lines)-1] {
			it.lines = append(it.lines, it.line(i, bytes.TrimSuffix(line, []byte("\n"))))
		}
	})
	return it.lines
}

// line puts what is not in the log behind the index, which every line begins with.
func (it *Item) line(i int, line []byte) []byte {
	head := bytes.IndexByte(line, ',')
	b := make([]byte, 0, len(line)+160)
	b = append(b, line[:head]...)
	b = append(b, `,"position":"`...)
	b = append(append(b, it.Position(i).String()...), '"')
	if it.Commit != nil {
		b = append(b, `,"time":"`...)
		b = append(it.Commit.Time.Wall().AppendFormat(b, "2006-01-02T15:04:05.000Z"), '"')
		if _, program := By(it.Commit.Actor); program != "" {
			b = append(append(b, `,"user_agent":`...), quoted(program)...)
		}
	}
	return append(b, line[head:]...)
}

// Summarized is the i-th of Lines with, behind the index, the summary: what happened in a few words, as psctl events has it.
func (it *Item) Summarized(i int) []byte {
	line := it.Lines()[i]
	head := bytes.IndexByte(line, ',')
	text := quoted(it.summary(i))
	return slices.Concat(line[:head], []byte(`,"summary":`), text, line[head:])
}

func (it *Item) summary(i int) string {
	if it.Commit != nil {
		e := &it.Commit.Events[i]
		return summary.Of(e.Key, e.Base.IsZero(), e.Object)
	}
	if it.Inc == 0 {
		if cause, _, err := events.JumpHeads(it.Payload); err == nil {
			return summary.Jump(cause)
		}
	}
	return summary.Unread
}

// Len is how many lines there are.
func (it *Item) Len() int {
	if it.Commit == nil {
		return 1
	}
	return len(it.Commit.Events)
}

// Position is where the log goes on after the i-th line.
func (it *Item) Position(i int) Position {
	if it.Commit == nil {
		return it.tail.Position(&it.Record, it.Last())
	}
	return it.tail.Position(&it.Record, it.Index+uint64(i))
}

// By splits an actor into who asked and with what program: "token:ci" and "curl/8.5", "local:alice" and "psctl/1.2 (alice)".
func By(actor string) (who, program string) {
	who, program, _ = strings.Cut(actor, " ")
	return who, program
}

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // no string does that
		return []byte(`""`)
	}
	return b
}

// cloudEvent is the outer form of CloudEvents 1.0. The names of its extensions have to be lower-case letters and digits.
type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	Time        string          `json:"time"`
	ContentType string          `json:"datacontenttype,omitempty"`
	Action      string          `json:"action,omitempty"`
	Actor       string          `json:"actor,omitempty"`
	UserAgent   string          `json:"useragent,omitempty"`
	Cause       string          `json:"cause,omitempty"`
	Stamp       string          `json:"stamp,omitempty"`
	UID         string          `json:"uid,omitempty"`
	Base        string          `json:"base,omitempty"`
	For         string          `json:"decidedfor,omitempty"`
	Commit      string          `json:"commithash"`
	Position    string          `json:"position"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// typePrefix begins the type of all of our CloudEvents; the kind of fact ends it.
const typePrefix = "com.github.podman-swarm."

// CloudEvent is what Lines says of the i-th event, in the JSON format of CloudEvents 1.0; without data, all but the object. All hosts tell
// the same event with the same source and id: those of the host that wrote it.
func (it *Item) CloudEvent(i int, data bool) []byte {
	c := it.Commit
	e := cloudEvent{SpecVersion: "1.0", Commit: it.Hash.String(), Position: it.Position(i).String()}
	if c == nil { // of this log alone, or of what this version does not understand: the line is all there is to say
		e.ID, e.Source, e.Type = "record-"+e.Position, "/podman-swarm", typePrefix+"record"
		e.Time, e.ContentType, e.Data = it.At.Format(time.RFC3339Nano), "application/json", it.Lines()[i]
		return marshal(&e)
	}
	ev := &c.Events[i]
	e.ID, e.Source, e.Type, e.Subject = fmt.Sprint(c.ID(i)), "/podman-swarm/hosts/"+c.Node, typePrefix+string(ev.Kind), ev.Key
	e.Time = c.Time.Wall().Format(time.RFC3339Nano)
	e.Actor, e.Cause = printable(c.Actor), printable(c.Cause)
	_, program := By(c.Actor)
	e.UserAgent = printable(program)
	e.Stamp, e.UID, e.Base, e.For = c.Stamp(i).String(), fmt.Sprint(ev.UID), ev.Base.String(), ev.For.String()
	switch {
	case ev.Object == nil:
		e.Action = "deleted"
	case ev.Base.IsZero():
		e.Action = "created"
	default:
		e.Action = "changed"
	}
	if ev.Object != nil && data {
		e.ContentType, e.Data = "application/json", ev.Object
	}
	return marshal(&e)
}

// marshal gives one line of JSON.
func marshal(e *cloudEvent) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil { // an object that is no JSON, which no log of ours holds
		e.Data, e.ContentType = quoted(string(e.Data)), "text/plain"
		b.Reset()
		_ = enc.Encode(e) // texts alone
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// printable is a text without what CloudEvents does not take in one.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\uFFFD' {
			return ' '
		}
		return r
	}, s)
}

// Bookmark is a line that says nothing but how far a reader has come.
func Bookmark(p Position) []byte { return fmt.Appendf(nil, `{"bookmark":%q}`, p) }

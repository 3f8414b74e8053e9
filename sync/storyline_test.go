package sync

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/podman-swarm/podman-swarm/events"
)

// line tells the story how it goes on.
func (s *sim) line(format string, args ...any) {
	if s.story != nil {
		s.story(fmt.Sprintf("%6.3f %s", s.now.Sub(simStart).Seconds(), fmt.Sprintf(format, args...)))
	}
}

// tell tells of a message.
func (s *sim) tell(from, to *node, m message, how string) {
	if s.story == nil {
		return
	}
	kind, _ := subjects{"sim"}.read(m.subject)
	text := ""
	switch b := m.data; {
	case bytes.HasPrefix(b, []byte(`{"part":`)):
		var h part
		head, body := unhead(b)
		_ = unmarshal(head, &h)
		text = fmt.Sprintf("piece %d of %d, %d bytes", h.Piece+1, h.Of, len(body))
	case kind == "commit":
		text = s.commits(b)
	case kind == "host":
		text = s.direct(b)
	}
	if text != "" {
		s.line("%s→%s%s %s", from.id, to.id, how, text)
	}
}

func (s *sim) direct(b []byte) string {
	head, body := unhead(b)
	var q ask
	var a answer
	_ = unmarshal(head, &q)
	_ = unmarshal(head, &a)
	var have []string
	for _, p := range q.Have {
		have = append(have, s.event(events.ID{Inc: p.Inc, Seq: p.Seq}))
	}
	switch q.Ask + " " + a.Answer {
	case "commits ":
		return strings.TrimSpace("what do I lack? I have " + strings.Join(have, " "))
	case " commits":
		text := s.commits(body)
		if text == "" {
			text = "nothing"
		}
		for _, inc := range a.Gone {
			text += ", and more of " + s.inc(inc) + " that I no longer hold"
		}
		for _, inc := range a.Astray {
			text += ", and your " + s.inc(inc) + " is not mine"
		}
		if a.More {
			text += ", and more"
		}
		return text
	case "chain ":
		return fmt.Sprintf("which of my %d points of %s do you hold?", len(q.Points), s.inc(q.Inc))
	case " chain":
		return fmt.Sprintf("%s up to %d, then %s", s.inc(a.Inc), a.Common, s.commits(body))
	case "state ":
		return "your state?"
	case " state":
		return "my state"
	case "look ":
		return "see where our " + s.inc(q.Inc) + " part"
	}
	return ""
}

// commits are commits by the number of their first event, and what they are about.
func (s *sim) commits(b []byte) string {
	var all []string
	for _, line := range lines(b) {
		c, err := events.ParseCommit(line)
		text := s.event(events.ID{Inc: c.Inc, Seq: c.Seq})
		if err != nil {
			text += " of a later version"
		}
		for _, e := range c.Events {
			name := e.Key[strings.LastIndexByte(e.Key, '/')+1:]
			switch value := valueOf(e.Object); {
			case e.Object == nil:
				text += " " + name + " deleted"
			case value == "": // of another type
				text += " " + e.Key
			default:
				text += " " + name + "=" + value
			}
		}
		all = append(all, text)
	}
	if len(all) > 6 {
		all = append(all[:3], fmt.Sprintf("%d more", len(all)-4), all[len(all)-1])
	}
	return strings.Join(all, "; ")
}

func (s *sim) event(id events.ID) string { return fmt.Sprintf("%s:%d", s.inc(id.Inc), id.Seq) }

// inc gives an incarnation a name that people can keep in mind: whose it is, and which of theirs.
func (s *sim) inc(inc events.Incarnation) string {
	if s.incs[inc.String()] == "" {
		owner := "again" // what was given up is recorded under it
		for _, n := range s.sorted() {
			if n.up && n.log.Incarnation() == inc {
				owner = n.name
			}
		}
		count := 1
		for _, name := range s.incs {
			if strings.TrimRight(name, "0123456789") == owner {
				count++
			}
		}
		s.incs[inc.String()] = fmt.Sprintf("%s%d", owner, count)
	}
	return s.incs[inc.String()]
}

var hexadecimal = regexp.MustCompile(`\b[0-9a-f]{16}\b`)

// named has the names of incarnations in a text instead of their numbers.
func (s *sim) named(text string) string {
	return hexadecimal.ReplaceAllStringFunc(text, func(h string) string {
		var inc events.Incarnation
		if inc.UnmarshalText([]byte(h)) != nil {
			return h
		}
		if !slices.Contains(slices.Collect(maps.Keys(s.incs)), h) && !slices.ContainsFunc(s.sorted(), func(n *node) bool { return n.up && n.log.Incarnation() == inc }) {
			return "mark" // of a vector
		}
		return s.inc(inc)
	})
}

package summary

import (
	"fmt"
	"strings"
	"time"
)

type host struct {
	Version  string    `json:"version"`
	Podman   string    `json:"podman"`
	Left     time.Time `json:"left"`
	Off      bool      `json:"off"`
	ReadOnly string    `json:"read_only"`
}

func (h host) text(string) string {
	text := "agent " + h.Version
	switch {
	case h.Off:
		return text + ", the host shuts down"
	case !h.Left.IsZero():
		return text + ", was told to stop"
	}
	if h.Podman == "" {
		text += ", Podman cannot be reached"
	}
	return text + led(", read-only: ", oneLine(h.ReadOnly, 200))
}

type recovery struct {
	Done    time.Time `json:"done"`
	Adopted int       `json:"adopted"`
	Started int       `json:"started_again"`
	Created int       `json:"created"`
	Removed int       `json:"removed"`
	Failed  int       `json:"failed"`
	Bounced int       `json:"bounced"`
	More    int       `json:"more"`
}

func (r recovery) text(string) string {
	if r.Done.IsZero() {
		return "recovering"
	}
	text := fmt.Sprintf("recovered: adopted %d, started %d, created %d, removed %d, failed %d, bounced %d",
		r.Adopted, r.Started, r.Created, r.Removed, r.Failed, r.Bounced)
	if r.More > 0 {
		text += fmt.Sprintf("; %d starts before that are told of in no event", r.More)
	}
	return text
}

type node struct {
	Labels        map[string]string `json:"labels"`
	Annotations   map[string]string `json:"annotations"`
	Unschedulable bool              `json:"unschedulable"`
	Draining      bool              `json:"draining"`
	Down          time.Time         `json:"down"`
	Taints        []struct {
		Key    string `json:"key"`
		Value  string `json:"value"`
		Effect string `json:"effect"`
	} `json:"taints"`
}

// text is all that people say of the host from then on: an event is the whole of it, and not what is new.
func (n node) text(string) string {
	var all []string
	switch {
	case n.Draining:
		all = append(all, "draining")
	case n.Unschedulable:
		all = append(all, "cordoned")
	case n.Down.IsZero():
		all = append(all, "takes new replicas")
	}
	if !n.Down.IsZero() {
		all = append(all, "taken for dead")
	}
	var taints, labels []string
	for _, t := range n.Taints {
		taints = append(taints, t.Key+led("=", t.Value)+":"+t.Effect)
	}
	for _, label := range sorted(n.Labels) {
		labels = append(labels, label+"="+n.Labels[label])
	}
	return "changed, " + strings.Join(all, ", ") + led(", taints ", andWord(taints)) + led(", labels ", andWord(labels)) +
		led(", annotations ", andWord(sorted(n.Annotations)))
}

type member struct {
	Removed bool `json:"removed"`
}

func (m member) text(string) string {
	if m.Removed {
		return "removed for good"
	}
	return "joined"
}

type sight struct {
	Silent     map[string]time.Time `json:"silent"`
	Recovering []string             `json:"recovering"`
}

func (s sight) text(string) string {
	text := "hears all others"
	if len(s.Silent) > 0 {
		text = "does not hear " + andWord(sorted(s.Silent))
	}
	if len(s.Recovering) > 0 {
		text += "; waits for " + andWord(s.Recovering) + " to recover"
	}
	return text
}

type readOnly struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	Why   string    `json:"why"`
}

func (r readOnly) text(string) string {
	const moment = "2006-01-02 15:04:05 MST"
	return "its log took nothing from " + r.Since.UTC().Format(moment) + " to " + r.Until.UTC().Format(moment) + led(": ", oneLine(r.Why, 200))
}

type clocks struct {
	Off map[string]string `json:"off"`
}

func (c clocks) text(string) string {
	var all []string
	for _, other := range sorted(c.Off) {
		all = append(all, "that of host "+other+" by "+c.Off[other])
	}
	if len(all) == 0 {
		return "no host's clock differs much from its own any more"
	}
	return "clocks differ from its own: " + strings.Join(all, ", ")
}

type backups struct {
	Name    string   `json:"name"`
	Brought bool     `json:"brought"`
	Removed []string `json:"removed"`
	More    int      `json:"more"`
}

func (b backups) text(string) string {
	switch {
	case len(b.Removed) > 0:
		return plural(len(b.Removed)+b.More, "old backup") + " removed"
	case b.Brought:
		return b.Name + " was brought"
	case b.More > 0:
		return fmt.Sprintf("%s was made, and %d before it", b.Name, b.More)
	}
	return b.Name + " was made"
}

type clash struct {
	Lost []struct {
		Key string `json:"key"`
	} `json:"lost"`
	More int `json:"more"`
}

func (c clash) text(string) string {
	const most = 5 // that are named
	var keys []string
	for _, lost := range c.Lost[:min(most, len(c.Lost))] {
		keys = append(keys, lost.Key)
	}
	text := strings.Join(keys, ", ")
	if more := len(c.Lost) - len(keys) + c.More; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return "changes that were made here lost against others that had not seen them: " + text + "; psctl conflicts"
}

type finding struct {
	Incarnation string `json:"incarnation"`
	First       uint64 `json:"first"`
	Had         uint64 `json:"had"`
	Has         uint64 `json:"has"`
}

// text says it of the other host, whose name ends the key.
func (f finding) text(name string) string {
	by, other, _ := strings.Cut(name, "/")
	if f.Had > f.Has {
		return fmt.Sprintf("the log of host %s had events up to %d of incarnation %s, and came back with %d, as host %s found: the disk was put back or lost, or the log was cut",
			other, f.Had, f.Incarnation, f.Has, by)
	}
	return fmt.Sprintf("the log of host %s is not what it was from event %d of incarnation %s on: host %s holds others in their place", other, f.First, f.Incarnation, by)
}

type orphan struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

func (o orphan) text(string) string {
	return "container " + o.Name + ", which nothing explained, is removed" + led(": ", oneLine(o.Why, 200))
}

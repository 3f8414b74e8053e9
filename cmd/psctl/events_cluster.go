package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// aboutHosts tells an event about a host or a token in a few words; "" when it is about neither, or none is needed.
func (ev *event) aboutHosts(typ string) string {
	if len(ev.Object) == 0 || string(ev.Object) == "null" {
		return map[string]string{"apitoken": "revoked", "jointoken": "revoked"}[typ]
	}
	switch typ {
	case "node":
		var n struct {
			Unschedulable bool      `json:"unschedulable"`
			Draining      bool      `json:"draining"`
			Down          time.Time `json:"down"`
		}
		if json.Unmarshal(ev.Object, &n) != nil {
			return ""
		}
		words := []string{}
		for word, is := range map[string]bool{"cordoned": n.Unschedulable && !n.Draining, "draining": n.Draining, "taken for dead": !n.Down.IsZero()} {
			if is {
				words = append(words, word)
			}
		}
		slices.Sort(words)
		return strings.TrimSuffix("changed, "+strings.Join(words, ", "), ", ")
	case "sight":
		var s struct {
			Silent     map[string]time.Time `json:"silent"`
			Recovering []string             `json:"recovering"`
		}
		if json.Unmarshal(ev.Object, &s) != nil {
			return ""
		}
		text := "hears all others"
		if len(s.Silent) > 0 {
			text = "does not hear " + andWord(slices.Sorted(maps.Keys(s.Silent)))
		}
		if len(s.Recovering) > 0 {
			text += "; waits for " + andWord(s.Recovering) + " to recover"
		}
		return text
	case "member":
		var m struct {
			Removed bool `json:"removed"`
		}
		if json.Unmarshal(ev.Object, &m) == nil && m.Removed {
			return "removed for good"
		}
		return "joined"
	case "apitoken":
		var t struct {
			Scope      string   `json:"scope"`
			Namespaces []string `json:"namespaces"`
		}
		if json.Unmarshal(ev.Object, &t) == nil {
			return "token created, scope " + t.Scope + led(" in ", andWord(t.Namespaces))
		}
	case "backup":
		return ev.aboutBackups()
	case "dnsallow":
		return ev.aboutNames()
	case "jointoken":
		return "join token created"
	}
	return ""
}

// aboutBackups tells an event about a host's backups in a few words.
func (ev *event) aboutBackups() string {
	var b struct {
		Name    string   `json:"name"`
		Brought bool     `json:"brought"`
		Removed []string `json:"removed"`
		More    int      `json:"more"`
	}
	switch {
	case json.Unmarshal(ev.Object, &b) != nil:
		return ""
	case len(b.Removed) > 0:
		return plural(len(b.Removed)+b.More, "old backup") + " removed"
	case b.Brought:
		return b.Name + " was brought"
	case b.More > 0:
		return fmt.Sprintf("%s was made, and %d before it", b.Name, b.More)
	}
	return b.Name + " was made"
}

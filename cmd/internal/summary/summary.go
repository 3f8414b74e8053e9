// Package summary says in a few words what happened, of each event of the log: for psctl events, and for the time line of /ui. What
// it happened to is the event's key, which stands beside the words.
//
// It reads the facts as they stand in the log, of this version or another: of what it does not find there it says less.
package summary

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Of is what happened by an event of that key. first says that it replaced no version; object is what it says, and nothing, or null, where what was
// there is gone. What people declare is created, changed or deleted, and so is what only a later version knows.
func Of(key string, first bool, object []byte) string {
	typ, name, _ := strings.Cut(key, "/")
	gone := len(object) == 0 || string(object) == "null"
	w, ours := words()[typ]
	switch {
	case !ours && gone:
		return "deleted"
	case gone:
		return w.gone
	case ours:
		if text := w.of(name, object); text != "" {
			return text
		}
	}
	if first {
		return "created"
	}
	return "changed"
}

// Jump is what happened where a log goes on from a state that was taken over.
func Jump(cause string) string { return "the state was taken over" + led(": ", cause) }

// Unread is what is said of a commit that this version does not understand.
const Unread = "of a later version, not understood"

// wording is how facts of one type are told: of says it of what follows the type in the key, and of the object, "" when that cannot be read;
// gone is said when there is none any more.
type wording struct {
	of   func(name string, object []byte) string
	gone string
}

// words are the types of fact that are more than created, changed and deleted.
func words() map[string]wording {
	const nothing = "nothing is said any more"
	return map[string]wording{
		"apitoken":  {read(apiToken.text), "revoked"},
		"backup":    {read(backups.text), nothing},
		"clash":     {read(clash.text), nothing},
		"clock":     {read(clocks.text), nothing},
		"dnsallow":  {read(allowed.text), "allowed no more"},
		"finding":   {read(finding.text), nothing},
		"host":      {read(host.text), nothing},
		"jointoken": {func(string, []byte) string { return "join token created" }, "revoked"},
		"member":    {read(member.text), nothing},
		"node":      {read(node.text), nothing},
		"orphan":    {read(orphan.text), "the orphan was removed"},
		"placement": {read(placement.text), "no longer wanted"},
		"readonly":  {read(readOnly.text), nothing},
		"recovery":  {read(recovery.text), nothing},
		"refused":   {read(refused.text), nothing},
		"replica":   {read(replica.text), "container is gone"},
		"restore":   {read(restore.text), nothing},
		"sight":     {read(sight.text), nothing},
	}
}

// read reads what the fact says.
func read[T any](text func(fact T, name string) string) func(string, []byte) string {
	return func(name string, object []byte) string {
		var fact T
		if json.Unmarshal(object, &fact) != nil {
			return ""
		}
		return text(fact, name)
	}
}

type placement struct {
	Host string `json:"host"`
	Why  string `json:"why"`
}

func (p placement) text(string) string {
	if p.Host == "" {
		return "not placed: " + p.Why
	}
	return "to run on " + p.Host + led(": ", p.Why)
}

type replica struct {
	Phase     string `json:"phase"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
	Container string `json:"container"`
	Restarts  int    `json:"restarts"`
	ExitCode  int    `json:"exit_code"` // of the last run that has ended
	OOMKilled bool   `json:"oom_killed"`
	Others    map[string]struct {
		Phase   string `json:"phase"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"others"`
}

func (r replica) text(string) string {
	text := r.Phase + led(" ", r.Reason) + led(", container ", r.Container[:min(12, len(r.Container))]) +
		again(r.Restarts, r.Phase == "Exited" && r.Message == "", r.ExitCode, r.OOMKilled) + led(": ", oneLine(r.Message, 200))
	for _, name := range sorted(r.Others) {
		other := r.Others[name]
		text += "; " + name + " " + other.Phase + led(" ", other.Reason) + led(": ", oneLine(other.Message, 200))
	}
	return text
}

// again tells of restarts, and how the run before the last one ended; or, of a container that has ended, how this one did.
func again(restarts int, ended bool, code int, oom bool) (text string) {
	how, after := fmt.Sprintf("exit code %d", code), ""
	if oom {
		how, after = "killed for memory", "it was "
	}
	if restarts > 0 {
		text = ", " + plural(restarts, "restart")
	}
	switch {
	case ended:
		text += ", " + how
	case restarts == 1:
		text += ", after " + after + how
	case restarts > 1:
		text += ", the last after " + after + how
	}
	return text
}

type apiToken struct {
	Scope      string   `json:"scope"`
	Namespaces []string `json:"namespaces"`
}

func (t apiToken) text(string) string {
	return "token created, scope " + t.Scope + led(" in ", andWord(t.Namespaces))
}

type allowed struct {
	Enabled *bool `json:"enabled"` // nil: of one name, and not of the list
}

func (a allowed) text(string) string {
	switch {
	case a.Enabled == nil:
		return "allowed"
	case *a.Enabled:
		return "only names of the list are resolved"
	}
	return "all names are resolved"
}

type refused struct {
	Why string `json:"why"`
}

func (r refused) text(string) string {
	return "could not be taken over as it is" + led(": ", oneLine(r.Why, 200))
}

type restore struct {
	From   string    `json:"from"`
	Before string    `json:"before"`
	Undoes string    `json:"undoes"`
	Only   []string  `json:"only"`
	Done   time.Time `json:"done"`
	Count  int       `json:"count"`
}

func (r restore) text(string) string {
	what := "restore of " + r.From
	if r.Undoes != "" {
		what = "undo of restore " + r.Undoes + ", from " + r.From
	}
	what += led(", only ", andWord(r.Only))
	switch {
	case !r.Done.IsZero():
		return what + ", done: " + plural(r.Count, "object") + led("; what was there before is in ", r.Before)
	case r.Count > 0:
		return what + " goes on: " + plural(r.Count, "object") + " so far"
	}
	return what + " began"
}

// led is text after what leads to it; nothing when there is no text.
func led(lead, text string) string {
	if text == "" {
		return ""
	}
	return lead + text
}

// andWord joins what a person reads: "a", "a and b", "a, b and c".
func andWord(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

// plural is "1 pod", "2 pods".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// oneLine is text on one line, of so many characters at most.
func oneLine(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// sorted are the keys of a map, in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

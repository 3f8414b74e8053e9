package linear

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// verb is what a client asks for.
type verb int

const (
	read   verb = iota
	apply       // create or replace, unconditionally
	create      // only what is not there
	update      // only the version that has been read
	remove
)

func (v verb) String() string { return [...]string{"read", "apply", "create", "update", "delete"}[v] }

// question is one request. Every value is written at most once, so a value stands for the resourceVersion it was read
// with: an update must succeed just when the value is still the one that was read.
type question struct {
	object string
	verb   verb
	value  string // to be written
	seen   string // that an update is of
}

// answer is what came of it.
type answer struct {
	unknown bool   // none came
	done    bool   // it was carried out; for a read: the object is there
	created bool   // of an apply: the object was not there before
	value   string // that was read
}

// model is one object: its value, "" while it is not there.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			ok, next := step(state.(string), input.(question), output.(answer))
			return ok, next
		},
		Partition: partition,
		DescribeOperation: func(input, output any) string {
			q, a := input.(question), output.(answer)
			return describe(q, a)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%q", state) },
	}
}

// step reports whether an object in that state may give that answer, and what the object is then.
func step(now string, q question, a answer) (ok bool, next string) {
	there := now != ""
	can, next := true, q.value
	switch q.verb {
	case read:
		return a.done == there && a.value == now, now
	case create:
		can = !there
	case update:
		can = there && now == q.seen
	case remove:
		can, next = there, ""
	}
	if !can {
		next = now
	}
	if a.unknown {
		return true, next
	}
	if q.verb == apply && a.created == there {
		return false, now
	}
	return a.done == can, next
}

func describe(q question, a answer) string {
	s := fmt.Sprint(q.verb, " ", q.value)
	if q.verb == update {
		s += " if " + q.seen
	}
	switch {
	case a.unknown:
		return s + ": no answer"
	case q.verb == read && a.done:
		return s + ": " + a.value
	case a.done && a.created:
		return s + ": created"
	case a.done:
		return s + ": done"
	}
	return s + ": no"
}

// partition is the operations by object.
func partition(all []porcupine.Operation) [][]porcupine.Operation {
	by := map[string][]porcupine.Operation{}
	for _, op := range all {
		name := op.Input.(question).object
		by[name] = append(by[name], op)
	}
	var parts [][]porcupine.Operation
	for _, part := range by {
		parts = append(parts, part)
	}
	return parts
}

// Check returns nil when one order of all that was done explains all answers; no client may be running. Otherwise it
// names the objects for which there is none, with what was done to them: as text, or, where dir is not "", in files of
// that folder, as text and drawn. That it found no order within the time given for each object is an error too.
func (c *Clients) Check(patience time.Duration, dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var wrong []string
	for _, part := range partition(c.done) {
		result, info := porcupine.CheckOperationsVerbose(model(), part, patience)
		if result == porcupine.Ok {
			continue
		}
		name := part[0].Input.(question).object
		text := fmt.Sprintf("%s: nothing explains what came of %d requests", name, len(part))
		if result == porcupine.Unknown {
			text = fmt.Sprintf("%s: after %v nothing has been found that explains what came of %d requests", name, patience, len(part))
		}
		if dir == "" {
			text += ":\n" + list(part)
		} else {
			file := filepath.Join(dir, name)
			if err := errors.Join(os.WriteFile(file+".txt", []byte(list(part)), 0o640), porcupine.VisualizePath(model(), info, file+".html")); err != nil {
				return err
			}
			text += ": see " + file + ".txt and .html"
		}
		wrong = append(wrong, text)
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("not linearizable: %s", strings.Join(wrong, "\n"))
}

// list is what was done, by the time at which it was asked for.
func list(part []porcupine.Operation) string {
	part = slices.Clone(part)
	slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range part {
		end := "never"
		if op.Return != math.MaxInt64 {
			end = time.Duration(op.Return).String()
		}
		fmt.Fprintf(&b, "  client %d, %v to %s: %s\n", op.ClientId, time.Duration(op.Call), end,
			describe(op.Input.(question), op.Output.(answer)))
	}
	return b.String()
}

package trial

import (
	"fmt"
	"strings"
)

// Situation is what a trial has to come upon to show what it is for, and how often it did.
type Situation struct {
	What string // "a prune"
	Hits int
}

// Situations are all those of a trial.
type Situations []Situation

// String tells of each.
func (s Situations) String() string {
	var all []string
	for _, x := range s {
		all = append(all, fmt.Sprintf("%s %d", x.What, x.Hits))
	}
	return strings.Join(all, ", ")
}

// Missed is nil if the trial has come upon each; else the error names the others. It is for a run that is as long as is documented: a short one need not.
func (s Situations) Missed() error {
	var none []string
	for _, x := range s {
		if x.Hits == 0 {
			none = append(none, x.What)
		}
	}
	if none == nil {
		return nil
	}
	return fmt.Errorf("nothing that was looked at was in the middle of %s: of that this run shows nothing", strings.Join(none, ", nor of "))
}

package main

import (
	"strings"
	"testing"
)

// Of what the agent's command says, an increment is no backup that is whole; an empty file that has a backup's name is wrong; what was taken over of version 1 is not,
// nor what is sealed and was not opened, unless it cannot be known whether it is whole.
func TestVerified(t *testing.T) {
	whole, wrong := verified(`state-backup-20260121-120000.json is whole, and goes on to event 9, 2026-01-21T12:00:00Z
state-backup-20250121-120000.json is of version 1, kept as it was: 60 objects of it can be restored
increments/log-1 is whole: events 1 to 9, in 1 pieces
state-backup-20260121-120001.json.age: its sealed bytes are whole; it was not opened: --identity FILE does that
increments/log-1: events 1 to 12, in 2 pieces; 1 are sealed, their bytes whole, and were not opened: there is no key here

podman-swarm-agent: state-backup-20260121-120100.json: not a backup: it does not begin as one
log-10-12.jsonl.zst.age: it is sealed, and there is no key here that opens it
log-13-14.jsonl.zst.age: it is sealed, and there is no key here that opens it; nor is there a log-13-14.jsonl.zst.age.about, which would say whether its bytes are whole
`)
	if whole != 3 || len(wrong) != 2 || !strings.Contains(wrong[0], "120100.json: not a backup") || !strings.Contains(wrong[1], "nor is there") {
		t.Errorf("got %d whole, and wrong is %q", whole, wrong)
	}
}

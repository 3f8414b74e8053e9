package main

import (
	"strings"
	"testing"
)

// Of what the agent's command says, an increment is no backup that is whole; an empty file that has a backup's name is wrong; what was taken over of version 1 is not.
func TestVerified(t *testing.T) {
	whole, wrong := verified(`state-backup-20260121-120000.json is whole, and goes on to event 9, 2026-01-21T12:00:00Z
state-backup-20250121-120000.json is of version 1, kept as it was: 60 objects of it can be restored
increments/log-1 is whole: events 1 to 9, in 1 pieces

podman-swarm-agent: state-backup-20260121-120100.json: not a backup: it does not begin as one
`)
	if whole != 1 || len(wrong) != 1 || !strings.Contains(wrong[0], "120100.json: not a backup") {
		t.Errorf("got %d whole, and wrong is %q", whole, wrong)
	}
}

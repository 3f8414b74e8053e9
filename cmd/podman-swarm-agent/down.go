package main

import (
	"context"
	"os/exec"
	"strings"
)

// goingDown reports whether all of this host is about to end, by systemd's word; where nobody says so until ctx ends, it is not.
func goingDown(ctx context.Context) bool {
	said, _ := exec.CommandContext(ctx, "systemctl", "is-system-running").Output() // whose word goes with an error unless it is "running"
	return strings.TrimSpace(string(said)) == "stopping"
}

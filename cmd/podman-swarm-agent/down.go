package main

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// goingDown reports whether all of this host is about to end, by systemd's word; where there is nobody to say so, it is not.
func goingDown(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	said, _ := exec.CommandContext(ctx, "systemctl", "is-system-running").Output() // whose word goes with an error unless it is "running"
	return strings.TrimSpace(string(said)) == "stopping"
}

//go:build clockshift

package main

import (
	"os"
	"time"
)

// wallClock is a clock that is wrong by what PODMAN_SWARM_TEST_CLOCK_OFFSET says: for tests of hosts whose clocks differ. It
// is in no agent that is not built with the tag clockshift.
func wallClock() func() time.Time {
	offset, err := time.ParseDuration(os.Getenv("PODMAN_SWARM_TEST_CLOCK_OFFSET"))
	if err != nil {
		offset = 0
	}
	return func() time.Time { return time.Now().Add(offset) }
}

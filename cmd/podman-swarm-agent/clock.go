//go:build !clockshift

package main

import "time"

// wallClock is the clock by which this host stamps.
func wallClock() func() time.Time { return time.Now }

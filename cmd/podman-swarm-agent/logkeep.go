package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// logKeep is how much of the log stays on this host's disk; the zero value: all of it.
type logKeep struct {
	age   time.Duration
	bytes int64
}

// parseLogKeep reads an age (30d, 2w, 36h), a size (10GiB, 500MB), both with a comma between, or all.
func parseLogKeep(text string) (k logKeep, err error) {
	if text == "all" || text == "" {
		return k, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		age, aerr := parseAge(part)
		size, serr := parseSize(part)
		switch {
		case aerr == nil && age > 0 && k.age == 0:
			k.age = age
		case serr == nil && size > 0 && k.bytes == 0:
			k.bytes = size
		default:
			return logKeep{}, errors.New("want an age like 30d, a size like 10GiB, both with a comma between, or all")
		}
	}
	return k, nil
}

func parseAge(text string) (time.Duration, error) {
	for unit, d := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, err := strconv.ParseUint(strings.TrimSuffix(text, unit), 10, 13); err == nil && strings.HasSuffix(text, unit) {
			return time.Duration(n) * d, nil // at most 8,191 weeks, which a Duration holds
		}
	}
	return time.ParseDuration(text)
}

func parseSize(text string) (int64, error) {
	units := []struct {
		name  string
		bytes int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}}
	for _, u := range units {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			n, err := strconv.ParseUint(number, 10, 20)
			return int64(n) * u.bytes, err
		}
	}
	return 0, fmt.Errorf("%q has no unit", text)
}

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// series is one side of a comparison: something that is done again and again, and how long it took each time.
type series struct {
	name string
	once func() (time.Duration, error) // does it once; how long, per unit of whatever is compared
	took []time.Duration
}

// interleave does every series once a round, in turn and every other round in reverse: whatever else the machine does
// in the meantime, it does to all of them.
func interleave(ctx context.Context, rounds int, all ...*series) error {
	for round := range rounds {
		for i := range all {
			s := all[i]
			if round%2 == 1 {
				s = all[len(all)-1-i]
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			d, err := s.once()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.took = append(s.took, d)
		}
	}
	return nil
}

// median is the middle of what was measured.
func (s *series) median() time.Duration { return s.quantile(0.5) }

func (s *series) quantile(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.took))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// perSecond is how many fit in a second.
func (s *series) perSecond() float64 {
	if s.median() == 0 {
		return 0
	}
	return float64(time.Second) / float64(s.median())
}

// over is how many times longer s takes than other.
func (s *series) over(other *series) float64 {
	if other.median() == 0 {
		return 0
	}
	return float64(s.median()) / float64(other.median())
}

// timed makes a series of what is measured as a whole.
func timed(name string, do func() error) *series {
	return &series{name: name, once: func() (time.Duration, error) {
		began := time.Now()
		err := do()
		return time.Since(began), err
	}}
}

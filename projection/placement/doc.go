// Package placement decides which replica runs where: pure questions put to a projection.State, and [Decider], the
// small loop that records the answers.
//
// A placement is an event like any other, so people can ask who put a replica somewhere and why, and an agent that
// returns finds out what was decided while it was away. Nothing here knows Podman: what runs is what hosts say runs.
package placement

// Package snapshot keeps what can be thrown away and made again from the log: state.json, the view of the state for
// people and scripts, and the snapshots of the fold that save replay time. Neither is ever believed over the log.
//
// It knows neither Podman nor a network. DESIGN.md says what a crash leaves.
package snapshot

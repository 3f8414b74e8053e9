// Package snapshot keeps what is made of the log. Two things can be thrown away and made again: state.json, the view of the state for
// people and scripts, and the snapshots of the fold that save replay time. Neither is ever believed over the log.
//
// The others are there for when the log is not: backups and the increments between them ([Backups], [Increments]), kept or removed by rules,
// tried by reading them ([Drill]) and copied elsewhere ([Copies]); the log is trimmed only behind them ([Trimmer]). From them [Restorer] restores,
// by events, and takes that back. All can be sealed, here for whom it is meant for, and the log under a key of its own (package seal).
//
// It knows neither Podman nor a network. DESIGN.md says what a crash leaves.
package snapshot

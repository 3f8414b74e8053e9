// Package projection folds events into the state of the cluster, and keeps log and state in step.
//
//	draft ──▶ Ledger.Record: stamp → fold → append + fsync ──▶ publish the new State ──▶ wake whoever waits
//	log   ──▶ OpenLedger: the same fold, over what was appended since the last snapshot
//
// [State] is immutable and holds objects raw; questions about what they mean (what runs where, who answers for a
// Service) are pure functions of it, here and in package placement. [Ledger] is the only writer. The package knows
// neither Podman nor a network nor a wire format; DESIGN.md gives the rule of the fold and why it is the one taken.
package projection

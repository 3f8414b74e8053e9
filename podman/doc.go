// Package podman makes the containers on this host what the state says they should be.
//
//	projection.View ──wanted──▶ Plan ◀──there── Engine.List         Plan is pure: it returns what ought to be done.
//	                             │                                  Reconciler does it, one goroutine for each replica,
//	                             ▼                                  and records what came of it.
//	 Ledger ◀──facts── one replica at a time ──create, start, stop, remove──▶ Engine
//
// It knows the state, and Podman's REST API. It does not decide where replicas run, and it knows no peers.
//
// Engine is Podman as the Reconciler sees it. Client is the real one; podmantest.Fake is for tests, and one
// conformance suite holds both to the same promises. DESIGN.md says what is promised and why.
package podman

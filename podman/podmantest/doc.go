// Package podmantest has a Podman for tests that is only a map, the conformance suite that holds it and the real one to
// the same promises, and a ledger that keeps its log in memory.
package podmantest

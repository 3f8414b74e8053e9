// Package manifest turns Kubernetes manifests into typed objects that can be recorded: strictly decoded, defaulted,
// validated, and refused by name where they ask for what is not honoured.
//
//	bytes ─ split ─ documents ─ tree (lines) ─┬─ shape ─ strict decode ─ Default ─ Validate ─ Items
//	                                          └─ every mistake of every document, with its line ─ Mistakes
//
// [Parse] reads a whole manifest: all of its objects, or none and all that is wrong with it. [Encode] gives the bytes
// to record and [Decode] reads them back. [Default] and [Validate] are the one place for both, whichever way an
// object comes in.
//
// The package knows the seven kinds of [Resources] and nothing of logs, states, networks or containers. It imports
// Kubernetes' types and rules (k8s.io/api, k8s.io/apimachinery) and never a client. What is honoured, what is
// refused, and why, is in honoured.go and DESIGN.md.
package manifest

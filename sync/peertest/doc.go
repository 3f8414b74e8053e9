// Package peertest is what tests of sync need of a messaging system: a network in memory whose faults the test
// decides, and the suite that says what every Bus keeps, run by it and by real embedded NATS alike.
//
// A Net works in one of two ways. Stepped, nothing moves until the caller says so, and all that happens, happens in
// the caller's goroutine: so a model test is a function of its seed. With Run, it delivers by itself, in the order and
// at the time that Faults give, which under testing/synctest is virtual time.
package peertest

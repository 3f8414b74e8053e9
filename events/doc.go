// Package events holds the vocabulary of the product and the log that makes it durable: Event, Commit, ID,
// Stamp, Clock and Log.
//
// An [Event] is one fact about one object: the whole object as it stands afterwards, never a difference. A
// [Commit] is the unit of everything: the events that were written together, one record in the log, one link of
// its writer's hash chain, and later one message to the other hosts. All of a commit is there or none of it is.
//
//	log:        … ┌─ record 17 ─┐┌────── record 18 ──────┐┌─ record 19 ─┐
//	commits:      │ seq 40      ││ seq 41    seq 42      ││ seq 43      │   one incarnation's numbering
//	index:        │ 57          ││ 58        59          ││ 60          │   this host's numbering
//
// The package knows neither what an object means (it is kept raw) nor what the events add up to: that is package
// projection. The log's format, and what a crash at each point leaves, is written down in DESIGN.md.
package events

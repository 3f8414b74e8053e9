// Package tail gives the events of one log to any number of readers, each at its own pace: to those who follow it over the API
// or NATS, and to the audit file.
//
//	log ──► hub, while anybody follows: the newest records, read once ──► those who keep up
//	    └─────────────────── read from the disk ───────────────────────► those who are behind
//
// Nobody waits for a reader. What is held in memory is bounded, whatever they do: the newest records, about a mebibyte,
// and a batch of each reader. Readers that wait are woken a few at a time, no faster than at a set rate, so that a thousand of them do not stand between
// a change and its answer: of a thousand the last is told of an event 0.4 s after it. The package knows nothing of HTTP.
package tail

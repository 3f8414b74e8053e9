// Package sync carries commits from host to host, until all of them hold the same.
//
// Every host publishes what it has recorded after its fsync, and in its beats how far it has come. Whoever finds
// that it lacks something asks for it, from whoever has it. Nothing here decides what an event means, and nothing
// waits for a peer: a host that hears nobody goes on by itself.
package sync

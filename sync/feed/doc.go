// Package feed tells whoever may listen, by NATS, what its owner publishes.
//
//	owner ─ Publish ─► in process ─► NATS server of the feed's own ◄─ TLS, token or certificate ─ subscribers
//
// The server is not the one that hosts speak to each other by, and has no route to it: who listens here can reach nothing
// of that, nor hold it up. Subscribers may publish nothing, and subscribe to what is published here.
//
// NATS keeps no message. Who was away, or too slow and therefore dropped, has missed something.
package feed

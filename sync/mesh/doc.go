// Package mesh is the Bus of real hosts: each agent embeds a NATS server, and the servers are routed to each other in a
// full mesh that is found by gossip from any one address.
//
//	peers, joiners ──TLS──► Addr ─ front ─┬─ asks for Protocol ──► Join
//	                                      └─ else, as it came ───► 127.0.0.1:? embedded NATS ◄─ in process ─ Publish, Subscribe
//
// It knows nothing of commits, beats or trust: it carries bytes between those whom the TLS configuration lets in, and
// says who they are, how far away, and why somebody is not among them.
package mesh

// Package dns answers DNS questions of this host's containers: the names of Services and their replicas, by the Kubernetes
// DNS specification, from the newest discovery.Table; all other names from the resolvers that the host itself uses.
//
//	question ──▶ may who asks? ──▶ is the name ours? ──▶ the table          (answered with authority, TTL 5 s)
//	                                      └── no ───────▶ is it allowed? ──▶ cache ──▶ upstream
//
// It knows neither the log nor Podman nor who has bound its sockets. DESIGN.md gives what it promises, and why it answers
// what could be taken in two ways as it does.
package dns

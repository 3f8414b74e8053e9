// Package authority is who may join a cluster, and who may not: the authority that every member holds, the
// certificates it issues, the join tokens that pin it, and the short talk by which a host joins or learns why it is
// shut out.
//
//	first host   Create ──▶ DATA_DIR/authority/ ──▶ Open, at each start ──▶ Member: Run renews, TLS for the routes
//	others       Join(token) ──▶ Joined.Install ──▶ the same folder, with their own node.key
//
// It knows nothing of NATS: it gives a *tls.Config, and is handed connections. What is removed, who is alive, and at
// which addresses the members are, it is told by callbacks. DESIGN.md says what it promises and what a crash leaves.
package authority

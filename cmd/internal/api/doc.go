// Package api is the agent's HTTP API: Kubernetes' own paths, objects and errors for what is declared here and what
// runs, and beside them a few routes of the agent's own.
//
//	/api /apis          discovery, get, list, watch, create, update, patch, delete     read.go watch.go write.go patch.go
//	/api/v1/manifests   a whole manifest in one commit                                 manifests.go
//	/swarm/v1           state, recovery, events, conflicts, orphans                    swarm.go
//	                    status; nodes, and what is done with them                      cluster.go noderoutes.go
//	                    tokens, join-token                                             tokens.go
//	/healthz /readyz    and /livez, /metrics, /version                                 server.go
//
// Every object that is shown is computed from one [projection.State], and every write is one commit of the ledger, so
// a watch tells of everything that a list would show, in order and without gaps. The package decides nothing about
// containers and reads no file; what it cannot compute from the state is handed to it as functions of [Server].
//
// On the loopback everybody on this host may do everything (guard.go). Beyond it the API is served over TLS, to who shows a
// token or a client certificate, by what that allows (access.go). Wherever it comes from, a write can ask to be answered
// when other hosts have it on disk (spread.go).
//
// A resourceVersion is an index in this host's log with an epoch in its upper bits, drawn with the log: another
// host's, or another log's, is told apart and refused. An object has that of the newest event it is made of. When
// something it was made of goes (a replica of a Deployment), a watch tells of it with the index at which it went; a get
// afterwards shows the newest event that remains, which can be less. Locking is not touched by that: a write with a
// resourceVersion succeeds when the object has not been declared anew since.
package api

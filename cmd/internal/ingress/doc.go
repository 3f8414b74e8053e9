// Package ingress answers HTTP for the cluster's Ingresses: it finds the rule that a request is for, and hands the request to
// a ready replica of the rule's Service. What it goes by is a view of the state (package discovery), so that every host routes
// the same, before and after a restart.
//
//	discovery.Source ──News──▶ Routes, immutable ──┐
//	                                               ▼
//	client ──▶ Server: host and path ──▶ Route ──▶ pool of the Service's ready endpoints ──▶ replica
//
// It knows nothing of how the state comes about, of probes, or of where Secrets are kept.
package ingress

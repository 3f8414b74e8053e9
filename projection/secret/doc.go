// Package secret seals the values of Secrets before they are recorded, and opens them for who may see them.
//
//	declared ─ Keys.Seal ─ events, state.json, backups: sealed ─ Keys.Open ─ the API, for who may
//	                                                       └──── Reader ──── the ingress, containers
//
// It knows the keys, and not where they are kept. DESIGN.md says what it promises, and why.
package secret

package client

import "time"

// Backup is a backup of the asked host.
type Backup struct {
	Name   string    `json:"name"`
	Made   time.Time `json:"made"`
	Bytes  int64     `json:"bytes"`
	Pinned bool      `json:"pinned"`
	Why    []string  `json:"why"` // by which rules it stays
	About  struct {
		Node    string    `json:"node"`
		Cluster string    `json:"cluster"`
		Agent   string    `json:"agent"`
		Made    time.Time `json:"made"`
		Why     string    `json:"why"`
		Index   uint64    `json:"index"`
		Digest  string    `json:"digest"`
	} `json:"about"` // what it says of itself, of one that was verified
	Damage string `json:"damage"` // what is wrong with it
}

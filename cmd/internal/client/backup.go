package client

import "time"

// Backup is a backup of the asked host.
type Backup struct {
	Name   string    `json:"name"`
	Made   time.Time `json:"made,omitzero"`
	Bytes  int64     `json:"bytes"`
	Pinned bool      `json:"pinned,omitempty"`
	Sealed bool      `json:"sealed,omitempty"`
	Why    []string  `json:"why,omitempty"` // by which rules it stays
	About  struct {
		Node    string    `json:"node"`
		Cluster string    `json:"cluster"`
		Agent   string    `json:"agent"`
		Made    time.Time `json:"made"`
		Why     string    `json:"why"`
		Index   uint64    `json:"index"`
		Digest  string    `json:"digest"`
	} `json:"about,omitzero"` // what it says of itself, of one that was verified
	Unopened bool   `json:"unopened,omitempty"` // it is sealed, its bytes are those that were written, and the host cannot open it
	Damage   string `json:"damage,omitempty"`   // what is wrong with it
	// Original is what is known of a file of version 1, of one that was verified; nil: it is none.
	Original *struct {
		Objects  int  `json:"objects"`  // that can be restored
		Refused  int  `json:"refused"`  // that cannot be declared as is
		Recorded bool `json:"recorded"` // its bytes are those that the log has the checksum of
	} `json:"original,omitempty"`
}

// Increments are those of one log, on the asked host.
type Increments struct {
	Name     string   `json:"name"` // of their folder
	First    uint64   `json:"first"`
	Last     uint64   `json:"last"`
	Pieces   int      `json:"pieces"`
	Unopened int      `json:"unread"` // of them, sealed, their bytes those that were written, and the host cannot open them
	Damage   []string `json:"damage"`
}

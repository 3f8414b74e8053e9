package client

import (
	"encoding/json"
	"time"
)

// AuditHeads are where the chains of a host's log end.
type AuditHeads struct {
	Host  string    `json:"host"`
	At    time.Time `json:"at"`
	Lines []string  `json:"lines"` // to be written down elsewhere
}

// AuditRequest is what a log is to be held to, beside itself.
type AuditRequest struct {
	Peers   []string      `json:"peers,omitempty"`   // "all": those that are alive
	Backups []string      `json:"backups,omitempty"` // "all"
	Heads   []string      `json:"heads,omitempty"`   // lines as AuditHeads has them
	Brought []AuditBackup `json:"brought,omitempty"`
}

// AuditBackup is where the chains of hashes stood when a backup was made, as a host has read it.
type AuditBackup struct {
	Name  string          `json:"name"` // as psctl calls it
	Node  string          `json:"node"`
	Heads json.RawMessage `json:"heads"`
}

// Audit is what came of it.
type Audit struct {
	Host     string          `json:"host"`
	Good     bool            `json:"good"`
	Damage   string          `json:"damage"` // what is wrong with the log as a whole
	Chains   []AuditChain    `json:"chains"`
	HeldTo   []string        `json:"held_to"`
	Unread   []string        `json:"unread"` // what it was to be held to and could not be, and why
	Findings []AuditFinding  `json:"findings"`
	Raw      json.RawMessage `json:"-"` // the answer as it came
}

// AuditChain is one chain of the log.
type AuditChain struct {
	Host        string `json:"host"`
	Incarnation string `json:"incarnation"`
	Last        uint64 `json:"last"`
	Events      uint64 `json:"events"`
	Commits     int    `json:"commits"`
	Trimmed     uint64 `json:"trimmed"`
	Lacks       []struct {
		From uint64 `json:"from"`
		To   uint64 `json:"to"`
	} `json:"lacks"`
	Agreed  int    `json:"agreed"`
	Unheld  int    `json:"unheld"`
	Bad     string `json:"bad"`
	Differs []struct {
		First   uint64 `json:"first"`
		Seq     uint64 `json:"seq"`
		From    string `json:"from"`
		Missing bool   `json:"missing"`
		Text    string `json:"text"`
	} `json:"differs"`
}

// AuditFinding is what one host has noticed of the log of another.
type AuditFinding struct {
	By          string    `json:"by"`
	Host        string    `json:"host"`
	Incarnation string    `json:"incarnation"`
	First       uint64    `json:"first"`
	Had         uint64    `json:"had"`
	Has         uint64    `json:"has"`
	At          time.Time `json:"at"`
}

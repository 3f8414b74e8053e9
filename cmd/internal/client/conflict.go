package client

import (
	"encoding/json"
	"time"
)

// Conflict is a change that lost without having been seen by whoever won.
type Conflict struct {
	Key    string          `json:"key"`
	Event  string          `json:"event"` // by which it is named
	UID    string          `json:"uid"`
	Stamp  string          `json:"stamp"` // of the version that lost
	At     time.Time       `json:"at"`
	Ended  bool            `json:"ended"` // the object that it belongs to has been deleted
	Open   bool            `json:"open"`  // what has not come yet may have replaced it knowingly
	Object json.RawMessage `json:"object"`
}

// ConflictShown is a conflict with what stands against it.
type ConflictShown struct {
	Conflict
	By      *Author         `json:"by"`
	Shown   json.RawMessage `json:"shown"` // what the key shows instead
	ShownBy *Author         `json:"shown_by"`
	Changes []Change        `json:"changes"` // what reapply would change
}

// Author is who made a change, where, when, and why.
type Author struct {
	Event string    `json:"event"`
	Index uint64    `json:"index"`
	At    time.Time `json:"at"`
	Node  string    `json:"node"`
	Actor string    `json:"actor"`
	Cause string    `json:"cause"`
}

// ConflictEnded is the answer to what is done about a conflict.
type ConflictEnded struct {
	Key     string   `json:"key"`
	Event   string   `json:"event"`
	Commit  string   `json:"commit"`
	Index   uint64   `json:"index"`
	Action  string   `json:"action"` // reapplied, dismissed
	Changes []Change `json:"changes"`
}

package client

import (
	"encoding/json"
	"time"
)

// Restored is a restore, or what one would change; of events that were taken back it has Commit to Last, Results and Containers.
type Restored struct {
	ID         string    `json:"id"`
	Host       string    `json:"host"`
	From       string    `json:"from"`
	Only       []string  `json:"only"`
	Before     string    `json:"before"`
	Undoes     string    `json:"undoes"`
	Asked      time.Time `json:"asked"`
	Done       time.Time `json:"done"`
	Over       string    `json:"over"` // the restore in whose favour this one, unfinished, is not gone on with
	Count      int       `json:"count"`
	Unheard    []string  `json:"unheard"`
	Commit     string    `json:"commit"` // "": nothing was recorded
	First      uint64    `json:"first"`
	Last       uint64    `json:"last"`
	Results    []Result  `json:"results"`
	Containers struct {
		Restart int `json:"restart"`
		Start   int `json:"start"`
		Stop    int `json:"stop"`
	} `json:"containers"`
	Refused []Refusal `json:"refused"` // of a file of version 1: what cannot be declared as it is
	Left    []struct {
		Key    string   `json:"key"`
		Fields []string `json:"fields"`
		Why    string   `json:"why"`
	} `json:"left"` // of such a file: what of others is not taken over
	Missing    []string `json:"missing"`    // types of which such a file has no section: what is there of them stays
	Locked     []string `json:"locked"`     // Secrets that come back, which the asked host cannot open, with the keys that it takes
	Unfinished bool     `json:"unfinished"` // of an undo: what it takes back was not done yet, and ends with it
	Unseen     []struct {
		Key string `json:"key"`
	} `json:"unseen"`
}

// Was is one version that an object had.
type Was struct {
	Index   uint64    `json:"index"`
	At      time.Time `json:"at"`
	Node    string    `json:"node"`
	Actor   string    `json:"actor"`
	Cause   string    `json:"cause"`
	Action  string    `json:"action"`
	Changes []Change  `json:"changes"`

	Object json.RawMessage `json:"object"`
	From   string          `json:"from"` // the host that it was asked of: it is not in the log of the asked one, and Index is 0
	// NotHeld is what the asked host took over as state, and no other holds any more.
	NotHeld []struct {
		Host        string `json:"host"`
		Incarnation string `json:"incarnation"`
		From        uint64 `json:"from"`
		To          uint64 `json:"to"`
	} `json:"not_held"`
}

// Blame is one field of an object, and who made it what it is.
type Blame struct {
	Field string          `json:"field"`
	Value json.RawMessage `json:"value"`
	Index uint64          `json:"index"`
	At    time.Time       `json:"at"`
	Actor string          `json:"actor"`
	Cause string          `json:"cause"`
}

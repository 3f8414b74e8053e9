package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Change is one field that an apply changes. Old is absent where the field is new, New where it goes.
type Change struct {
	Field string          `json:"field"`
	Old   json.RawMessage `json:"old,omitempty"`
	New   json.RawMessage `json:"new,omitempty"`
}

// Result is what became of one object of a manifest.
type Result struct {
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name"`
	Action    string   `json:"action"` // created, configured, unchanged, deleted, kept
	Changes   []Change `json:"changes,omitempty"`
	Conflicts []string `json:"conflicts,omitempty"` // events by which it was changed too, and that were lost unseen
	Warnings  []string `json:"warnings,omitempty"`  // what of it is likely not meant so
}

// Applied is the answer to a manifest.
type Applied struct {
	Commit  string          `json:"commit,omitempty"` // id of the first event; "" when nothing was recorded
	Index   uint64          `json:"index,omitempty"`
	Results []Result        `json:"results"`
	Raw     json.RawMessage `json:"-"` // the answer as it came
}

// ApplyOptions are how a manifest is to be applied.
type ApplyOptions struct {
	Namespace string // of objects that name none
	Cause     string // put down in the log
	DryRun    bool   // say what would change, and change nothing
	Spread    *Spread
}

// Apply hands the agent a manifest. When it returns nil, all of it is durable on the asked host, or, of a dry run,
// nothing is changed. On a *StatusError nothing is changed either,
// and its Mistakes say what is wrong. On an *UnreachableError that is Sent it is not known whether the manifest was
// applied; applying it again is safe.
func (c *Client) Apply(ctx context.Context, manifest []byte, o ApplyOptions) (Applied, error) {
	q := url.Values{"cause": {o.Cause}}
	if o.Namespace != "" {
		q.Set("namespace", o.Namespace)
	}
	if o.DryRun {
		q.Set("dryRun", "All")
	}
	raw, err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/api/v1/manifests", Query: q, Body: manifest, Type: "application/yaml", Spread: o.Spread})
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Raw: raw}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("answer to a manifest that was taken: %w", err)
	}
	return a, nil
}

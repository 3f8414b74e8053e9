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
	Action    string   `json:"action"` // created, configured, unchanged
	Changes   []Change `json:"changes,omitempty"`
}

// Applied is the answer to a manifest.
type Applied struct {
	Commit  string   `json:"commit,omitempty"` // id of the first event; "" when nothing was recorded
	Index   uint64   `json:"index,omitempty"`
	Results []Result `json:"results"`

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// Apply hands the agent a manifest. Objects that name no namespace get this one; cause is put down in the log. When it
// returns nil, all of it is durable, or, with dryRun, nothing is changed. On a *StatusError nothing is changed either,
// and its Mistakes say what is wrong. On an *UnreachableError that is Sent it is not known whether the manifest was
// applied; applying it again is safe.
func (c *Client) Apply(ctx context.Context, manifest []byte, namespace, cause string, dryRun bool) (Applied, error) {
	q := url.Values{"cause": {cause}}
	if namespace != "" {
		q.Set("namespace", namespace)
	}
	if dryRun {
		q.Set("dryRun", "All")
	}
	raw, err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/api/v1/manifests", Query: q, Body: manifest, Type: "application/yaml"})
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Raw: raw}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("answer to a manifest that was taken: %w", err)
	}
	return a, nil
}

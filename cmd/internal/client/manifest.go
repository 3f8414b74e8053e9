package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
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
	OnDisk  *OnDisk  `json:"on_disk,omitempty"` // nil: that was not asked for

	Raw json.RawMessage `json:"-"` // the answer as it came
}

// OnDisk says which hosts have a change on disk.
type OnDisk struct {
	Enough  bool     `json:"enough"`
	Have    []string `json:"have"`
	Missing []string `json:"missing"`
	Why     string   `json:"why"`
}

// ApplyOptions are how a manifest is to be applied.
type ApplyOptions struct {
	Namespace string // of objects that name none
	Cause     string // put down in the log
	DryRun    bool   // say what would change, and change nothing
	// WaitFor is on how many hosts it is to be on disk when it is answered: a number, or "all"; "": on the asked one.
	// Timeout is for how long that is waited for; then the answer says so, and the change stands.
	WaitFor string
	Timeout time.Duration
}

// Apply hands the agent a manifest. When it returns nil, all of it is durable on the asked host, or, of a dry run,
// nothing is changed. On a *StatusError nothing is changed either,
// and its Mistakes say what is wrong. On an *UnreachableError that is Sent it is not known whether the manifest was
// applied; applying it again is safe.
func (c *Client) Apply(ctx context.Context, manifest []byte, o ApplyOptions) (Applied, error) {
	q, h := url.Values{"cause": {o.Cause}}, http.Header{}
	if o.Namespace != "" {
		q.Set("namespace", o.Namespace)
	}
	if o.DryRun {
		q.Set("dryRun", "All")
	}
	if o.WaitFor != "" {
		h.Set("Podman-Swarm-Wait-For", o.WaitFor)
		h.Set("Podman-Swarm-Wait-Timeout", o.Timeout.String())
	}
	raw, err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/api/v1/manifests", Query: q, Body: manifest, Type: "application/yaml", Header: h})
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Raw: raw}
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("answer to a manifest that was taken: %w", err)
	}
	return a, nil
}

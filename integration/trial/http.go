package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// StatusError is an answer that is not 200.
type StatusError struct {
	Code       int
	RetryAfter string // header of that name
	Body       string
}

// Error gives the code and the beginning of the body.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%d %s: %.600s", e.Code, http.StatusText(e.Code), strings.TrimSpace(e.Body))
}

// Do sends a request and returns the body of a 200, once all of it was read. Any other answer is a *StatusError.
func Do(ctx context.Context, client *http.Client, method, url, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/yaml")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: the answer was cut off: %w", method, url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{resp.StatusCode, resp.Header.Get("Retry-After"), string(b)}
	}
	return b, nil
}

// once asks on a connection of its own each time, so that none is left to an agent that has been killed.
func once() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// Get asks once.
func Get(ctx context.Context, url string) ([]byte, error) {
	return Do(ctx, once(), http.MethodGet, url, "")
}

// GetJSON asks once and decodes the answer.
func GetJSON(ctx context.Context, url string, v any) error { return JSON(ctx, once(), url, v) }

// JSON asks and decodes the answer.
func JSON(ctx context.Context, client *http.Client, url string, v any) error {
	b, err := Do(ctx, client, http.MethodGet, url, "")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read the answer to GET %s: %w", url, err)
	}
	return nil
}

// Applied is what an agent answers to a manifest.
type Applied struct {
	Commit  string
	Index   uint64
	Results []struct{ Kind, Namespace, Name, Action string }
}

// Apply hands a manifest to an agent. On nil the agent has acknowledged it.
func Apply(ctx context.Context, client *http.Client, url, manifest string) (Applied, error) {
	var a Applied
	b, err := Do(ctx, client, http.MethodPost, url+"/api/v1/manifests", manifest)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("read the answer to a manifest: %w", err)
	}
	return a, nil
}

// ApplyOnce is Apply on a connection of its own.
func ApplyOnce(ctx context.Context, url, manifest string) (Applied, error) {
	return Apply(ctx, once(), url, manifest)
}

// Delete deletes an object of namespace default. On nil the agent has acknowledged it.
func Delete(ctx context.Context, client *http.Client, url, kind, name string) error {
	_, err := Do(ctx, client, http.MethodDelete, url+"/api/v1/manifests/default/"+name+"?kind="+kind, "")
	return err
}

// DeleteOnce is Delete on a connection of its own.
func DeleteOnce(ctx context.Context, url, kind, name string) error {
	return Delete(ctx, once(), url, kind, name)
}

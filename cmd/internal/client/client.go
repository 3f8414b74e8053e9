package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultServer is where an agent listens when it is not told otherwise.
const DefaultServer = "http://127.0.0.1:8080"

// Client asks one agent. Its methods may be called from any goroutine.
type Client struct {
	// At is the moment of which everything is asked, as ?at= has it; "" for now.
	At string
	// Later is told why the agent cannot do yet what it is asked, where it says that it will soon: as long as it gives true, the agent is
	// asked again, as clients of Kubernetes do. Nil: the refusal is returned.
	Later func(*StatusError) bool

	server *url.URL
	agent  string
	token  string    // "" for none
	ends   time.Time // when the client certificate does; zero: there is none
	http   *http.Client

	patience time.Duration // how long Ask waits for the next that comes
}

// New returns a client of the agent at server, a URL like http://127.0.0.1:8080; a host and port without scheme
// means http. agent is the User-Agent it calls itself. It does not connect.
func New(server, agent string) (*Client, error) {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(strings.TrimRight(server, "/"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("server %q: %w", server, err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("server %q: want a URL like %s", server, DefaultServer)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("server %q: want scheme, host and port alone", server)
	}
	return &Client{server: u, agent: agent, http: newHTTP(newTransport()), patience: 30 * time.Second}, nil
}

// Server is the address that is asked.
func (c *Client) Server() string { return c.server.String() }

// Request is one call of the API.
type Request struct {
	Method string // "" is GET
	Path   string // "/api/v1/pods"; elements that come from outside are escaped by Path
	Query  url.Values
	Body   []byte
	Type   string // media type of Body; "" is JSON
	Spread *Spread
}

// Path joins elements to a path, each escaped, so that a name with a slash in it stays a name.
func Path(elements ...string) string {
	var b strings.Builder
	for _, e := range elements {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(e))
	}
	return b.String()
}

// Open sends the request and returns the body of a 2xx answer, which the caller closes. Any other answer is a
// *StatusError, and none at all an *UnreachableError. When ctx has ended, its error is returned.
func (c *Client) Open(ctx context.Context, r Request) (io.ReadCloser, error) {
	for {
		body, err := c.open(ctx, r)
		var refused *StatusError
		if c.Later == nil || !errors.As(err, &refused) || refused.Foreign || refused.Code != http.StatusServiceUnavailable {
			return body, err
		}
		after, bad := strconv.Atoi(refused.RetryAfter)
		if bad != nil || !c.Later(refused) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(after) * time.Second):
		}
	}
}

func (c *Client) open(ctx context.Context, r Request) (io.ReadCloser, error) {
	u := *c.server
	if c.At != "" {
		r.Query = maps.Clone(r.Query)
		if r.Query == nil {
			r.Query = url.Values{}
		}
		r.Query.Set("at", c.At)
	}
	u.RawQuery = r.Query.Encode()
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(u.String(), "?"), bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, r.Path, err)
	}
	if err := setPath(req.URL, u.Path, r.Path); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, r.Path, err)
	}
	r.Spread.ask(req.Header)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", "application/json")
	if r.Body != nil {
		req.Header.Set("Content-Type", r.Type)
		if r.Type == "" {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, method, err)
	}
	if resp.StatusCode/100 == 2 {
		r.Spread.read(resp.Header)
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, statusError(req, resp)
}

// setPath puts an escaped path behind the base.
func setPath(u *url.URL, base, path string) error {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return err
	}
	u.Path, u.RawPath = base+plain, (&url.URL{Path: base}).EscapedPath()+path
	return nil
}

// unreachable is the error of a request that got no answer.
func (c *Client) unreachable(ctx context.Context, method string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	dialed := errors.As(err, &op) && op.Op == "dial" || untrusted(err)
	away := &UnreachableError{Server: c.Server(), Method: method, Sent: !dialed, Err: err}
	if !dialed && !c.ends.IsZero() && time.Now().After(c.ends) {
		away.Sent, away.Ended = false, c.ends
	}
	return away
}

// Do sends the request and returns the whole body of the answer. The errors are those of Open.
func (c *Client) Do(ctx context.Context, r Request) ([]byte, error) {
	body, err := c.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, c.unreachable(ctx, r.Method, err)
	}
	return b, nil
}

// Ask reads what is at path, and which an agent answers at once: one from which nothing comes for half a minute, though it took the connection, is as
// unreachable as one that is not there. What was at another moment is waited for: the agent may have to read a long log for it.
func (c *Client) Ask(ctx context.Context, path string, query url.Values) ([]byte, error) {
	r := Request{Path: path, Query: query}
	if c.At != "" {
		return c.Do(ctx, r)
	}
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.patience, func() {
		cancel(&UnreachableError{Server: c.Server(), Method: http.MethodGet, Sent: true, Err: fmt.Errorf("nothing came from it for %v", c.patience)})
	})
	defer silence.Stop()
	body, err := c.Open(within, r)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var all []byte
	for b := make([]byte, 32<<10); ; {
		n, err := body.Read(b)
		all = append(all, b[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, c.unreachable(within, http.MethodGet, err)
		}
		silence.Reset(c.patience)
	}
}

// Get reads the JSON that is at path into v, as Ask does.
func (c *Client) Get(ctx context.Context, path string, query url.Values, v any) error {
	b, err := c.Ask(ctx, path, query)
	if err != nil {
		return err
	}
	return c.read(path, b, v)
}

// Into sends the request and reads the JSON of the answer into v.
func (c *Client) Into(ctx context.Context, r Request, v any) error {
	b, err := c.Do(ctx, r)
	if err != nil {
		return err
	}
	return c.read(r.Path, b, v)
}

func (c *Client) read(path string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("answer of %s to %s: %w", c.Server(), path, err)
	}
	return nil
}

// statusError reads what the agent says is wrong. An answer that is not of our making (a proxy's, another program's)
// is quoted.
func statusError(req *http.Request, resp *http.Response) error {
	e := &StatusError{Method: req.Method, Path: req.URL.Path, Code: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After")}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		e.Status.Message = fmt.Sprintf("%s, and the rest of the answer is lost: %v", resp.Status, err)
		return e
	}
	var body struct {
		metav1.Status
		Mistakes []Mistake `json:"mistakes"`
	}
	if err := json.Unmarshal(b, &body); err == nil && body.Kind == "Status" {
		e.Status, e.Mistakes = body.Status, body.Mistakes
		if e.Status.Message == "" {
			e.Status.Message = resp.Status
		}
		return e
	}
	e.Foreign = true
	text := strings.Join(strings.Fields(string(b[:min(len(b), 300)])), " ")
	e.Status.Message = strings.TrimSuffix(fmt.Sprintf("what answers at %s is no agent of Podman Swarm: %s: %q", req.URL.Host, resp.Status, text), `: ""`)
	return e
}

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNew(t *testing.T) {
	for _, c := range []struct{ server, want string }{
		{"127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"localhost", "http://localhost"},
		{"http://[::1]:8080/", "http://[::1]:8080"},
		{"https://host/behind/a/proxy/", "https://host/behind/a/proxy"},
		{"", ""}, {"ftp://host", ""}, {"http://", ""}, {"http://host?x=1", ""}, {"http://host#x", ""},
		{"http://user:secret@host", ""}, {"http://ho st", ""}, {"://", ""},
	} {
		got := ""
		cl, err := New(c.server, "test")
		if err == nil {
			got = cl.Server()
		}
		if got != c.want {
			t.Errorf("New(%q): got %q, %v; want %q", c.server, got, err, c.want)
		}
	}
}

// A name stays one element of the path, whatever is in it, and a base path stays in front.
func TestClient_path(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.EscapedPath() }))
	defer s.Close()
	for _, c := range []struct{ base, name, want string }{
		{"", "web", "/api/web"},
		{"", "a/b?c%d e", "/api/a%2Fb%3Fc%25d%20e"},
		{"/base", "ü", "/base/api/%C3%BC"},
	} {
		cl, err := New(s.URL+c.base, "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Do(t.Context(), Request{Path: Path("api", c.name)}); err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("%q below %q: got %q, want %q", c.name, c.base, got, c.want)
		}
	}
}

// A watch goes on from the last version that it was told of, bookmarks included, until that is no longer to be had.
func TestWatch_goesOnAndEnds(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version := r.URL.Query().Get("resourceVersion")
		asked = append(asked, version)
		switch version {
		case "5":
			fmt.Fprintln(w, `{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"6"}}}`)
			fmt.Fprintln(w, `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}`)
		default:
			fmt.Fprintln(w, `{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}`)
		}
	}))
	defer s.Close()
	cl, err := New(s.URL, "test")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	err = cl.Watch(t.Context(), "/api/v1/pods", nil, "5", func(error) {}, func(e WatchEvent) error {
		told = append(told, e.Type)
		return nil
	})
	if !IsGone(err) {
		t.Errorf("got %v, want an error that is gone", err)
	}
	if got, want := fmt.Sprint(asked, told), "[5 9] [ADDED]"; got != want {
		t.Errorf("asked for and told of: got %s, want %s", got, want)
	}
}

// What the caller's own function says ends a stream.
func TestLines_error(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"a":1}{"a":2}`) }))
	defer s.Close()
	cl, err := New(s.URL, "test")
	if err != nil {
		t.Fatal(err)
	}
	enough, n := errors.New("enough"), 0
	err = cl.Lines(t.Context(), "/", nil, func(json.RawMessage) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("got %v after %d values, want %v after 1", err, n, enough)
	}
}

func TestAgain(t *testing.T) {
	away := &UnreachableError{Server: "http://host"}
	other := errors.New("refused")
	for _, c := range []struct {
		name  string
		there bool
		tries []error // nil: opened, and then ended; afterwards away
		want  error
		lost  int
		after time.Duration // at least
		most  time.Duration
	}{
		{"never there", false, nil, away, 0, 0, 0},
		{"was there just now", true, nil, away, 1, Patience, Patience + time.Second},
		{"ends, and does not come back", false, []error{nil}, away, 1, Patience, Patience + 2*time.Second},
		{"away twice", false, []error{nil, away, nil}, away, 2, Patience, Patience + 3*time.Second},
		{"refused", false, []error{nil, other}, other, 0, 0, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, n, lost := time.Now(), 0, 0
				err := again(t.Context(), c.there, func(error) { lost++ }, func(opened func()) error {
					n++
					if n > len(c.tries) {
						return away
					}
					if c.tries[n-1] == nil {
						opened()
					}
					return c.tries[n-1]
				})
				if took := time.Since(began); !errors.Is(err, c.want) || lost != c.lost || took < c.after || took > c.most {
					t.Errorf("got %v, lost %d times, after %v; want %v, %d, %v to %v", err, lost, took, c.want, c.lost, c.after, c.most)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := again(ctx, true, func(error) { cancel() }, func(func()) error { return away })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: got %v, want %v", err, context.Canceled)
	}
}

// An agent that says when to ask again is asked again for as long as who waits wants to; nobody else is.
func TestClient_later(t *testing.T) {
	const unavailable = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"it recovers","reason":"ServiceUnavailable","code":503}`
	for _, c := range []struct {
		name, after, body    string
		code                 int
		refusals, wait, asks int // what is refused; how often who waits says so; how often the agent is asked
		want                 string
	}{
		{"taken in the end", "0", unavailable, 503, 2, 5, 3, ""},
		{"for long enough", "0", unavailable, 503, 9, 2, 3, "it recovers"},
		{"not said when", "", unavailable, 503, 9, 9, 1, "it recovers"},
		{"another refusal", "0", unavailable, 507, 9, 9, 1, "it recovers"},
		{"somebody else", "0", "busy", 503, 9, 9, 1, "no agent"},
	} {
		asked, said := 0, 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != "change" {
				t.Errorf("%s: the agent is sent %q, %v", c.name, body, err)
			}
			if asked++; asked <= c.refusals {
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.code)
				io.WriteString(w, c.body)
			}
		}))
		cl, err := New(s.URL, "test")
		if err != nil {
			t.Fatal(err)
		}
		cl.Later = func(*StatusError) bool {
			said++
			return said <= c.wait
		}
		_, err = cl.Do(t.Context(), Request{Method: "POST", Path: "/x", Body: []byte("change")})
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) || asked != c.asks {
			t.Errorf("%s: asked %d times, want %d: %v, want %q", c.name, asked, c.asks, err, c.want)
		}
		s.Close()
	}
}

// Who is interrupted waits no longer.
func TestClient_laterInterrupted(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"kind":"Status","message":"it recovers"}`)
	}))
	defer s.Close()
	cl, err := New(s.URL, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("Ctrl-C")
	cl.Later = func(*StatusError) bool {
		stop(why)
		return true
	}
	if _, err := cl.Do(ctx, Request{Path: "/x"}); !errors.Is(err, why) {
		t.Errorf("got %v, want what ended it", err)
	}
}

package client

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// roundTrip is a connection to an agent.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reads is a body of which each part comes by a call.
type reads func([]byte) (int, error)

func (f reads) Read(b []byte) (int, error) { return f(b) }

// An agent that has taken the connection and is silent is not waited for for ever; one that answers slowly is.
func TestClient_silentAgent(t *testing.T) {
	body := func(r io.Reader) *http.Response { return &http.Response{StatusCode: 200, Body: io.NopCloser(r)} }
	for _, c := range []struct {
		name, at string
		answer   roundTrip
		takes    time.Duration
		got      int // bytes; -1: it is unreachable
	}{
		{"silent from the start", "", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, 30 * time.Second, -1},
		{"silent halfway", "", func(r *http.Request) (*http.Response, error) {
			return body(io.MultiReader(strings.NewReader(`{"a":`), reads(func([]byte) (int, error) {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}))), nil
		}, 30 * time.Second, -1},
		{"slow", "", func(*http.Request) (*http.Response, error) {
			part := reads(func(b []byte) (int, error) {
				time.Sleep(20 * time.Second)
				return copy(b, bytes.Repeat([]byte("x"), 32<<10)), nil
			})
			return body(io.LimitReader(part, 96<<10)), nil
		}, time.Minute, 96 << 10},
		{"of another moment", "2h", func(*http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Minute)
			return body(strings.NewReader("{}")), nil
		}, 2 * time.Minute, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl, err := New("host", "test")
				if err != nil {
					t.Fatal(err)
				}
				cl.At, cl.http = c.at, &http.Client{Transport: c.answer}
				began := time.Now()
				b, err := cl.Ask(t.Context(), "/x", nil)
				if took := time.Since(began); took != c.takes {
					t.Errorf("took %v, want %v", took, c.takes)
				}
				if (c.got < 0) != IsUnreachable(err) || c.got >= 0 && (err != nil || len(b) != c.got) {
					t.Errorf("got %d bytes, %v", len(b), err)
				}
			})
		})
	}
}

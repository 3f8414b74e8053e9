package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UnreachableError says that no agent answered.
type UnreachableError struct {
	Server string // the address that was tried
	Method string
	Sent   bool // the connection was made: the agent may have done what it was asked for
	// Ended is when the client certificate ended that was shown, where the connection broke off and that is why: TLS lets the
	// agent say no more, and often not even that. Zero: that is not why.
	Ended time.Time
	Err   error
}

func (e *UnreachableError) Error() string {
	if !e.Ended.IsZero() {
		return fmt.Sprintf("the client certificate ended at %s, and the agent at %s takes it no longer: %v", e.Ended.UTC().Format("2006-01-02 15:04:05 MST"), e.Server, e.Err)
	}
	if e.Untrusted() {
		return fmt.Sprintf("what answers at %s has a certificate that is not trusted here: %v", e.Server, e.Err)
	}
	if e.Sent {
		return fmt.Sprintf("the agent at %s went away before it had answered: %v", e.Server, e.Err)
	}
	return fmt.Sprintf("no agent answers at %s: %v", e.Server, e.Err)
}

// Untrusted reports whether somebody answers there whose certificate is not one to be trusted.
func (e *UnreachableError) Untrusted() bool { return untrusted(e.Err) }

func (e *UnreachableError) Unwrap() error { return e.Err }

// Mistake is one thing that is wrong with a manifest, and where.
type Mistake struct {
	Document int    `json:"document"` // from 1; 0: the manifest as a whole
	Line     int    `json:"line"`     // from 1, in the whole body; 0: nowhere in particular
	Object   string `json:"object"`   // "Deployment default/web"
	Field    string `json:"field"`
	Reason   string `json:"reason"`
	Message  string `json:"message"`
}

// StatusError is an answer by which the agent refused a request.
type StatusError struct {
	Method, Path string
	Code         int
	RetryAfter   string // seconds, as the agent gives them; "" when it does not
	Status       metav1.Status
	Mistakes     []Mistake // of a manifest; nil for other requests
	Foreign      bool      // whoever answered is no agent, as far as the answer shows
}

func (e *StatusError) Error() string { return e.Status.Message }

// IsNotFound reports whether err says that what was asked for is not there.
func IsNotFound(err error) bool { return code(err) == http.StatusNotFound }

// IsGone reports whether err says that a watch began too long ago, or with a number of another agent's: list again.
func IsGone(err error) bool { return code(err) == http.StatusGone }

// IsUnreachable reports whether err says that no agent answered.
func IsUnreachable(err error) bool {
	var u *UnreachableError
	return errors.As(err, &u)
}

// IsUnavailable reports whether err says that the agent is there and cannot yet do what was asked for: it recovers.
func IsUnavailable(err error) bool { return code(err) == http.StatusServiceUnavailable }

// IsUnauthorized reports whether err says that the agent does not know who asks.
func IsUnauthorized(err error) bool { return code(err) == http.StatusUnauthorized }

// IsForbidden reports whether err says that who asks may not.
func IsForbidden(err error) bool { return code(err) == http.StatusForbidden }

func code(err error) int {
	var s *StatusError
	if !errors.As(err, &s) || s.Foreign {
		return 0
	}
	return s.Code
}

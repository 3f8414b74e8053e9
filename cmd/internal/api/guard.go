package api

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Bounds on what is read of a request.
const (
	maxObject   = 3 << 20 // one object, or a patch of one
	maxManifest = manifest.MaxBytes
	bodyTime    = 30 * time.Second // for each bodyPiece of the body
	bodyPiece   = 1 << 20          // bytes
)

// guard refuses what no client of this API sends, before anything else is looked at. Without passwords on the
// loopback, a web page in somebody's browser must not be able to speak to the agent: such a request has an Origin,
// or, where the page's name was made to point here, another Host.
// Strangers show who they are, which no page can make a browser do; they may call this server by any name.
func (s *Server) guard(next http.Handler, strangers bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		q := &request{Request: r, w: w, s: s}
		w.Header().Set("Cache-Control", "no-cache, private")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.ContentLength != 0 {
			// Also where nobody wants the body: net/http reads it before it answers. A connection that takes no deadline
			// is one of a test.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		}
		switch {
		case fromPage(r):
			q.fail(refused(http.StatusForbidden, metav1.StatusReasonForbidden, "requests of web pages are refused"))
		case !strangers && !s.knownHost(r):
			q.fail(refused(http.StatusMisdirectedRequest, metav1.StatusReasonForbidden, fmt.Sprintf(
				"this is not %q: use localhost, %s, or a name that the agent was told of", r.Host, s.Node)))
		case impersonates(r):
			q.fail(badRequest("nobody can act as somebody else here: ask without --as and Impersonate headers"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// fromPage reports whether a page of another site makes a browser send this.
func fromPage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Header.Get("Origin") != "" || site != "" && site != "none" && site != "same-origin"
}

// impersonates reports whether the request is to count as somebody else's, which nothing here would honour.
func impersonates(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "Impersonate-") {
			return true
		}
	}
	return false
}

// knownHost reports whether the request calls this server by a name of its own.
func (s *Server) knownHost(r *http.Request) bool {
	name := hostname(r.Host)
	switch name {
	case "":
		return false
	case "localhost", "127.0.0.1", "::1", strings.ToLower(s.Node):
		return true
	}
	if slices.ContainsFunc(s.Hosts, func(h string) bool { return hostname(h) == name }) {
		return true
	}
	// The address that was connected to: no name, so nobody can have made it point here.
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.Equal(net.ParseIP(hostname(local.String())))
}

// hostname is what stands before the port, in lower case and without brackets.
func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// coming is a body whose deadline moves on with each piece that has come: a large one over a slow link is no stalled one.
type coming struct {
	io.Reader
	*http.ResponseController
	left int // bytes of the piece that comes
}

// Read reads on.
func (c *coming) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.left -= n; c.left <= 0 && err == nil {
		c.left = bodyPiece
		_ = c.SetReadDeadline(time.Now().Add(bodyTime))
	}
	return n, err
}

// body reads the request's body, of at most that many bytes, against the deadline that guard has set for its first piece.
func (q *request) body(most int64) ([]byte, error) {
	b, err := io.ReadAll(&coming{http.MaxBytesReader(q.w, q.Body, most), http.NewResponseController(q.w), bodyPiece})
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		_ = http.NewResponseController(q.w).SetReadDeadline(time.Time{}) // what now follows may take its time
	case errors.As(err, &tooLarge):
		return nil, refused(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge,
			fmt.Sprintf("the body is larger than %d bytes", most))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refused(http.StatusRequestTimeout, metav1.StatusReasonTimeout, fmt.Sprintf("the body did not come: each MiB of it may take %v", bodyTime))
	default:
		return nil, refused(http.StatusBadRequest, metav1.StatusReasonBadRequest, "read the body: "+err.Error())
	}
	return b, nil
}

// mediaType is the body's type without its parameters; "" when none is given.
func (q *request) mediaType() string {
	text := q.Header.Get("Content-Type")
	if text == "" {
		return ""
	}
	t, _, err := mime.ParseMediaType(text)
	if err != nil {
		return text
	}
	return t
}

// by is who asks, and why.
func (q *request) by(otherwise string) projection.By {
	agent := plain(q.UserAgent(), 100)
	cause := cmp.Or(q.URL.Query().Get("cause"), q.Header.Get("Kubectl-Command"), otherwise)
	who := ""
	if q.caller != nil {
		who = q.caller.name
	} else {
		who = q.local()
	}
	return projection.By{Actor: strings.TrimSpace(who + " " + agent), Cause: plain(cause, 500)}
}

// plain is text on one line, of so many bytes at most, for a log that people read.
func plain(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// writable refuses a change while the agent has not yet heard enough of the others to know what it would change.
func (q *request) writable() error {
	if q.s.Refusing == nil {
		return nil
	}
	if why := q.s.Refusing(); why != "" {
		return unavailable("the agent is recovering (" + why + "): nothing was changed")
	}
	return nil
}

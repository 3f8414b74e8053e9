package mesh

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What NATS says again and again is said once, and after a while once more, with how often it was.
func TestLog_saysItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := &lines{}
		l := newNATSLog(slog.New(slog.NewTextHandler(text, nil)))
		l.front = &front{}
		for i := range 100 {
			l.Errorf("Error trying to connect to route (attempt %d): %v", i, "dial tcp 10.0.0.2:6222: connection refused")
			l.Errorf("Error trying to connect to route (attempt %d): %v", i, "dial tcp 10.0.0.3:6222: connection refused")
			l.Errorf("10.0.0.4:6222 - rid:%d - TLS route handshake error: read tcp 10.0.0.1:%d->10.0.0.4:6222: connection reset by peer", i, 40000+i)
			time.Sleep(time.Second)
		}
		if got := strings.Count(text.String(), "\n"); got != 3 {
			t.Errorf("said %d times, want once of each of three:\n%s", got, text)
		}
		time.Sleep(sayWindow)
		l.Errorf("Error trying to connect to route (attempt %d): %v", 200, "dial tcp 10.0.0.2:6222: connection refused")
		if got := text.String(); !strings.Contains(got, "times=100") {
			t.Errorf("does not say how often it was:\n%s", got)
		}
	})
}

// Strangers who are never the same do not fill the memory.
func TestLog_isBounded(t *testing.T) {
	l := newNATSLog(slog.New(slog.DiscardHandler))
	for i := range 10 * sayKeys {
		l.refuse(fmt.Sprintf("10.%d.%d.1:4000", i/250, i%250), refusedHello, nil)
	}
	if got := len(l.said); got > sayKeys {
		t.Errorf("tells %d things apart, want at most %d", got, sayKeys)
	}
	if got := l.refusals()[refusedHello]; got != 10*sayKeys {
		t.Errorf("counted %d, want all", got)
	}
}

// Lines of NATS that matter, as its version in go.mod writes them.
func TestLog_linesOfNATS(t *testing.T) {
	text := &lines{}
	l := newNATSLog(slog.New(slog.NewTextHandler(text, nil)))
	f, err := listen("127.0.0.1:0", true, nil, nil, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	f.real["127.0.0.1:40000"] = "10.0.0.9:5000"
	l.front = f
	for _, c := range []struct {
		say  func(string, ...any)
		line string
		want string // empty: nothing
	}{
		{l.Noticef, "127.0.0.1:40000 - rid:7 - Route connection created", ""},
		{l.Errorf, "127.0.0.1:40000 - rid:7 - TLS route handshake error: EOF", `from=10.0.0.9:5000 why="TLS handshake" err=EOF`},
		{l.Errorf, `127.0.0.1:40000 - rid:7 - Rejecting connection, cluster name "a" does not match "b"`, `why="other cluster"`},
		{l.Errorf, `127.0.0.1:40000 - rid:7 - Remote server has a duplicate name: "a"`, `why="same name"`},
		{l.Errorf, "127.0.0.1:40000 - rid:7 - Error flushing: broken pipe", ""},
		{l.Errorf, "10.0.0.2:6222 - rid:7 - TLS route handshake error: x509: nope", `peer=10.0.0.2:6222`},
		{l.Warnf, "Using InsecureSkipVerify in cluster", ""},
		{l.Warnf, "something new", `level=WARN msg="something new"`},
	} {
		before := len(text.String())
		c.say("%s", c.line)
		got := text.String()[before:]
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: logged %q, want %q", c.line, got, c.want)
		}
	}
	l.Noticef("%s", "127.0.0.1:40000 - rid:7 - Router connection closed: Stale Connection - Remote: b")
	if got := l.reason("b"); got != "Stale Connection" {
		t.Errorf("the route to b ended for %q, want Stale Connection", got)
	}
	l.Noticef("%s", "10.0.0.2:6222 - rid:8 - Router connection closed: Client Closed")
	if got := <-l.closed; got.addr != "10.0.0.2:6222" {
		t.Errorf("got %+v to look into", got)
	}
	l.Fatalf("no %s", "port")
	if err := l.fatal(); err == nil || err.Error() != "no port" {
		t.Errorf("died of %v", err)
	}
}

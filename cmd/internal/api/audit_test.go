package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// disk is the log of a host as it is on its disk, and what another one holds.
type disk struct {
	dir  string
	peer *agent
	mute error // why that says no longer where its commits end
}

func (d *disk) Verify(ctx context.Context, known []events.Known) ([]events.Chain, error) {
	return events.Verify(ctx, d.dir, nil, nil, known...)
}

func (d *disk) Host(inc events.Incarnation) string { return "h1" }

func (d *disk) Remembered() []Mark { return nil }

func (d *disk) Peer(_ context.Context, host string) (holds, remembers []Mark, err error) {
	if host != "h2" {
		return nil, nil, fmt.Errorf("host %s is not heard", host)
	}
	for _, h := range d.peer.ledger.View().Vector() {
		holds = append(holds, Mark{Host: "h1", Incarnation: h.Inc, Seq: h.Seq, Hash: h.Hash})
	}
	return holds, nil, nil
}

func (d *disk) Points(ctx context.Context, _ string, inc events.Incarnation, after, upTo uint64) (all []Mark, err error) {
	if d.mute != nil {
		return nil, d.mute
	}
	err = d.peer.log.Replay(1, func(r events.Record) error {
		if last := r.Seq + uint64(r.Count) - 1; r.Inc == inc && last > after && last <= upTo {
			all = append(all, Mark{Incarnation: inc, Seq: last, Hash: r.Hash})
		}
		return nil
	})
	return all, err
}

func (d *disk) Commits(_ context.Context, _ string, inc events.Incarnation, after, upTo uint64, fn func([]byte) error) error {
	return d.peer.log.Replay(1, func(r events.Record) error {
		if r.Inc != inc || r.Seq <= after || r.Seq > upTo {
			return nil
		}
		return fn(r.Payload)
	})
}

// forged writes a log anew: as it is but for what change makes of its commits, with every hash and checksum in order.
func forged(t *testing.T, dir string, change func([]*events.Commit) []*events.Commit) string {
	t.Helper()
	var all []*events.Commit
	if err := events.Dump(dir, nil, 1, func(_ events.Record, c *events.Commit) error {
		all = append(all, c)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	inc := all[0].Inc
	to := t.TempDir()
	l, err := events.Open(to, events.Options{MinFree: 1, Reserve: -1, Draw: func() events.Incarnation { return inc }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seq, prev := uint64(1), events.Hash{}
	for _, c := range change(all) {
		c.Seq, c.Prev = seq, prev
		b, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		seq, prev = c.Last()+1, events.HashOf(b)
		if err := l.Append([]events.Entry{{Payload: b, Count: uint32(len(c.Events)), Hash: prev, Inc: inc, Seq: c.Seq}}); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// slowLog is one whose first reading takes until nobody wants the answer any more.
type slowLog struct {
	disk
	once  sync.Once
	begun chan struct{}
}

func (s *slowLog) Verify(ctx context.Context, known []events.Known) ([]events.Chain, error) {
	s.once.Do(func() {
		close(s.begun)
		<-ctx.Done()
	})
	return s.disk.Verify(ctx, known)
}

// busy waits until who asks is told to ask later, and then, once free is called, until it is answered.
func (a *agent) busy(path string, then int, free func()) {
	a.t.Helper()
	for deadline, freed := time.Now().Add(patience), false; ; time.Sleep(time.Millisecond) {
		got := a.do("POST", path, "{}")
		switch {
		case freed && got.code == then:
			return
		case got.code == 503 && got.header.Get("Retry-After") == "1":
			if !freed {
				free()
			}
			freed = true
		case time.Now().After(deadline):
			a.t.Fatalf("%s: got %d %s", path, got.code, got.body)
		}
	}
}

// Whoever may read may send backups to be audited by: together they take no more memory than one.
func TestAudit_oneBackupAtATime(t *testing.T) {
	a := start(t, t.TempDir(), func(s *Server) { s.Trail = &disk{} })
	body, send := io.Pipe()
	first := make(chan error, 1)
	go func() {
		resp, err := a.http.Client().Post(a.http.URL+"/swarm/v1/audit/backup", "application/json", body)
		if err == nil {
			resp.Body.Close()
		}
		first <- err
	}()
	t.Cleanup(func() { send.Close() })
	if _, err := send.Write([]byte("{")); err != nil {
		t.Fatal(err)
	}
	a.busy("/swarm/v1/audit/backup", 400, func() { send.Close() })
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Nor do they have the whole log read more than once at a time; and who is gone has it read no longer.
func TestAudit_oneVerifiesAtATime(t *testing.T) {
	dir := t.TempDir()
	trail := &slowLog{disk: disk{dir: dir}, begun: make(chan struct{})}
	a := start(t, dir, func(s *Server) { s.Trail = trail })
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first, err := http.NewRequestWithContext(ctx, "POST", a.http.URL+"/swarm/v1/audit/verify", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := a.http.Client().Do(first); err == nil {
			resp.Body.Close()
		}
	}()
	<-trail.begun
	a.busy("/swarm/v1/audit/verify", 200, leave)
	<-done
}

func TestAudit_whatWasTouched(t *testing.T) {
	was := t.TempDir()
	a, b := start(t, was), start(t, t.TempDir())
	for i := range 12 {
		a.want(200, "POST", "/api/v1/manifests", serviceAt(fmt.Sprint(80+i)))
	}
	b.hear(a)
	dir := filepath.Join(t.TempDir(), "events")
	if err := os.CopyFS(dir, os.DirFS(was)); err != nil {
		t.Fatal(err)
	}
	const n = 7 // of the commits: the seventh, after six
	inc := a.log.Incarnation()
	var at uint64
	if err := events.Dump(dir, nil, 1, func(r events.Record, c *events.Commit) error {
		if r.Number == n+1 {
			at = c.Seq
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	d := &disk{dir: dir, peer: b}
	a.Server.Trail = d
	head := a.want(200, "GET", "/swarm/v1/audit/head", "")
	line, err := json.Marshal(head.field("lines.0"))
	if err != nil {
		t.Fatal(err)
	}
	brought := fmt.Sprintf(`{"brought":[{"name":"./b.json","node":"h1","heads":[{"incarnation":%q,"seq":%s,"hash":%q}]}]}`,
		head.field("heads.0.incarnation"), head.field("heads.0.seq"), head.field("heads.0.hash"))
	flip := func(t *testing.T) string {
		to := filepath.Join(t.TempDir(), "events")
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		names, _ := filepath.Glob(filepath.Join(to, "0*"))
		file, err := os.ReadFile(names[0])
		if err == nil {
			file[bytes.Index(file, []byte(`"port":85`))+8] ^= 1
			err = os.WriteFile(names[0], file, 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	for _, c := range []struct {
		what, body string
		dir        func(t *testing.T) string
		named      uint64 // event; 0: none
		good       bool
	}{
		{"as it was", `{"peers":["h2"],"heads":[` + string(line) + `]}`, func(*testing.T) string { return dir }, 0, true},
		{"a bit", `{}`, flip, 0, false},
		{"rewritten, held to the peer", `{"peers":["h2"]}`, func(t *testing.T) string {
			return forged(t, dir, func(all []*events.Commit) []*events.Commit {
				all[n].Events[0].Object = json.RawMessage(bytes.ReplaceAll(all[n].Events[0].Object, []byte("87"), []byte("99")))
				return all
			})
		}, at, false},
		{"one left out, held to the peer", `{"peers":["h2"]}`, func(t *testing.T) string {
			return forged(t, dir, func(all []*events.Commit) []*events.Commit { return append(all[:n:n], all[n+1:]...) })
		}, at, false},
		{"of a host that is behind, rewritten, held to the peer", `{"peers":["h2"]}`, func(t *testing.T) string {
			return forged(t, dir, func(all []*events.Commit) []*events.Commit {
				all[n].Events[0].Object = json.RawMessage(bytes.ReplaceAll(all[n].Events[0].Object, []byte("87"), []byte("99")))
				return all[:n+2]
			})
		}, at, false},
		{"cut off, held to what was written down", `{"heads":[` + string(line) + `]}`, func(t *testing.T) string {
			return forged(t, dir, func(all []*events.Commit) []*events.Commit { return all[:n] })
		}, at, false},
		{"as it was, held to a backup from elsewhere", brought, func(*testing.T) string { return dir }, 0, true},
		{"cut off, held to a backup from elsewhere", brought, func(t *testing.T) string {
			return forged(t, dir, func(all []*events.Commit) []*events.Commit { return all[:n] })
		}, at, false},
	} {
		d.dir = c.dir(t)
		got := a.want(200, "POST", "/swarm/v1/audit/verify", c.body)
		if good := got.field("good") == "true"; good != c.good {
			t.Errorf("%s: got %s", c.what, got.body)
		}
		want := fmt.Sprintf("host \\\"h1\\\", incarnation %v, event %d: ", inc, c.named)
		if c.named > 0 && !strings.Contains(string(got.body), want) {
			t.Errorf("%s: got %s, want %s", c.what, got.body, want)
		}
		if c.what == "a bit" && !strings.Contains(got.field("damage"), "segment") {
			t.Errorf("%s: got %s", c.what, got.body)
		}
	}
	d.dir = dir
	if got := a.want(200, "POST", "/swarm/v1/audit/verify", `{"peers":["h3"]}`); got.field("good") != "false" || got.field("unread.0") == "" {
		t.Errorf("held to a host that is not heard: %s", got.body)
	}
	d.dir = forged(t, dir, func(all []*events.Commit) []*events.Commit { return all[:n] }) // behind: how it is there is to be asked
	d.mute = errors.New("it has gone away")
	got := a.want(200, "POST", "/swarm/v1/audit/verify", `{"peers":["h2"]}`)
	if got.field("good") != "false" || !strings.HasPrefix(got.field("unread.0"), fmt.Sprintf("host h2, incarnation %v, after event ", inc)) ||
		!strings.HasSuffix(got.field("unread.0"), ": it has gone away") {
		t.Errorf("held to a host that went away meanwhile: %s", got.body)
	}
	a.want(400, "POST", "/swarm/v1/audit/verify", `{"heads":["h1 of old"]}`)
}

// What a host took over as state, its history has from others; what they do not hold, or say otherwise, is said to be lacking.
func TestHistory_whatWasTakenOverAsState(t *testing.T) {
	a := start(t, t.TempDir())
	for i := range 3 {
		a.want(200, "POST", "/api/v1/manifests?cause=change-"+fmt.Sprint(i), serviceAt(fmt.Sprint(80+i)))
	}
	var raw bytes.Buffer
	if err := a.ledger.View().Encode(&raw); err != nil {
		t.Fatal(err)
	}
	other, err := projection.DecodeState(&raw)
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, t.TempDir(), func(s *Server) {
		s.Cluster = func() Cluster { return Cluster{Peers: []Peer{{Host: "h2", Alive: true}}} }
	})
	if err := b.ledger.Join(context.Background(), other, "a test"); err != nil {
		t.Fatal(err)
	}
	b.want(200, "POST", "/api/v1/manifests?cause=change-3", serviceAt("83"))
	const path = "/swarm/v1/history/service/default/a"
	n := a.ledger.View().Head(a.log.Incarnation()).Seq
	if got := b.want(200, "GET", path, ""); got.field("0.action") != "not held" || got.field("0.not_held.0.to") != fmt.Sprint(n) || got.field("1.cause") != "change-3" {
		t.Errorf("with nobody to ask: %s", got.body)
	}
	b.Server.Trail = &disk{peer: a}
	got := b.want(200, "GET", path, "")
	for i := range 3 {
		at := fmt.Sprint(i)
		if got.field(at+".cause") != "change-"+at || got.field(at+".from") != "h2" || i > 0 && got.field(at+".action") != "configured" {
			t.Errorf("version %d: %s", i, got.body)
		}
	}
	if got.field("3.cause") != "change-3" || got.field("3.from") != "" || got.field("4") != "" {
		t.Errorf("got %s", got.body)
	}
	if got := b.want(200, "GET", "/swarm/v1/blame/service/default/a", ""); !strings.Contains(string(got.body), "change-3") {
		t.Errorf("blame: %s", got.body)
	}
	// One who says something else is not believed.
	c := start(t, t.TempDir())
	for i := range 3 {
		c.want(200, "POST", "/api/v1/manifests", serviceAt(fmt.Sprint(90+i)))
	}
	b.Server.Trail = &disk{peer: c}
	if got := b.want(200, "GET", path, ""); got.field("0.action") != "not held" {
		t.Errorf("of a host that has another chain: %s", got.body)
	}
}

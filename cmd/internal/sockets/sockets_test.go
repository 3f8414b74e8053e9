package sockets

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long the tests wait for what must come.
const patience = time.Minute

// asAgent has this program be an agent: it serves at the address until its standard input ends.
const asAgent = "SOCKETS_TEST_AGENT"

func TestMain(m *testing.M) {
	if address := os.Getenv(asAgent); address != "" {
		if err := agent(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func agent(address string) error {
	if os.Getenv("LISTEN_FDS") != "" { // systemd sets it between fork and exec
		if err := os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid())); err != nil {
			return err
		}
	}
	s, err := Open(nil)
	if err != nil {
		return err
	}
	l, err := s.Listen("ingress-http", address)
	if err != nil {
		return err
	}
	s.Done()
	for _, name := range os.Environ() {
		if strings.HasPrefix(name, "LISTEN_") {
			return fmt.Errorf("%s is left for children", name)
		}
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		l.Close()
	}()
	for answers := new(sync.WaitGroup); ; {
		c, err := l.Accept()
		if err != nil {
			answers.Wait()
			return nil
		}
		answers.Go(func() {
			defer c.Close()
			if line, err := bufio.NewReader(c).ReadString('\n'); err == nil {
				fmt.Fprint(c, line)
			}
		})
	}
}

// systemd plays its part: it holds what it is sent, and hands it to the next agent.
type systemd struct {
	t    *testing.T
	conn *net.UnixConn
	held map[string]*os.File
}

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s := &systemd{t: t, conn: conn, held: map[string]*os.File{}}
	t.Cleanup(func() {
		conn.Close()
		for _, f := range s.held {
			f.Close()
		}
	})
	return s
}

// hear takes one message.
func (s *systemd) hear() string {
	s.t.Helper()
	b, oob := make([]byte, 4096), make([]byte, 4096)
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	n, oobn, _, _, err := s.conn.ReadMsgUnix(b, oob)
	if err != nil {
		s.t.Fatal(err)
	}
	message := string(b[:n])
	_, name, _ := strings.Cut(message, "FDNAME=")
	name, _, _ = strings.Cut(name, "\n")
	if strings.HasPrefix(message, "FDSTOREREMOVE=1") && s.held[name] != nil {
		s.held[name].Close()
		delete(s.held, name)
	}
	all, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range all {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, fd := range fds {
			s.held[name] = os.NewFile(uintptr(fd), name)
		}
	}
	return message
}

// process is an agent that runs.
type process struct {
	cmd   *exec.Cmd
	in    io.Closer
	where string // it listens
}

// start starts an agent and waits until it listens.
func (s *systemd) start(address string) *process {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asAgent+"="+address, "NOTIFY_SOCKET="+s.conn.LocalAddr().String())
	cmd.Stderr = os.Stderr
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.held[name])
		if name != "nameless" { // which sorts last
			name, _, _ = strings.Cut(name, " ")
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprint("LISTEN_FDS=", len(cmd.ExtraFiles)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { // where the test ended before it was stopped
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.t.Fatalf("the agent never listened: %v", err)
	}
	return &process{cmd, in, strings.TrimSpace(line)}
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// ask connects, says hello, and gives what comes back.
func ask(at string) (string, error) {
	c, err := net.DialTimeout("tcp", at, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// Agents come and go under load, one after the other has ended, and no connection is refused.
func TestStore_noConnectionIsRefusedOverARestart(t *testing.T) {
	sd := newSystemd(t)
	p := sd.start("127.0.0.1:0")
	if got := sd.hear(); got != "FDSTORE=1\nFDNAME=ingress-http" || sd.held["ingress-http"] == nil {
		t.Fatalf("systemd was told %q and holds %v, want the socket", got, sd.held)
	}
	where := p.where
	ctx, stop := context.WithCancel(t.Context())
	var g sync.WaitGroup
	var answered atomic.Int64
	for range 2 {
		g.Go(func() {
			for ctx.Err() == nil {
				if got, err := ask(where); err != nil || got != "hello\n" {
					t.Errorf("got %q, %v, want every connection answered", got, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	more := func() {
		for before, deadline := answered.Load(), time.Now().Add(patience); answered.Load() < before+20; {
			if time.Now().After(deadline) {
				t.Fatal("requests are no longer answered")
			}
			<-time.After(time.Millisecond)
		}
	}
	pids := []int{p.cmd.Process.Pid}
	for range 2 {
		more()
		p.stop(t)
		p = sd.start(where)
		if p.where != where {
			t.Fatalf("listens at %s, want %s", p.where, where)
		}
		pids = append(pids, p.cmd.Process.Pid)
	}
	more()
	stop()
	g.Wait()
	slices.Sort(pids)
	if got := len(slices.Compact(pids)); got != 3 {
		t.Errorf("got %d agents, want 3", got)
	}
	p.stop(t)
}

// What is kept for another address is given up.
func TestStore_anotherAddress(t *testing.T) {
	sd := newSystemd(t)
	p := sd.start("127.0.0.1:0")
	sd.hear()
	p.stop(t)
	was := p.where
	p = sd.start("127.0.0.2:0")
	if got := sd.hear(); got != "FDSTOREREMOVE=1\nFDNAME=ingress-http" {
		t.Errorf("systemd was told %q, want to close the old one", got)
	}
	sd.hear()
	if !strings.HasPrefix(p.where, "127.0.0.2:") {
		t.Errorf("listens at %s, want where it is told to", p.where)
	}
	if c, err := net.Dial("tcp", was); !errors.Is(err, syscall.ECONNREFUSED) {
		if c != nil {
			c.Close()
		}
		t.Errorf("%s: got %v, want it refused", was, err)
	}
	p.stop(t)
}

// A name that nobody asks for any more is given up, and what is no socket does no harm.
func TestStore_whatNobodyAsksFor(t *testing.T) {
	sd := newSystemd(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	sd.held["ingress-https"], sd.held["odd"] = f, null
	p := sd.start("127.0.0.1:0")
	told := []string{sd.hear(), sd.hear(), sd.hear()}
	slices.Sort(told)
	if want := []string{"FDSTORE=1\nFDNAME=ingress-http", "FDSTOREREMOVE=1\nFDNAME=ingress-https", "FDSTOREREMOVE=1\nFDNAME=odd"}; !slices.Equal(told, want) {
		t.Errorf("systemd was told %q, want %q", told, want)
	}
	p.stop(t)
}

// One that is asked for again, as its server has failed, is bound anew, once systemd has let go of the one before.
func TestStore_again(t *testing.T) {
	sd := newSystemd(t)
	t.Setenv("NOTIFY_SOCKET", sd.conn.LocalAddr().String())
	s, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen("ingress-http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sd.hear()
	l.Close()
	at := l.Addr().String()
	if _, err := s.Listen("ingress-http", at); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("while systemd holds it: got %v, want that it is in use", err)
	}
	if got := sd.hear(); got != "FDSTOREREMOVE=1\nFDNAME=ingress-http" {
		t.Fatalf("systemd was told %q, want to let go", got)
	}
	l, err = s.Listen("ingress-http", at)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if sd.hear(); sd.held["ingress-http"] == nil {
		t.Error("the new one is not held")
	}
}

// What is handed to somebody else is not taken, and what is no number of files is said to be none.
func TestOpen_whatIsHandedOver(t *testing.T) {
	here := fmt.Sprint(os.Getpid())
	for _, c := range []struct{ pid, fds, wrong string }{
		{"1", "many", ""}, {"", "many", ""}, {here, "", ""}, {here, "0", ""}, {here, "many", `LISTEN_FDS is "many"`}, {here, "-1", `LISTEN_FDS is "-1"`},
	} {
		t.Setenv("LISTEN_PID", c.pid)
		t.Setenv("LISTEN_FDS", c.fds)
		s, err := Open(nil)
		if got := fmt.Sprint(err); c.wrong == "" && (err != nil || len(s.kept) > 0) || !strings.Contains(got, c.wrong) {
			t.Errorf("LISTEN_PID=%q LISTEN_FDS=%q: got %v, want %q", c.pid, c.fds, err, c.wrong)
		}
	}
}

// Sockets without a name are given up. Of two of one name and place one is taken, and systemd, which closes both when it is told to
// close one of them, is given it again.
func TestStore_oddNames(t *testing.T) {
	sd := newSystemd(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ingress-http", "ingress-http again", "nameless"} {
		if sd.held[name], err = l.(*net.TCPListener).File(); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	p := sd.start(l.Addr().String())
	told := []string{sd.hear(), sd.hear(), sd.hear()}
	slices.Sort(told)
	if want := []string{"FDSTORE=1\nFDNAME=ingress-http", "FDSTOREREMOVE=1\nFDNAME=ingress-http", "FDSTOREREMOVE=1\nFDNAME=unknown"}; !slices.Equal(told, want) {
		t.Errorf("systemd was told %q, want %q", told, want)
	}
	if got, err := ask(p.where); err != nil || got != "hello\n" {
		t.Errorf("got %q, %v, want an answer", got, err)
	}
	p.stop(t)
}

// Where systemd cannot be told, or is there no more, or does not read, the agent listens all the same.
func TestStore_nobodyHears(t *testing.T) {
	sd := newSystemd(t)
	full := sd.conn.LocalAddr().String()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: full, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = c.Write([]byte("X=1"))
	}
	for what, notify := range map[string]string{"no systemd": "", "one that is gone": filepath.Join(t.TempDir(), "gone"), "one that does not read": full} {
		t.Setenv("NOTIFY_SOCKET", notify)
		var said bytes.Buffer
		s, err := Open(slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		listening := make(chan error, 1)
		go func() {
			l, err := s.Listen("ingress-http", "127.0.0.1:0")
			if err == nil {
				err = l.Close()
			}
			listening <- err
		}()
		select {
		case err := <-listening:
			if warned := strings.Contains(said.String(), "cannot be kept"); err != nil || warned != (notify != "") {
				t.Errorf("%s: got %v, and said: %s", what, err, said.String())
			}
		case <-time.After(patience):
			t.Fatalf("%s: it does not listen", what)
		}
	}
}

// What was given up is not given to whoever asks later, and is given up once.
func TestStore_done(t *testing.T) {
	sd := newSystemd(t)
	t.Setenv("NOTIFY_SOCKET", sd.conn.LocalAddr().String())
	s, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	was, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.kept, s.held["ingress-http"] = []kept{{"ingress-http", was}}, true
	s.Done()
	s.Done()
	l, err := s.Listen("ingress-http", was.Addr().String())
	if err != nil || l == was {
		t.Fatalf("got %v, %v, want a new one", l, err)
	}
	l.Close()
	for _, want := range []string{"FDSTOREREMOVE=1\nFDNAME=ingress-http", "FDSTORE=1\nFDNAME=ingress-http"} {
		if got := sd.hear(); got != want {
			t.Errorf("systemd was told %q, want %q", got, want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		is, want string
		same     bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true}, {"127.0.0.1:80", "127.0.0.1:81", false}, {"127.0.0.1:80", "127.0.0.2:80", false},
		{"[::]:80", ":80", true}, {"0.0.0.0:80", ":80", true}, {"[::]:80", "127.0.0.1:80", false}, {"127.0.0.1:80", ":80", false}, {"[::1]:80", "[::1]:80", true},
		{"127.0.0.1:80", "127.0.0.1:0", true}, {"[fe80::1%1]:80", "[fe80::1%2]:80", false},
	} {
		is, err := net.ResolveTCPAddr("tcp", c.is)
		if err != nil {
			t.Fatal(err)
		}
		want, err := net.ResolveTCPAddr("tcp", c.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := same(is, want); got != c.same {
			t.Errorf("%s for %s: got %v, want %v", c.is, c.want, got, c.same)
		}
	}
	if same(&net.UnixAddr{Name: "/run/x", Net: "unix"}, &net.TCPAddr{}) {
		t.Error("a socket of a folder is taken for one that listens at a port")
	}
}

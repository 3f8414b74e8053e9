package street

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// TestMain lets this program stand in for one that holds a street and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(standIn); dir != "" {
		if _, err := Open(context.Background(), Options{Dir: dir, Hosts: 1}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("open")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

const standIn = "STREET_TEST_DIR"

func open(t *testing.T, bin string, hosts int) *Street {
	t.Helper()
	// Not t.TempDir(): with a long test name the path of a socket would be longer than a unix socket's may be.
	dir, err := os.MkdirTemp("", "st-")
	must(t, err)
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	s, err := Open(context.Background(), Options{Dir: dir, Hosts: hosts, Bin: bin, Seed: 1})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fetch asks one host from another until there is an answer.
func fetch(t *testing.T, from *Host, url string) string {
	t.Helper()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for deadline := time.Now().Add(15 * time.Second); ; <-every.C {
		b, err := trial.Do(t.Context(), from.Client(), "GET", url, "")
		if err == nil {
			return string(b)
		}
		if time.Now().After(deadline) {
			t.Fatalf("from %s: %v", from.Name, err)
		}
	}
}

// reaches reports whether one host can connect to a listener on another within a moment.
func reaches(t *testing.T, from *Host, addr string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// listen accepts on a host, and throws away what comes.
func listen(t *testing.T, h *Host) (addr string) {
	t.Helper()
	var l net.Listener
	must(t, within(h.Podman.NetworkFile(), func() (err error) {
		l, err = net.Listen("tcp4", h.Addr()+":0")
		return err
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// One street for all that needs no fresh one: it takes seconds to set up.
func TestStreet(t *testing.T) {
	began := time.Now()
	s := open(t, "", 3)
	t.Logf("3 hosts after %.1f s", time.Since(began).Seconds())
	t.Run("containersAcrossHosts", s.testContainers)
	t.Run("links", s.testLinks)
	t.Run("rate", s.testRate)
	t.Run("delay", s.testDelay)
	t.Run("power", s.testPower)
}

func (s *Street) testContainers(t *testing.T) {
	for _, h := range s.Hosts { // the same port on each: they do not meet
		_, err := h.Podman.Podman(t.Context(), "run", "--detach", "--name", "web", "--publish", "8000:80", podmanhost.Image1)
		must(t, err)
	}
	for _, from := range s.Hosts {
		for _, to := range s.Hosts {
			if got := fetch(t, from, "http://"+to.Addr()+":8000/"); !strings.Contains(got, "version 1\n") {
				t.Errorf("%s from %s: got %q", to.Name, from.Name, got)
			}
		}
	}
	ids := map[string]bool{}
	for _, h := range s.Hosts {
		id, err := h.Command(t.Context(), "cat", "/etc/machine-id").Output()
		must(t, err)
		ids[string(id)] = true
	}
	if len(ids) != len(s.Hosts) {
		t.Errorf("machine ids: got %v, want %d that differ", ids, len(s.Hosts))
	}
}

func (s *Street) testLinks(t *testing.T) {
	h1, h2, h3 := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	at1, at2, at3 := listen(t, h1), listen(t, h2), listen(t, h3)
	want := func(why string, want bool, from *Host, addr string) {
		t.Helper()
		if got := reaches(t, from, addr); got != want {
			t.Errorf("%s: %s reaches %s: got %v, want %v", why, from.Name, addr, got, want)
		}
	}
	s.CutOff(0)
	want("h1 cut off", false, h1, at2)
	want("h1 cut off", false, h3, at1)
	want("h1 cut off", true, h2, at3)
	s.Heal()
	want("healed", true, h1, at2)

	s.CutPair(0, 1)
	want("h1-h2 cut", false, h2, at1)
	want("h1-h2 cut", true, h1, at3)
	want("h1-h2 cut", true, h2, at3)
	s.Heal()

	// One way: an open connection tells that the other way still works.
	heard := oneWay(t, s)
	if !heard[0] || heard[1] {
		t.Errorf("h1 to h2 cut one way: h2 is heard by h1: got %v, want true; h1 by h2: got %v, want false", heard[0], heard[1])
	}
	s.Heal()

	s.Links(Link{Delay: 30 * time.Millisecond, Jitter: 10 * time.Millisecond})
	began := time.Now()
	want("slow", true, h1, at2)
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("connect over a wire with a delay of 30 ms each way: got %v, want 60 ms or more", took)
	}
	s.Links(Link{Loss: 1})
	want("all lost", false, h1, at2)
	s.Heal()
}

// oneWay sends datagrams both ways while h1's way to h2 is cut, and reports which arrive: at h1, at h2.
func oneWay(t *testing.T, s *Street) (heard [2]bool) {
	var conns [2]net.PacketConn
	for i, h := range s.Hosts[:2] {
		must(t, within(h.Podman.NetworkFile(), func() (err error) {
			conns[i], err = net.ListenPacket("udp4", h.Addr()+":7000")
			return err
		}))
		defer conns[i].Close()
	}
	s.CutOneWay(0, 1)
	for i := range conns {
		to := &net.UDPAddr{IP: net.ParseIP(s.Hosts[1-i].Addr()), Port: 7000}
		_, err := conns[i].WriteTo([]byte("hello"), to)
		must(t, err)
	}
	for i := range conns {
		must(t, conns[i].SetReadDeadline(time.Now().Add(300*time.Millisecond)))
		_, _, err := conns[i].ReadFrom(make([]byte, 16))
		heard[i] = err == nil
	}
	return heard
}

func (s *Street) testRate(t *testing.T) {
	conn, err := s.Hosts[0].Dial(t.Context(), "tcp", listen(t, s.Hosts[1]))
	must(t, err)
	defer conn.Close()
	const much = 64 << 20
	began := time.Now()
	block := make([]byte, 1<<18)
	for sent := 0; sent < much; sent += len(block) {
		_, err := conn.Write(block)
		must(t, err)
	}
	rate := float64(much) * 8 / 1e6 / time.Since(began).Seconds()
	t.Logf("%.0f Mbit/s from host to host", rate)
	if rate < 50 { // of 300 and more on a machine with nothing else to do
		t.Errorf("got %.0f Mbit/s, want 50", rate)
	}
}

// testDelay tells how long a word and its answer take over whole wires.
func (s *Street) testDelay(t *testing.T) {
	var conns [2]net.PacketConn
	for i, h := range s.Hosts[:2] {
		must(t, within(h.Podman.NetworkFile(), func() (err error) {
			conns[i], err = net.ListenPacket("udp4", h.Addr()+":7001")
			return err
		}))
		defer conns[i].Close()
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for buf := make([]byte, 64); ; {
			n, from, err := conns[1].ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conns[1].WriteTo(buf[:n], from)
		}
	}()
	var took []time.Duration
	to := &net.UDPAddr{IP: net.ParseIP(s.Hosts[1].Addr()), Port: 7001}
	for range 500 {
		began := time.Now()
		_, err := conns[0].WriteTo([]byte("word"), to)
		must(t, err)
		must(t, conns[0].SetReadDeadline(time.Now().Add(10*time.Second)))
		_, _, err = conns[0].ReadFrom(make([]byte, 64))
		must(t, err)
		took = append(took, time.Since(began))
	}
	conns[1].Close()
	<-answered
	slices.Sort(took)
	t.Logf("there and back: p50 %v, p99 %v", took[len(took)/2], took[len(took)*99/100])
}

func (s *Street) testPower(t *testing.T) {
	h1, h2 := s.Hosts[0], s.Hosts[1]
	boot := func(h *Host) string {
		t.Helper()
		id, err := h.Command(t.Context(), "cat", "/proc/sys/kernel/random/boot_id").Output()
		must(t, err)
		return string(id)
	}
	before := boot(h2)
	if before == boot(h1) {
		t.Errorf("two hosts have the boot id %s", before)
	}
	must(t, h2.PowerOff())
	if reaches(t, h1, h2.Addr()+":8000") {
		t.Error("a host without power answers")
	}
	_, err := h2.Dial(t.Context(), "tcp", h1.Addr()+":8000")
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("a host without power dials: got %v, want that it cannot", err)
	}
	must(t, h2.PowerOn(t.Context()))
	if boot(h2) == before {
		t.Errorf("after a power cut the boot id is still %s", before)
	}
	state, err := h2.Podman.Podman(t.Context(), "inspect", "--format", "{{.State.Status}}", "web")
	must(t, err)
	if state == "running" {
		t.Errorf("after a power cut the container is %s", state)
	}
	_, err = h2.Podman.Podman(t.Context(), "start", "web")
	must(t, err)
	fetch(t, h1, "http://"+h2.Addr()+":8000/")
	fetch(t, h2, "http://"+h1.Addr()+":8000/")
}

// The agent of a host that is closed, and all else, is gone; and a street whose process was killed leaves nothing that
// the next does not remove.
func TestStreet_leavesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "st-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	before := interfaces(t)

	killed := exec.Command(os.Args[0])
	killed.Env = append(os.Environ(), standIn+"="+dir)
	killed.Stderr = os.Stderr
	stdin, err := killed.StdinPipe()
	must(t, err)
	defer stdin.Close()
	stdout, err := killed.StdoutPipe()
	must(t, err)
	must(t, killed.Start())
	word := make([]byte, 5)
	_, err = io.ReadFull(stdout, word)
	must(t, err)
	must(t, killed.Process.Signal(syscall.SIGKILL))
	var exit *exec.ExitError
	if err := killed.Wait(); !errors.As(err, &exit) {
		t.Fatalf("killed: got %v", err)
	}
	if left := folders(t, dir); len(left) != 1 {
		t.Fatalf("a killed process leaves %v, want its folder", left)
	}
	// The kernel ends the host, and with it the last process that has the folder's socket open.
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-every.C {
		if procs := runs(t, dir); procs == "" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("still runs: %s", procs)
		}
	}

	s, err := Open(t.Context(), Options{Dir: dir, Hosts: 1})
	must(t, err)
	if left := folders(t, dir); len(left) != 1 || left[0] != s.dir {
		t.Errorf("beside a street that is open there are %v, want %s alone", left, s.dir)
	}
	must(t, sweep(dir)) // as another run does: it must not touch this one
	if _, err := s.Hosts[0].Podman.Podman(t.Context(), "ps"); err != nil {
		t.Errorf("after the sweep of another run: %v", err)
	}
	must(t, s.Close())
	if left := folders(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if procs := runs(t, dir); procs != "" {
		t.Errorf("still runs: %s", procs)
	}
	if after := interfaces(t); after != before {
		t.Errorf("network devices: got %s, want %s", after, before)
	}
}

func folders(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	return all
}

// runs names the processes whose command line has the folder in it.
func runs(t *testing.T, dir string) string {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	var all []string
	for _, l := range lines {
		if b, err := os.ReadFile(l); err == nil && bytes.Contains(b, []byte(dir)) {
			all = append(all, string(bytes.ReplaceAll(b, []byte{0}, []byte(" "))))
		}
	}
	return strings.Join(all, "\n")
}

func interfaces(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	must(t, err)
	var names []string
	for _, i := range all {
		if !strings.HasPrefix(i.Name, "swt") && !strings.HasPrefix(i.Name, "veth") { // of other tests meanwhile
			names = append(names, i.Name)
		}
	}
	return strings.Join(names, " ")
}

func TestAgent_runsOnItsHost(t *testing.T) {
	bin := t.TempDir()
	must(t, trial.Build(t.Context(), filepath.Join(bin, "podman-swarm-agent")))
	s := open(t, bin, 2)
	for _, h := range s.Hosts {
		h.Agent.Args = append(h.Agent.Args, "--recovery-delay", "20ms")
		must(t, h.Up(t.Context()))
		var status struct{ Host string }
		must(t, trial.JSON(t.Context(), h.Client(), h.URL()+"/swarm/v1/status", &status))
		if status.Host != h.Name {
			t.Errorf("status of %s: got host %q", h.Name, status.Host)
		}
	}
	h := s.Hosts[1]
	_, err := trial.Apply(t.Context(), h.Client(), h.URL(), trial.Deployment("web", 1, ""))
	must(t, err)
	_, err = trial.Pods(t.Context(), h.Podman, "web", 1)
	must(t, err)
	must(t, h.PowerOff())
	must(t, h.PowerOn(t.Context()))
	must(t, h.Up(t.Context()))
	_, err = trial.Pods(t.Context(), h.Podman, "web", 1)
	must(t, err)
	must(t, h.Agent.Signal(syscall.SIGSTOP))
	if reaches := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := trial.Do(ctx, h.Client(), "GET", h.URL()+"/healthz", "")
		return err == nil
	}(); reaches {
		t.Error("an agent that is stopped answers")
	}
	must(t, h.Agent.Signal(syscall.SIGCONT))
	must(t, h.Agent.Ready(t.Context()))
}

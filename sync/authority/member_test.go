package authority

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// content is every file below a folder.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// created is the folder of a new cluster's first host.
func created(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	if _, err := Create(dir, "blue", Options{Node: "a"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCreate_thenOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	m, err := Create(dir, "blue", Options{Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	before := content(t, dir)
	again, err := Open(dir, Options{Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != m.Digest() || again.Cluster() != "blue" || again.Node() != "a" || !again.Expires().Equal(m.Expires()) {
		t.Errorf("opened %v of %q on %q until %v", again.Digest(), again.Cluster(), again.Node(), again.Expires())
	}
	if after := content(t, dir); !maps.Equal(before, after) {
		t.Error("opening changed the files")
	}
	if left := time.Until(m.Expires()); left < 89*day || left > 90*day {
		t.Errorf("the certificate holds %v", left)
	}
}

func TestCreate_modes(t *testing.T) {
	for _, mask := range []int{0, 0o077} {
		old := syscall.Umask(mask)
		dir := created(t)
		syscall.Umask(old)
		for name, want := range map[string]fs.FileMode{
			".": folderMode | fs.ModeDir, authorityKey: 0o600, nodeKey: 0o600, authorityCert: 0o640, nodeCert: 0o640,
		} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode(); got != want {
				t.Errorf("umask %03o: %s has mode %v, want %v", mask, name, got, want)
			}
		}
	}
}

func TestCreate_neverOverAnother(t *testing.T) {
	dir := created(t)
	before := content(t, dir)
	_, err := Create(dir, "blue", Options{Node: "a"})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	if after := content(t, filepath.Dir(dir)); !maps.Equal(before, after) {
		t.Error("the files changed, or something was left beside them")
	}
}

func TestCreate_names(t *testing.T) {
	for _, c := range []struct{ cluster, node string }{
		{"", "a"}, {"blue", ""}, {"Blue", "a"}, {"blue", "a b"}, {"blue", "-a"}, {"blue", "a."}, {"blue", strings.Repeat("a", 254)}, {"blue\n", "a"},
	} {
		if _, err := Create(filepath.Join(t.TempDir(), "authority"), c.cluster, Options{Node: c.node}); err == nil {
			t.Errorf("cluster %q, node %q: taken", c.cluster, c.node)
		}
	}
}

// What a crash of Create leaves beside the folder means nothing, and is gone with the next.
func TestCreate_afterACrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	if err := os.Rename(created(t), dir+unfinished); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir+unfinished, nodeCert)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{Node: "a"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: got %v, want fs.ErrNotExist", err)
	}
	if _, err := Create(dir, "blue", Options{Node: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + unfinished); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestOpen_none(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "authority")} {
		if _, err := Open(dir, Options{Node: "a"}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want fs.ErrNotExist", err)
		}
	}
}

// mustRefuse opens a folder that is damaged: the error must name the file, must not say that there is none, and
// nothing may have changed.
func mustRefuse(t *testing.T, dir, file string) {
	t.Helper()
	before := content(t, dir)
	_, err := Open(dir, Options{Node: "a"})
	if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Errorf("%s is damaged: got %v", file, err)
	}
	if !maps.Equal(before, content(t, dir)) {
		t.Errorf("%s is damaged: opening changed the files", file)
	}
	if _, err := Create(dir, "blue", Options{Node: "a"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%s is damaged: Create returned %v", file, err)
	}
}

func TestOpen_halfAnAuthority(t *testing.T) {
	for _, file := range []string{authorityCert, authorityKey} {
		dir := created(t)
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, dir, file)
	}
	dir := created(t)
	for _, file := range []string{authorityCert, authorityKey} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	mustRefuse(t, dir, authorityCert)
}

// Bytes that changed are refused, or mean the same (white space in PEM).
func TestOpen_changedBytes(t *testing.T) {
	dir := created(t)
	whole, err := Open(dir, Options{Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{authorityCert, authorityKey, nodeCert, nodeKey} {
		path := filepath.Join(dir, file)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += 3 {
			for _, bad := range [][]byte{good[:i], flipped(good, i)} {
				if err := os.WriteFile(path, bad, 0); err != nil {
					t.Fatal(err)
				}
				m, err := Open(dir, Options{Node: "a"})
				switch {
				case err == nil && (m.Digest() != whole.Digest() || !m.key.Equal(whole.key) || !m.Authority.key.Equal(whole.Authority.key)):
					t.Fatalf("%s: byte %d: taken, and another is opened", file, i)
				case err != nil && (errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file)):
					t.Fatalf("%s: byte %d: %v", file, i, err)
				case err != nil && !bytes.Equal(must(os.ReadFile(path)), bad):
					t.Fatalf("%s: byte %d: refused and changed", file, i)
				}
			}
		}
		if err := os.WriteFile(path, good, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func flipped(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1
	return b
}

func TestOpen_damage(t *testing.T) {
	other := created(t)
	for _, c := range []struct{ file, from, names string }{ // from: a file of another cluster
		{authorityCert, authorityCert, authorityCert},
		{authorityKey, authorityKey, authorityKey},
		{nodeCert, nodeCert, nodeCert},
		{nodeKey, nodeKey, nodeKey},
		{authorityCert, nodeCert, authorityCert},
		{nodeCert, authorityCert, nodeCert},
		{authorityKey, authorityCert, authorityKey},
	} {
		dir := created(t)
		b := must(os.ReadFile(filepath.Join(other, c.from)))
		if err := os.WriteFile(filepath.Join(dir, c.file), b, 0); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, dir, c.names)
	}
	for _, file := range []string{authorityCert, authorityKey, nodeCert, nodeKey} {
		for _, b := range [][]byte{nil, []byte("hello"), make([]byte, 300)} {
			dir := created(t)
			if err := os.WriteFile(filepath.Join(dir, file), b, 0); err != nil {
				t.Fatal(err)
			}
			mustRefuse(t, dir, file)
		}
		dir := created(t)
		f, err := os.OpenFile(filepath.Join(dir, file), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("more"); err != nil {
			t.Fatal(err)
		}
		f.Close()
		mustRefuse(t, dir, file)
	}
}

// A certificate and a key that fit each other, and are still not this node's.
func TestOpen_anothersCertificate(t *testing.T) {
	dir := created(t)
	a, err := readAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	user, err := a.IssueUser("a", time.Now(), day)
	if err != nil {
		t.Fatal(err)
	}
	other := created(t)
	for name, pair := range map[string][2][]byte{
		"another cluster's node": {must(os.ReadFile(filepath.Join(other, nodeCert))), must(os.ReadFile(filepath.Join(other, nodeKey)))},
		"a user":                 {user.Certificate, user.Key},
	} {
		t.Run(name, func(t *testing.T) {
			for i, file := range []string{nodeCert, nodeKey} {
				if err := os.WriteFile(filepath.Join(dir, file), pair[i], 0); err != nil {
					t.Fatal(err)
				}
			}
			mustRefuse(t, dir, nodeCert)
		})
	}
}

// What is signed by its own key is not an authority for that.
func TestOpen_anAuthorityThatIsNone(t *testing.T) {
	for name, template := range map[string]x509.Certificate{
		"no authority": {Subject: subject(authorityMark, "blue", "x"), KeyUsage: x509.KeyUsageCertSign},
		"no mark":      {Subject: subject("somebody", "blue", "x"), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
		"no cluster":   {Subject: pkix.Name{Organization: []string{authorityMark}}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
	} {
		t.Run(name, func(t *testing.T) {
			dir := created(t)
			key, err := readKey(dir, authorityKey, "")
			if err != nil {
				t.Fatal(err)
			}
			template.SerialNumber = serial()
			der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, authorityCert), certificatePEM(der), 0); err != nil {
				t.Fatal(err)
			}
			mustRefuse(t, dir, authorityCert)
		})
	}
}

func TestOpen_keyThatOthersMayRead(t *testing.T) {
	for _, file := range []string{authorityKey, nodeKey} {
		dir := created(t)
		if err := os.Chmod(filepath.Join(dir, file), 0o640); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, dir, file)
	}
}

// Whatever of the node's own files a crash leaves, the authority makes the rest, and the next start finds it whole.
func TestOpen_missingNodeFiles(t *testing.T) {
	for _, gone := range [][]string{{nodeCert}, {nodeKey}, {nodeCert, nodeKey}} {
		dir := created(t)
		for _, file := range gone {
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, nodeCert+unfinished), []byte("torn"), 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir, Options{Node: "a"})
		if err != nil {
			t.Errorf("without %v: %v", gone, err)
			continue
		}
		before := content(t, dir)
		if again, err := Open(dir, Options{Node: "a"}); err != nil || !again.key.Equal(m.key) || !maps.Equal(before, content(t, dir)) {
			t.Errorf("without %v, opened again: %v", gone, err)
		}
		info, err := os.Stat(filepath.Join(dir, nodeKey))
		if err != nil || info.Mode() != keyMode {
			t.Errorf("without %v: %v %v", gone, info, err)
		}
		b, _ := another(t, m, "b")
		if dialled, accepted := meet(t, m.TLS(anybody), b.TLS(anybody)); dialled != nil || accepted != nil {
			t.Errorf("without %v: dialler %v, acceptor %v", gone, dialled, accepted)
		}
	}
}

// The key is made anew in three steps; a crash after any of them leaves what Open takes.
func TestOpen_crashWhileTheKeyIsMade(t *testing.T) {
	dir := created(t)
	if err := os.Remove(filepath.Join(dir, nodeKey)); err != nil {
		t.Fatal(err)
	}
	a, err := readAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := newMember(dir, a, nil, nil, Options{Node: "a"}.withDefaults())
	if err := m.newNodeKey(); err != nil { // and here it crashes
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{Node: "a"}); err != nil {
		t.Error(err)
	}
}

func TestOpen_newNameOrOldCertificate(t *testing.T) {
	dir := created(t)
	m, err := Open(dir, Options{Node: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.current.Load().Leaf.Subject.CommonName; got != "b" {
		t.Errorf("the certificate is for %q", got)
	}
	for _, away := range []time.Duration{61 * day, 200 * day, -2 * day} { // the last: the clock was ahead when it was made
		now := func() time.Time { return time.Now().Add(away) }
		m, err := Open(created(t), Options{Node: "a", Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if left := m.Expires().Sub(now()); left < 89*day || left > 90*day {
			t.Errorf("%v later the certificate holds %v", away, left)
		}
	}
}

// Ten years of an agent that is never restarted: its certificate always has a third of its life left, and what is on
// disk is what is in use.
func TestRun_renewsInTime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	synctest.Test(t, func(t *testing.T) {
		said := new(lines)
		m, err := Create(dir, "blue", Options{Node: "a", Log: said.log()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		renewals := 0
		for last := m.Expires(); renewals < 60; {
			time.Sleep(day)
			synctest.Wait()
			if left := time.Until(m.Expires()); left < 30*day-time.Hour {
				t.Fatalf("%v left", left)
			}
			if now := m.Expires(); !now.Equal(last) {
				renewals++
				last = now
				opened, err := Open(dir, Options{Node: "a"})
				if err != nil {
					t.Fatal(err)
				}
				if !opened.Expires().Equal(now) {
					t.Fatalf("on disk until %v, in use until %v", opened.Expires(), now)
				}
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if strings.Contains(said.String(), "level=WARN") {
			t.Errorf("warned:\n%s", said)
		}
	})
}

// A certificate that nears its end is warned of, and a clock that leaps does not have Run sleep over it.
func TestRun_warnsAndLooksEachHour(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	synctest.Test(t, func(t *testing.T) {
		said := new(lines)
		var leap atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(leap.Load())) }
		m, err := Create(dir, "blue", Options{Node: "a", Log: said.log(), Now: now, Warn: 40 * day})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		synctest.Wait()
		if strings.Contains(said.String(), "nears its end") {
			t.Error("warned too early")
		}
		leap.Store(int64(55 * day))
		time.Sleep(time.Hour)
		synctest.Wait()
		said.mustSay(t, "level=WARN", "nears its end")
		leap.Store(int64(61 * day))
		time.Sleep(time.Hour)
		synctest.Wait()
		if left := m.Expires().Sub(now()); left < 89*day {
			t.Errorf("%v left", left)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A disk that takes nothing must not let the certificate end.
func TestOnce_renewsWithoutADisk(t *testing.T) {
	dir := created(t)
	now := time.Now()
	m, err := Open(dir, Options{Node: "a", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	now = now.Add(61 * day)
	if err := m.Once(t.Context()); err == nil {
		t.Error("no error of a folder that is gone")
	}
	if left := m.Expires().Sub(now); left < 89*day {
		t.Errorf("%v left", left)
	}
}

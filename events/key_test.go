package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Everything that is promised of a log of what a crash, a full disk or rot leaves, holds of a sealed one: the same tests, once more.
func TestSealed_guards(t *testing.T) {
	if *sealed || testing.Short() {
		t.Skip("it is one of them, or too long")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(self, "-sealed", "-test.timeout=10m",
		"-test.run=^(TestOpen_(torn|zero|tail|every|damaged|cut|missing|foreign|whole|twoFutures|newer|incarnation|manifestLost|crash|timeGoesOn|fullDisk)|TestAppend_|TestRead_|TestReplay_|TestDump_|TestVerify_|TestMissing_|TestRenew_)").CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("no tests to run")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// sealedLog writes a log, which its owner then closes, or dies over it.
func sealedLog(t *testing.T, dir string, end func(*Log), entries ...Entry) {
	t.Helper()
	o := small()
	o.Key = keyOfBytes(7)
	l := mustOpen(t, dir, o)
	for _, e := range entries {
		mustAppend(t, l, e)
	}
	holds(t, l, entries)
	end(l)
}

// Nothing of what is in a sealed log can be read or guessed from its files, and what it is for jq it is with the key.
func TestSealed_tellsNothing(t *testing.T) {
	a := author{inc: 1}
	all := []Entry{a.entry(t, 1, 100), a.entry(t, 3, 50), a.entry(t, 1, 5000), a.entry(t, 1, 10)}
	dir := t.TempDir()
	sealedLog(t, dir, func(l *Log) { mustClose(t, l) }, all...)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if bytes.Contains(b, e.Hash[:]) || bytes.Contains(b, e.Payload[:40]) || bytes.Contains(b, []byte("xxxxx")) || bytes.Contains(b, []byte("deployment/")) {
				t.Errorf("%s tells of record %d", f.Name(), e.Seq)
			}
		}
	}
	o := small()
	o.Key = keyOfBytes(7)
	l := mustOpen(t, dir, o)
	if n := holds(t, l, all); n != len(all) {
		t.Errorf("%d records of %d", n, len(all))
	}
	n := 0
	if err := Dump(dir, keyOfBytes(7), 1, func(_ Record, c *Commit) error { n += len(c.Events); return nil }); err != nil || n != 6 {
		t.Errorf("dumped %d events, %v", n, err)
	}
	if chains, err := Verify(t.Context(), dir, keyOfBytes(7), nil); err != nil || len(chains) != 1 || chains[0].Last != 6 {
		t.Errorf("got %+v, %v", chains, err)
	}
}

// The wrong key, none, or one too many: a clear error, and not a byte is touched.
func TestSealed_keys(t *testing.T) {
	a := author{inc: 1}
	dir, plain := t.TempDir(), t.TempDir()
	sealedLog(t, dir, func(l *Log) { mustClose(t, l) }, a.entry(t, 1, 10))
	o := small()
	o.Key = nil
	b := author{inc: 2}
	l := mustOpen(t, plain, o)
	mustAppend(t, l, b.entry(t, 1, 10))
	mustClose(t, l)
	for _, c := range []struct {
		dir  string
		key  *Key
		want error
	}{{dir, nil, ErrSealed}, {dir, keyOfBytes(8), ErrWrongKey}, {plain, keyOfBytes(7), errPlain}} {
		before := content(t, c.dir)
		o.Key = c.key
		if l, err := Open(c.dir, o); !errors.Is(err, c.want) {
			t.Errorf("got %v, %v; want %v", l, err, c.want)
		}
		if after := content(t, c.dir); after != before {
			t.Errorf("%v: something was changed", c.want)
		}
		if err := Dump(c.dir, c.key, 1, func(Record, *Commit) error { return nil }); c.want != errPlain && !errors.Is(err, c.want) || c.want == errPlain && err != nil {
			t.Errorf("dump: %v, want %v", err, c.want)
		}
	}
	for dir, want := range map[string]Sealing{dir: {Key: keyOfBytes(7).ID()}, plain: {}, t.TempDir(): {New: true}} {
		if got, err := SealingOf(dir); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, manifestName)); err != nil {
		t.Fatal(err)
	}
	n := 0
	count := func(Record, *Commit) error { n++; return nil }
	if err := Dump(dir, keyOfBytes(7), 1, count); err == nil || n != 1 {
		t.Errorf("without MANIFEST: %d records, %v", n, err)
	}
	if err := Dump(dir, nil, 1, count); !errors.Is(err, ErrSealed) {
		t.Errorf("without MANIFEST and key: %v", err)
	}
}

// content is all of a folder, but for who holds its lock.
func content(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() == "LOCK" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(f.Name() + "\n" + string(b))
	}
	return all.String()
}

// Whoever can write to the folder and knows how checksums are made cannot have the log say anything: any byte of a record changed, one put in
// another's place, or a plain one put there, is refused, and never taken for what a crash left.
func TestSealed_forged(t *testing.T) {
	a := author{inc: 1}
	dir := t.TempDir()
	sealedLog(t, dir, die, a.entry(t, 1, 10), a.entry(t, 1, 10), a.entry(t, 1, 10)) // above the watermark, where unfinished ends are cut
	name := filepath.Join(dir, segmentName(1))
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var at []int // of the frames
	for i := 0; ; {
		n := bytes.Index(whole[i:], []byte(sealedMagic))
		if n < 0 {
			break
		}
		at = append(at, i+n)
		i += n + 4
	}
	if len(at) != 3 {
		t.Fatalf("%d frames", len(at))
	}
	last, end := at[2], len(whole)
	sum := func(b []byte) { // of the last frame, made to fit
		f := b[last:]
		binary.LittleEndian.PutUint32(f[crcAt:], crc32.Update(crc32.Checksum(f[:crcAt], castagnoli()), castagnoli(), f[headerSize:]))
	}
	try := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o640); err != nil {
			t.Fatal(err)
		}
		o := small()
		o.Key = keyOfBytes(7)
		var c *CorruptError
		if l, err := Open(dir, o); !errors.As(err, &c) {
			t.Errorf("%s: got %v, %v", what, l, err)
		}
		if is, err := os.ReadFile(name); err != nil || !bytes.Equal(is, b) {
			t.Errorf("%s: the segment was changed, %v", what, err)
		}
	}
	for i := last + len(magic) + 4; i < end; i++ { // but for its length: then there is no frame, and that is what a crash leaves
		if i >= last+crcAt && i < last+headerSize {
			continue
		}
		b := bytes.Clone(whole)
		b[i] ^= 1
		sum(b)
		try("a flipped bit", b)
	}
	b := bytes.Clone(whole)
	copy(b[last+headerSize:], b[at[1]+headerSize:at[2]]) // what the record before says
	sum(b)
	try("another's content", b)
	f := frame{}
	opened := bytes.Clone(whole[last:])
	if _, err := parseFrame(opened, &f); err != nil {
		t.Fatal(err)
	}
	if err := f.open(keyOfBytes(7), opened); err != nil {
		t.Fatal(err)
	}
	forged := f.append(nil)
	b = append(bytes.Clone(whole[:last-2]), binary.AppendUvarint(nil, uint64(len(forged)))...)
	try("a plain one", append(b, forged...))
}

func TestKey_file(t *testing.T) {
	k, other := keyOfBytes(1), keyOfBytes(2)
	plain := []byte(strings.Repeat("what is sealed ", 100))
	b := k.SealFile("state.json", plain)
	if !SealedFile(b) || bytes.Contains(b, plain[:20]) || bytes.Equal(b, k.SealFile("state.json", plain)) {
		t.Error("it is not sealed, or twice in the same way")
	}
	if got, err := k.OpenFile("state.json", b); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %q, %v", got, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if _, err := k.OpenFile("state.json", bad); err == nil {
			t.Fatalf("byte %d of %d is flipped, and nobody says so", i, len(b))
		}
		if _, err := k.OpenFile("state.json", b[:i]); err == nil {
			t.Fatalf("cut off after %d bytes, and nobody says so", i)
		}
	}
	for want, err := range map[error]error{
		ErrWrongKey: second(other.OpenFile("state.json", b)),
		ErrSealed:   second((*Key)(nil).OpenFile("state.json", b)),
		errPlain:    second(k.OpenFile("state.json", plain)),
	} {
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if _, err := k.OpenFile("fold.snap", b); err == nil {
		t.Error("opened as of another file")
	}
	if got, err := (*Key)(nil).OpenFile("state.json", plain); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("neither sealed nor a key: %v", err)
	}
	if _, err := NewKey(make([]byte, 16)); err == nil {
		t.Error("a key of 16 bytes is taken")
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzParseSealedFrame(f *testing.F) {
	key := keyOfBytes(1)
	one := frame{number: 1, index: 1, count: 1, inc: 1, seq: 1, hash: HashOf([]byte("{}")), payload: []byte("{}")}
	f.Add(one.appendSealed(nil, key))
	f.Add(one.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr frame
		n, err := parseFrame(b, &fr)
		if err != nil || !fr.sealed {
			return
		}
		raw := bytes.Clone(b[:n])
		if err := fr.open(key, b[:n]); err != nil {
			return
		}
		if fr.number != one.number || !bytes.Equal(raw, f0(one, key, raw)) {
			t.Errorf("opened what the key's owner has not sealed: %+v", fr)
		}
	})
}

// f0 is raw if it is a sealed form of one, which there are many of; else nothing.
func f0(one frame, key *Key, raw []byte) []byte {
	var fr frame
	b := bytes.Clone(raw)
	if _, err := parseFrame(b, &fr); err != nil || fr.open(key, b) != nil || !bytes.Equal(fr.payload, one.payload) || fr.hash != one.hash {
		return nil
	}
	return raw
}

package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// backups are those of a host, which has two objects.
func (h *host) backups(t *testing.T) *Backups {
	t.Helper()
	h.apply(t, "deployment/default/web", `{"kind":"Deployment","spec":{"replicas":3}}`)
	h.apply(t, "service/default/web", `{"kind":"Service"}`)
	return &Backups{Dir: filepath.Join(h.dir, "backups"), Cluster: "default", Node: "a", Agent: "1.2", Ledger: h.Ledger,
		Log: slog.New(slog.NewTextHandler(&h.said, nil))}
}

func TestBackup_carriesAllThatIsNeeded(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	h.apply(t, "service/default/gone", `{"kind":"Service"}`)
	h.apply(t, "service/default/gone", "")
	f, err := b.Create(t.Context(), "on demand", false)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(b.Dir, f.Name))
	if err != nil || info.Mode().Perm() != 0o640 || info.Size() != f.Bytes {
		t.Errorf("got %v, %v; want a file of %d bytes and mode 0640", info, err, f.Bytes)
	}
	got, err := b.Read(f.Name)
	if err != nil {
		t.Fatal(err)
	}
	want := h.View().State
	if got.State.Digest() != want.Digest() || got.Index != want.Index() || got.Cluster != "default" || got.Node != "a" || got.Why != "on demand" || got.Agent != "1.2" {
		t.Errorf("got %+v, want that of index %d", got.About, want.Index())
	}
	// For people it has what state.json has.
	data, err := os.ReadFile(filepath.Join(b.Dir, f.Name))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Deployments map[string]Deployment
		Version     int
		Checksum    string
	}
	if err := json.Unmarshal(data, &doc); err != nil || doc.Deployments["default/web"].DesiredReplicas != 3 || doc.Version != DocumentVersion || doc.Checksum == "" {
		t.Errorf("got %+v, %v", doc, err)
	}
}

// Whatever bit is flipped, wherever the file ends: it is found.
func TestReadBackup_damage(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	var buf bytes.Buffer
	if err := WriteBackup(&buf, About{Cluster: "default", Node: "a", Made: time.Unix(0, 0).UTC()}, h.View().State); err != nil {
		t.Fatal(err)
	}
	whole := buf.Bytes()
	if _, err := ReadBackup(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		if _, err := ReadBackup(bad); err == nil {
			t.Fatalf("byte %d of %d, %q, is flipped, and nobody says so", i, len(whole), whole[i])
		}
		if _, err := ReadBackup(whole[:i]); err == nil {
			t.Fatalf("cut off after byte %d of %d, and nobody says so", i, len(whole))
		}
	}
	if _, err := ReadBackup(append(bytes.Clone(whole), '\n')); err == nil {
		t.Error("something follows, and nobody says so")
	}
	if _, err := ReadBackup([]byte(`{"deployments":{}}`)); !errors.Is(err, ErrNoBackup) {
		t.Errorf("a state.json: got %v, want ErrNoBackup", err)
	}
	for _, name := range []string{"../state-backup-20260101-000000.json", "state.json", "state-backup-20260101-000000.json"} {
		if _, err := b.Read(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want that there is none", name, err)
		}
	}
}

// A backup that is whole and says what is not so, or is of a later form, is refused by its reason.
func TestReadBackup_whole(t *testing.T) {
	h := open(t, t.TempDir())
	h.backups(t)
	var buf bytes.Buffer
	if err := WriteBackup(&buf, About{Agent: "9.1"}, h.View().State); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"a later form":             {`"backup": {"version":1`, `"backup": {"version":7`, "version 7"},
		"another index":            {fmt.Sprintf("\n  \"index\": %d", h.View().Index()), "\n  \"index\": 7", "not the one"},
		"another digest":           {"\n  \"digest\": \"" + h.View().Digest()[:4], "\n  \"digest\": \"0000", "not the one"},
		"another index of itself":  {fmt.Sprintf(`"index":%d,"digest"`, h.View().Index()), `"index":7,"digest"`, "not the one"},
		"another digest of itself": {`"digest":"` + h.View().Digest()[:4], `"digest":"0000`, "not the one"},
		"another head":             {`"seq":2,"hash"`, `"seq":3,"hash"`, "not the one"},
	} {
		body := strings.Replace(buf.String(), c.old, c.new, 1)
		if body == buf.String() {
			t.Fatalf("%s: nothing to change", name)
		}
		if _, err := ReadBackup(sealed(body)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

// sealed is a backup with the checksum that fits.
func sealed(text string) []byte {
	sum := sha256.New()
	body := text[:len(text)-len(tail(sum))]
	sum.Write([]byte(body))
	return append([]byte(body), tail(sum)...)
}

// One that is compressed is what zstd reads, smaller, and as good; any flipped bit in it is found as well.
func TestBackup_compressed(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	for i := range 100 {
		h.apply(t, fmt.Sprintf("service/default/s%d", i), `{"kind":"Service","spec":{"ports":[{"port":80}]}}`)
	}
	large, err := b.Create(t.Context(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	b.Compress = true
	small, err := b.Create(t.Context(), "", false)
	if err != nil || !strings.HasSuffix(small.Name, ".json.zst") || small.Bytes*2 > large.Bytes {
		t.Errorf("got %+v, %v beside %+v", small, err, large)
	}
	got, err := b.Read(small.Name)
	if err != nil || got.State.Digest() != h.View().Digest() {
		t.Errorf("got %+v, %v", got, err)
	}
	data, err := os.ReadFile(filepath.Join(b.Dir, small.Name))
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for bit := range 8 {
			if i < len(data)-64 && bit != i%8 { // of the end, every one
				continue
			}
			bad := bytes.Clone(data)
			bad[i] ^= 1 << bit
			if _, err := ReadBackup(bad); err == nil {
				t.Fatalf("bit %d of byte %d of %d, %#x, is flipped, and nobody says so", bit, i, len(data), data[i])
			}
		}
	}
}

func TestBackups_names(t *testing.T) {
	h := open(t, t.TempDir())
	b := h.backups(t)
	b.Now = func() time.Time { return time.Date(2026, 1, 21, 13, 0, 0, 5, time.FixedZone("", 3600)) }
	var want []string
	for i := range 12 {
		name := "state-backup-20260121-120000.json"
		if i > 0 {
			name = fmt.Sprintf("state-backup-20260121-120000-%d.json", i)
		}
		want = append(want, name)
		if _, err := b.Create(t.Context(), "", false); err != nil {
			t.Fatal(err)
		}
	}
	want = append(want, "state-backup-20260121-120000-12-pinned.json")
	if f, err := b.Create(t.Context(), "", true); err != nil || !f.Pinned {
		t.Fatalf("got %+v, %v, want it pinned", f, err)
	}
	for _, other := range []string{"state-backup-20260121-120000.json.tmp", "state-backup-20260199-120000.json", "state.json"} {
		if err := os.WriteFile(filepath.Join(b.Dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := b.List()
	var got []string
	for _, f := range all {
		got = append(got, f.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if all[1].Name != "state-backup-20260121-120000-1.json" || all[12].Name != "state-backup-20260121-120000-12-pinned.json" {
		t.Errorf("got %v, want them in the order in which they were made", all)
	}
}

// What anybody may send, takes no more memory than a multiple of what was sent: neither the text nor the state in it. A backup of ours is read in any case.
func TestReadSent_bounded(t *testing.T) {
	h := open(t, t.TempDir())
	h.backups(t)
	h.apply(t, "service/default/large", `{"kind":"`+strings.Repeat("x", 1<<20)+`"}`)
	var text, packed bytes.Buffer
	if err := WriteBackup(&text, About{}, h.View().State); err != nil {
		t.Fatal(err)
	}
	if err := compress(&packed, func(w io.Writer) error { _, err := w.Write(text.Bytes()); return err }); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"as it is": text.Bytes(), "compressed": packed.Bytes()} {
		if _, err := ReadSent(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	little := most(func(packed int) uint64 { return uint64(100 * packed) })
	if _, err := little.read(text.Bytes()); err == nil || !strings.Contains(err.Error(), "its state cannot be read") {
		t.Errorf("a fold that is large: got %v, want that it is not read to its end", err)
	}
	var bomb bytes.Buffer
	zeros := make([]byte, 1<<20)
	if err := compress(&bomb, func(w io.Writer) (err error) {
		for range 2 * sentLeast >> 20 {
			_, werr := w.Write(zeros)
			err = errors.Join(err, werr)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSent(bomb.Bytes()); !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		t.Errorf("%d bytes that are %d: got %v, want that it is too large", bomb.Len(), 2*sentLeast, err)
	}
}

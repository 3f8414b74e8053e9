package snapshot

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// What an agent of format 1 has put on a disk is kept in testdata/format1, of a host without any key and of one that seals all that can be sealed: every later version must
// read it all. It is a record rather than an agent of an older commit, since a clone need not have that commit, and has no way to build it without the network.

var record = flag.Bool("record", false, "write testdata/format1 anew: only while nobody has anything of that format")

const format1 = "testdata/format1"

// format1Kept is what stands in the folder of a host, as it was known when it was written.
type format1Kept struct {
	First    uint64            `json:"first"`    // event in the log; those before it are in the increments alone
	Fold     uint64            `json:"fold"`     // event that the newest snapshot of the fold is of
	Digests  map[uint64]string `json:"digests"`  // of the state after each commit
	Backups  map[string]uint64 `json:"backups"`  // event that each is of
	Pieces   []string          `json:"pieces"`   // names of the increments
	Declared string            `json:"declared"` // SHA-256 of what is declared at the end
}

func (k *format1Kept) last() (index uint64) {
	for i := range k.Digests {
		index = max(index, i)
	}
	return index
}

func format1Options(t *testing.T, sealed bool) events.Options {
	t.Helper()
	o := shortSegments()
	if sealed {
		var err error
		if o.Key, err = events.NewKey(bytes.Repeat([]byte("format 1"), events.KeyBytes/8)); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// history has a host do whatever leaves another kind of record in its log, or another kind of file.
func (h *host) history(t *testing.T, tr *Trimmer, another func(events.Incarnation) *host) {
	t.Helper()
	p := tr.Increments
	replicas := func(n int) string { return strings.Replace(threeKinds, "replicas: 3", fmt.Sprint("replicas: ", n), 1) }
	h.declare(t, threeKinds)
	pod := projection.Pod{Namespace: "default", Deployment: "web"}
	h.place(t, pod)
	_, err := h.Record(t.Context(), projection.By{Actor: "somebody", Cause: "several at once"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{
			{Kind: events.Observed, Key: pod.ReplicaKey("a"), Object: projection.Encode(projection.Replica{Phase: projection.Running, Container: "c0ffee"})},
			{Kind: events.Trust, Key: projection.MemberKey("b"), Object: projection.Encode(projection.Member{})},
			{Kind: events.Declared, Key: projection.NodeKey("b"), Object: projection.Encode(projection.Node{Unschedulable: true})},
			{Kind: events.Observed, Key: "later-kind/x", Object: json.RawMessage(`{"x":["\u2028",1]}`)},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tr.ready(t)
	p.Backups.Compress = true

	b := another(0x2222) // of which a conflict comes
	exchange(t, h, b)
	b.declare(t, replicas(5))
	h.declare(t, replicas(4))
	exchange(t, h, b)
	h.apply(t, "service/default/web", "")
	h.declare(t, replicas(6)) // and the Service is another
	p.turn(t)
	c := another(0x3333)
	c.apply(t, "service/default/elsewhere", `{"apiVersion":"v1","kind":"Service"}`)
	if err := h.Join(t.Context(), c.View().State, "told by another"); err != nil {
		t.Fatal(err)
	}
	h.apply(t, "service/default/elsewhere", "")
	if err := h.folds.Save(t.Context(), h.View().State); err != nil {
		t.Fatal(err)
	}

	r := h.restorer(t)
	r.Backups, r.Increments, r.Most = p.Backups, p, 600
	from, err := r.Moment(t.Context(), Moment{Index: 4})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Restore(t.Context(), projection.By{Actor: "somebody"}, from, nil); err != nil {
		t.Fatal(err)
	}
	tr.ready(t)
}

// writeFormat1 writes the folder of a host.
func writeFormat1(t *testing.T, dir string, isSealed bool) (k format1Kept) {
	t.Helper()
	o := format1Options(t, isSealed)
	var seconds atomic.Int64
	o.Now = func() time.Time {
		return time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds.Add(1)) * time.Second)
	}
	o.Draw = func() events.Incarnation { return 0x1111 }
	h := openWith(t, dir, o)
	tr := h.trimmer(t)
	p := tr.Increments
	p.Backups.Now = o.Now
	if isSealed {
		p.Backups.For, p.Backups.Keys, _ = pair(t)
	}
	h.history(t, tr, func(inc events.Incarnation) *host {
		return openWith(t, t.TempDir(), events.Options{MinFree: 1, Reserve: -1, Now: o.Now, Draw: func() events.Incarnation { return inc }})
	})
	if !isSealed { // what is trimmed is then in the increments alone, which this host opens
		tr.turn(t)
		if tr.Said().Count != 1 {
			t.Fatalf("nothing was trimmed: %+v", tr.Said())
		}
	}
	h.declare(t, threeKinds) // after the last backup, and the last snapshot of the fold
	k.Pieces = pieceNames(p.turn(t))
	if _, err := h.view.Write(h.View().State); err != nil {
		t.Fatal(err)
	}

	k.First, k.Fold, k.Declared = h.log.First(), h.folds.Last(), hashOf([]byte(shows(h.View().State)))
	k.Digests, k.Backups = map[uint64]string{}, map[string]uint64{}
	all := &History{Log: h.log, Dir: p.Backups.Dir}
	if err := all.Read(t.Context(), 0, func(r events.Record) error {
		s, err := h.folds.At(t.Context(), Moment{Index: r.Last()})
		if err == nil {
			k.Digests[r.Last()] = s.Digest()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range mustList(t, p.Backups) {
		c, err := p.Backups.Check(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		k.Backups[f.Name] = c.About.Index
	}
	h.close()
	if err := os.Remove(filepath.Join(h.folds.Dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	return k
}

func pieceNames(files []PieceFile) (all []string) {
	for _, f := range files {
		all = append(all, f.Name)
	}
	return all
}

// recordFormat1 writes all of it anew.
func recordFormat1(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(format1); err != nil {
		t.Fatal(err)
	}
	kept := map[string]format1Kept{}
	for _, name := range []string{"plain", "sealed"} {
		dir := t.TempDir()
		kept[name] = writeFormat1(t, dir, name == "sealed")
		if err := os.CopyFS(filepath.Join(format1, name), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(format1, "kept.json"), append(text, '\n'))
}

// Whatever an agent of format 1 has written is read, comes to the states that it was of, and is gone on with.
func TestFormat1(t *testing.T) {
	if *record {
		recordFormat1(t)
	}
	var kept map[string]format1Kept
	if err := json.Unmarshal(read(t, filepath.Join(format1, "kept.json")), &kept); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "sealed"} {
		t.Run(name, func(t *testing.T) {
			k, o := kept[name], format1Options(t, name == "sealed")
			var whom seal.For
			var keys seal.Keys
			if name == "sealed" {
				whom, keys, _ = pair(t)
			}
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(format1, name))); err != nil {
				t.Fatal(err)
			}
			h := openWith(t, dir, o)
			p := h.increments(t)
			p.All, p.Backups.For, p.Backups.Keys = true, whom, keys
			k.log(t, h, o.Key)
			k.stateJSON(t, h, o.Key)
			k.backups(t, p)
			k.increments(t, p)

			h.apply(t, "service/default/later", `{}`)
			want := h.View().Digest()
			if len(p.turn(t)) != len(k.Pieces)+1 || p.damage(t) != "" {
				t.Errorf("it does not go on with the increments: %s", p.damage(t))
			}
			h.close()
			h = openWith(t, dir, o)
			if h.View().Digest() != want || h.View().Index() != k.last()+1 {
				t.Errorf("it does not go on with the log: it is at event %d", h.View().Index())
			}
		})
	}
}

// log compares what the log and the snapshots of the fold come to, from either and at each moment.
func (k *format1Kept) log(t *testing.T, h *host, key *events.Key) {
	t.Helper()
	last := k.last()
	if s := h.View(); s.Index() != last || s.Digest() != k.Digests[last] || h.log.First() != k.First || h.folds.Last() != k.Fold {
		t.Errorf("it starts at event %d with digest %s, from a snapshot of event %d and a log from event %d on; want %d, %s, %d and %d",
			s.Index(), s.Digest(), h.folds.Last(), h.log.First(), last, k.Digests[last], k.Fold, k.First)
	}
	if said := h.said.String(); strings.Contains(said, "level=WARN") {
		t.Errorf("at the start it warns: %s", said)
	}
	all := &History{Log: h.log, Dir: filepath.Join(h.dir, "backups")}
	folded, err := projection.FoldUntil(all, nil, 1, func(r events.Record) bool {
		if k.Digests[r.Last()] == "" || events.HashOf(r.Payload) != r.Hash {
			t.Errorf("record %d ends with event %d, which none did, or has another hash", r.Number, r.Last())
		}
		return false
	})
	if err != nil || folded.Digest() != k.Digests[last] {
		t.Errorf("folded from its beginning: %v", err)
	}
	for index, want := range k.Digests {
		if s, err := h.folds.At(t.Context(), Moment{Index: index}); err != nil || s.Index() != index || s.Digest() != want {
			t.Errorf("as of event %d: %v", index, err)
		}
	}
	if _, err := events.Verify(t.Context(), h.folds.Dir, key, all.Trimmed); err != nil {
		t.Error(err)
	}
}

// stateJSON reads state.json, which must be known for the host's own, and compares what it declares.
func (k *format1Kept) stateJSON(t *testing.T, h *host, key *events.Key) {
	t.Helper()
	if foreign, err := h.view.Foreign(); err != nil || foreign {
		t.Errorf("state.json is not known for its own: %v", err)
	}
	text, err := key.OpenFile("state.json", read(t, h.view.Path))
	if err != nil {
		t.Fatal(err)
	}
	is, err := ReadView(text)
	if err != nil || hashOf([]byte(declarations(is))) != k.Declared || hashOf([]byte(shows(h.View().State))) != k.Declared {
		t.Errorf("it declares, %v:\n%s\nand the log:\n%s", err, declarations(is), shows(h.View().State))
	}
	var says struct {
		Index  uint64
		Digest string
	}
	if err := json.Unmarshal(text, &says); err != nil || says.Index != k.last() || says.Digest != k.Digests[k.last()] {
		t.Errorf("state.json says that it is of %+v, %v", says, err)
	}
}

// backups reads each backup, and, of those that are sealed, what can be known without a key.
func (k *format1Kept) backups(t *testing.T, p *Increments) {
	t.Helper()
	if got := mustList(t, p.Backups); len(got) != len(k.Backups) {
		t.Errorf("got %d backups, want %d", len(got), len(k.Backups))
	}
	without := p.Backups.with(seal.Keys{})
	for name, index := range k.Backups {
		b, err := p.Backups.Read(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if b.Index != index || b.State.Index() != index || b.State.Digest() != k.Digests[index] || b.Log != p.Find(t.Context()) {
			t.Errorf("%s: got %+v, want that of event %d", name, b.About, index)
		}
		c, err := without.Check(name)
		if err != nil || c.About.Index != index || c.About.Log != b.Log || c.Opened == strings.HasSuffix(name, ".age") {
			t.Errorf("without a key: got %+v, %v; want it to be of event %d", c, err, index)
		}
	}
}

// increments reads each increment, and folds them from their beginning, and from each backup, without the log.
func (k *format1Kept) increments(t *testing.T, p *Increments) {
	t.Helper()
	folder := filepath.Join(p.Backups.Dir, IncrementsFolder, p.Find(t.Context()))
	pieces, err := listPieces(folder)
	if err != nil || !slices.Equal(pieceNames(pieces), k.Pieces) {
		t.Errorf("got %v, %v; want %v", pieces, err, k.Pieces)
	}
	var prev events.Hash
	for _, f := range pieces {
		piece, err := readPieceFile(folder, f, p.Backups.Keys)
		if err != nil {
			t.Fatal(err)
		}
		if piece.Prev != prev || piece.Digest != k.Digests[piece.Last] {
			t.Errorf("%s says that the hash before it is %v, want %v, and that the digest after it is %s, want %s", f.Name, piece.Prev, prev, piece.Digest, k.Digests[piece.Last])
		}
		prev = piece.Records[len(piece.Records)-1].Hash
	}
	if is := p.damage(t); is != "" {
		t.Error(is)
	}
	logs, err := (Folder{Dir: p.Backups.Dir}).CheckIncrements(t.Context())
	if err != nil || len(logs) != 1 || logs[0].Damage != nil || logs[0].First != 1 || logs[0].Last != k.last() || (logs[0].Unopened == len(pieces)) == p.Backups.For.None() {
		t.Errorf("without a key: got %+v, %v", logs, err)
	}
	f := Folder{Dir: p.Backups.Dir, Keys: p.Backups.Keys}
	for index, want := range k.Digests {
		if s, _, err := f.At(t.Context(), "", Moment{Index: index}); err != nil || s.Index() != index || s.Digest() != want {
			t.Errorf("as of event %d: %v", index, err)
		}
	}
	for name := range k.Backups {
		if s, err := f.Verify(t.Context(), name); err != nil || s.Digest() != k.Digests[k.last()] {
			t.Errorf("from %s on: %v", name, err)
		}
	}
}

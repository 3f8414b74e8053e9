package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// Recorder is a Ledger that records.
type Recorder interface {
	Ledger
	Record(context.Context, projection.By, func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error)
}

// Restorer restores from the backups of one host, and takes restores back. Its fields are its configuration. One restore is done
// at a time; who asks meanwhile waits.
type Restorer struct {
	Ledger  Recorder
	Backups *Backups
	Log     *slog.Logger
	// Hear waits, for some seconds at most, until what the other hosts that can be reached have done is known here, and names
	// those of which it is, and those of which it is not. Nil: there are no others.
	Hear func(ctx context.Context) (heard, unheard []string)
	// Opened is the folder where what was restored from lies open until the restore is done, when this host cannot open it by itself.
	Opened string
	Key    *events.Key // by which that is sealed meanwhile; nil: it is plain
	// Increments are beside the backups; nil: there are none.
	Increments *Increments
	// Stood is the file that remembers since when a state.json of version 1 stood there, as long as it is not taken over.
	Stood string
	// At is the state at a moment of this host's log, as Folds.At gives it. By it a moment is restored, and a restore is taken back whose backup
	// of what was before cannot be opened here; nil: neither is.
	At   func(context.Context, Moment) (*projection.State, error)
	Most int // bytes of the objects in one commit; zero: 4 MiB

	mu sync.Mutex
}

// Source is what is restored from.
type Source struct {
	File string    // its name in the folder of backups, or, with Index, words for the moment
	Hash string    // SHA-256 of its bytes, in hexadecimal
	Made time.Time // when the backup was; zero: it is of version 1, which does not say
	Want projection.Declarations
	// Index is that of the event up to which this host's log is restored from; zero: it is a file.
	Index uint64
	// Refused are objects of a file of version 1 that cannot be declared as they are.
	Refused []Refusal
	// Left is what of others in it is not taken over.
	Left []Left
	// Missing are the types of which a file of version 1 has no section: what is there of them stays.
	Missing []string
	// Stood is when it was put where state.json stands; zero: it was not.
	Stood time.Time

	original bool // it is of version 1
	about    About
	plain    []byte // what it was read from, opened
	brought  bool   // it was brought along opened: in the folder of backups it may be sealed, or not be at all
	seen     bool   // it is of the log, by what another host had seen, and of no file
}

// Restored is what came of a restore.
type Restored struct {
	ID string `json:"id"`
	projection.Restore
	// Unheard are hosts that could not be heard before: what they did meanwhile and this host has not seen survives.
	Unheard []string `json:"unheard,omitempty"`
	// Over is the restore in whose favour this one, unfinished, is not gone on with: it took it back, or was asked for later.
	Over string `json:"over,omitempty"`
}

// Source reads a backup of the folder to restore from it. The error wraps seal.ErrNoKey where it is sealed, and no key here opens it.
func (r *Restorer) Source(name string) (Source, error) {
	if _, err := r.Backups.Stat(name); err != nil {
		return Source{}, err
	}
	data, err := os.ReadFile(filepath.Join(r.Backups.Dir, name))
	if err != nil {
		return Source{}, err
	}
	from, err := source(data, r.Backups.Keys)
	if err != nil {
		return Source{}, fmt.Errorf("%s: %w", name, err)
	}
	from.File = name
	return from, nil
}

// Moment gives what this host's log said at a moment, to restore from it. The error wraps ErrNoMoment where At's does.
func (r *Restorer) Moment(ctx context.Context, m Moment) (Source, error) {
	if r.At == nil {
		return Source{}, errors.New("nothing can be restored from the log of this host")
	}
	s, err := r.At(ctx, m)
	if err != nil {
		return Source{}, err
	}
	return Source{File: fmt.Sprintf("%s as of event %d", r.Backups.Node, s.Index()), Index: s.Index(), Made: s.At(), Want: s.Declarations()}, nil
}

// Brought reads a backup that somebody brings along opened, or a state.json, to restore from it. It is put nowhere but, until the restore is done, into
// Opened, so that one that is interrupted can go on.
func (r *Restorer) Brought(name string, data []byte) (Source, error) {
	from, err := brought(data, r.Backups.Keys)
	if err != nil {
		return Source{}, fmt.Errorf("%s: %w", name, err)
	}
	from.File, from.brought = name, true
	return from, nil
}

// brought reads what somebody brings along: a backup, or, which is never done unasked, a state.json that was edited.
func brought(data []byte, keys seal.Keys) (Source, error) {
	from, err := source(data, keys)
	if !errors.Is(err, ErrNoBackup) {
		return from, err
	}
	want, verr := ReadView(from.plain)
	if errors.Is(verr, ErrNoView) {
		return from, err
	}
	from.Want = want
	return from, verr
}

// source reads a backup, or a file of version 1, sealed or not.
func source(data []byte, keys seal.Keys) (Source, error) {
	from := Source{Hash: hashOf(data)}
	var err error
	if from.plain, err = opened(data, keys); err != nil {
		return from, err
	}
	b, err := ReadBackup(from.plain)
	switch {
	case err == nil:
		from.Want, from.Made, from.about = b.State.Declarations(), b.Made, b.About
	case errors.Is(err, ErrNoBackup):
		text, err := plain(from.plain)
		if err != nil {
			return from, err
		}
		from.original, from.Missing = true, missing1(text)
		if from.Want, from.Refused, from.Left, err = ReadVersion1(text); errors.Is(err, ErrNotVersion1) {
			err = fmt.Errorf("%w: %w", ErrNoBackup, err)
		}
		if err == nil && len(from.Missing) == 3 {
			err = errors.New("state.json of version 1 that has none of its sections deployments, services and ingresses, and says nothing of any object")
		}
		return from, err
	}
	return from, err
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Restore restores what is in only (keys, and what is below them; none: everything), once a backup of what is there has been made and pinned. When it
// returns nil, all of it is on disk. On an error of the log, or after a crash, a part may be: Resume goes on with it.
func (r *Restorer) Restore(ctx context.Context, by projection.By, from Source, only []string) (*Restored, error) {
	only, err := from.Scope(only)
	if err != nil {
		return nil, err
	}
	if err := r.refuse(ctx, by, from.File, from.RefusedIn(only)); err != nil {
		return nil, err
	}
	if len(from.Missing) > 0 {
		r.Log.Warn("the file has no section of some types: what is there of them stays", "file", from.File, "types", from.Missing)
	}
	for _, x := range from.LeftIn(only) {
		r.Log.Warn("some fields are left out; they stay in the file", "file", from.File, "key", x.Key, "fields", x.Fields, "why", x.Why)
	}
	return r.begin(ctx, by, projection.Restore{Only: only}, from)
}

// refuse records what cannot be declared, so that it is not lost, and is listed.
func (r *Restorer) refuse(ctx context.Context, by projection.By, file string, refused []Refusal) error {
	if len(refused) == 0 {
		return nil
	}
	by.Cause = "import of " + file
	_, err := r.Ledger.Record(ctx, by, func(s *projection.State) (changes []projection.Change, _ error) {
		for _, x := range refused {
			key, object := projection.RefusedKey(x.Key), projection.Encode(x)
			if o, ok := s.Lookup(key); !ok || string(o.Version.Object) != string(object) {
				changes = append(changes, projection.Change{Kind: events.Observed, Key: key, Object: object})
			}
		}
		return changes, nil
	})
	return err
}

// Refused are what could not be declared of files of version 1, and has not been since.
func Refused(s *projection.State) (all []Refusal) {
	for o := range s.All(projection.RefusedType + "/") {
		var x Refusal
		if json.Unmarshal(o.Version.Object, &x) != nil {
			continue
		}
		if _, declared := s.Lookup(x.Key); !declared {
			all = append(all, x)
		}
	}
	return all
}

// Undo takes a restore back: what is still as the restore left it becomes what it was before, as Before or BroughtBefore gives it. The rest has been
// changed since, and stays. The error wraps fs.ErrNotExist where there is no such restore.
func (r *Restorer) Undo(ctx context.Context, by projection.By, id string, was Source) (*Restored, error) {
	undone, ok := r.Ledger.View().LookupRestore(id)
	if !ok {
		return nil, fmt.Errorf("restore %q: %w", id, fs.ErrNotExist)
	}
	return r.begin(ctx, by, projection.Restore{Only: undone.Only, Undoes: id}, was)
}

// errMoved says that there is no backup of what a restore would begin upon.
var errMoved = errors.New("what is there was changed while it was backed up")

// tries is how often a restore is begun at most. Between the backup of what is there and its first commit is a second where there is much.
const tries = 5

func (r *Restorer) begin(ctx context.Context, by projection.By, fact projection.Restore, from Source) (res *Restored, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fact.From, fact.Hash, fact.Index, fact.Stood = from.File, from.Hash, from.Index, from.Stood
	if !from.brought && !from.seen && from.Index == 0 {
		release, err := r.Backups.reserve(forRestore, from.File)
		if err != nil {
			return nil, fmt.Errorf("nothing is restored: %w", err)
		}
		defer release()
	}
	var unheard []string
	if r.Hear != nil {
		var heard []string
		heard, unheard = r.Hear(ctx)
		fact.Hears(r.Ledger.View().State, heard)
	}
	for range tries {
		if res, err = r.try(ctx, by, fact, from, unheard); !errors.Is(err, errMoved) {
			return res, err
		}
		r.Log.Info("what is there was changed while it was backed up; it is backed up anew", "what", fact.String())
	}
	return nil, fmt.Errorf("%w, %d times: try again when less is being changed", err, tries)
}

// try begins a restore, and ends it, unless what was backed up is not what it would begin upon: then the error is errMoved.
func (r *Restorer) try(ctx context.Context, by projection.By, fact projection.Restore, from Source, unheard []string) (*Restored, error) {
	before, upon, err := r.Backups.createOf(ctx, "before the "+fact.String(), true, nil)
	if err != nil {
		return nil, fmt.Errorf("nothing is restored, since what is there could not be backed up: %w", err)
	}
	now := r.Backups.now().UTC()
	fact.Host, fact.Before, fact.Asked = r.Backups.Node, before.Name, now
	if err := r.hold(from); err != nil {
		return nil, errors.Join(fmt.Errorf("nothing is restored: %w", err), r.notBegun(before.Name))
	}
	s := r.Ledger.View().State
	res := &Restored{Unheard: unheard}
	for n := 0; ; n++ { // two of one second
		res.ID = now.Format(nameTime) + "-" + fact.Host
		if n > 0 {
			res.ID = fmt.Sprintf("%s-%d-%s", now.Format(nameTime), n, fact.Host)
		}
		if _, ok := s.Lookup(projection.RestoreKey(res.ID)); !ok {
			break
		}
	}
	r.Log.Warn("restoring", "id", res.ID, "what", fact.String(), "before", before.Name, "unheard", res.Unheard)
	ctx = context.WithoutCancel(ctx) // whoever asked may leave: what is begun is not left half done for that
	res.Restore, err = r.act(ctx, by, res.ID, fact, from.Want, upon, nil)
	_, begun := r.Ledger.View().LookupRestore(res.ID)
	switch {
	case err == nil:
		r.letGo()
	case begun:
		err = fmt.Errorf("%w. This host goes on with it once it can; psctl undo %s takes it back", err, res.ID)
	case !errors.Is(err, events.ErrFailed): // by which it may have begun all the same
		return nil, errors.Join(fmt.Errorf("nothing is restored: %w", err), r.notBegun(before.Name))
	}
	return res, err
}

// notBegun removes what was made for a restore that has not begun: who tries again, for as long as the disk is full, would leave one more each time.
func (r *Restorer) notBegun(before string) error {
	r.letGo()
	return r.Backups.drop(before)
}

// act does what of a restore is not done yet. backedUp is what the backup before it is of, upon which alone it begins; nil: it has begun. was is what was there when
// it began; nil: it begins now.
func (r *Restorer) act(ctx context.Context, by projection.By, id string, fact projection.Restore, want projection.Declarations, backedUp *projection.State,
	was projection.Declarations) (projection.Restore, error) {
	by.Cause = strings.TrimSuffix(fact.String()+": "+by.Cause, ": ")
	most := r.Most
	if most == 0 {
		most = 4 << 20
	}
	for fact.Done.IsZero() {
		var upon *projection.State
		_, err := r.Ledger.Record(ctx, by, func(s *projection.State) ([]projection.Change, error) {
			next, begun := s.LookupRestore(id)
			upon = s
			switch {
			case !begun && backedUp != nil && fact.Moved(backedUp, s): // an undo could not bring that back
				return nil, errMoved
			case !begun:
				next = fact
				next.Saw(s)
			case !next.Done.IsZero():
				return nil, nil
			case next.Undoes == "":
				if by := takenBack(s, id); by != "" {
					return nil, fmt.Errorf("it was taken back meanwhile, by restore %s", by)
				}
			}
			var undone *projection.Restore
			if next.Undoes != "" {
				u, ok := s.LookupRestore(next.Undoes)
				if !ok {
					return nil, fmt.Errorf("restore %s, which is to be taken back: %w", next.Undoes, fs.ErrNotExist)
				}
				undone = &u
			}
			return next.Next(id, s, want, undone, was, most, r.Backups.now().UTC()), nil
		})
		if err != nil {
			return fact, fmt.Errorf("restore %s: after %d objects: %w", id, fact.Count, err)
		}
		var ok bool
		if fact, ok = r.Ledger.View().LookupRestore(id); !ok {
			return fact, fmt.Errorf("restore %s: its own record is gone", id)
		}
		if was == nil && fact.Done.IsZero() {
			was = upon.Declarations()
		}
	}
	r.Log.Warn("restored", "id", id, "objects", fact.Count, "ended", len(fact.Ended), "undo", "psctl undo "+id)
	return fact, nil
}

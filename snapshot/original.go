package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Original is what was found out of a file of version 1, which an agent that had no log wrote: what is taken over of it is kept as it was, among
// the backups. It has no checksum of its own, no digest and no index.
type Original struct {
	Objects int `json:"objects"`           // that can be declared as they are
	Refused int `json:"refused,omitempty"` // that cannot
	// Recorded says that its bytes are those of which the log has the checksum, since it was restored from.
	Recorded bool `json:"recorded,omitempty"`
}

// String says what is known of one that could be read.
func (o Original) String() string {
	what := fmt.Sprintf("%d objects of it can be restored", o.Objects)
	if o.Refused > 0 {
		what += fmt.Sprintf(", %d cannot be declared as is", o.Refused)
	}
	if o.Recorded {
		return what + "; its bytes are those that the log has the checksum of"
	}
	return what + "; it has no checksum, so what else may have changed in it cannot be told"
}

// CheckBytes finds out whether a backup, compressed or not, is whole: or a file of version 1, of which all that can be told is whether it can be read.
func CheckBytes(data []byte) (Checked, error) {
	b, err := ReadBackup(data)
	if err == nil {
		return Checked{About: b.About, Opened: true}, nil
	}
	if !errors.Is(err, ErrNoBackup) {
		return Checked{}, err
	}
	text, perr := plain(data)
	if perr != nil {
		return Checked{}, perr
	}
	want, refused, _, verr := ReadVersion1(text)
	switch {
	case errors.Is(verr, ErrNotVersion1):
		return Checked{}, fmt.Errorf("%w: %w", err, verr)
	case verr != nil:
		return Checked{}, verr
	}
	return Checked{Opened: true, Original: &Original{Objects: len(want) - len(refused), Refused: len(refused)}}, nil
}

// recorded reports whether the bytes of a file of version 1 are those that were restored from; an error says that it was restored from other bytes. Nothing is said
// of what was not restored from, or only opened, or by another host.
func (b *Backups) recorded(f BackupFile) (bool, error) {
	if f.Sealed || b.Ledger == nil {
		return false, nil
	}
	data, err := os.ReadFile(filepath.Join(b.Dir, f.Name))
	if err != nil {
		return false, err
	}
	hash, other := hashOf(data), false
	for _, x := range Restores(b.Ledger.View().State) {
		if x.Host != b.Node || x.From != f.Name {
			continue
		}
		if x.Hash == hash {
			return true, nil
		}
		other = true
	}
	if other {
		return false, fmt.Errorf("%s: damaged: its bytes are not those of version 1 that were restored from", f.Name)
	}
	return false, nil
}

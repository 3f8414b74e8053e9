package trial

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sealing is how an agent seals its backups and increments.
type Sealing int

// How they are sealed.
const (
	Plain Sealing = iota
	ForKey
	ByPassphrase // which takes a second each time
	Sealings
)

// String is what a backup is then.
func (s Sealing) String() string {
	return [Sealings]string{"plain", "sealed for a key", "sealed with a passphrase"}[s]
}

// Keys are files with what opens backups.
type Keys struct{ Identity, Passphrase string }

const recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj" // of the tests of age, as is the secret half

// LayKeys writes them into a folder.
func LayKeys(dir string) (Keys, error) {
	k := Keys{filepath.Join(dir, "identity"), filepath.Join(dir, "passphrase")}
	if err := os.WriteFile(k.Identity, []byte("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n"), 0o600); err != nil {
		return k, err
	}
	return k, os.WriteFile(k.Passphrase, []byte("of no use to anybody\n"), 0o600)
}

// Set has the agent seal its backups so from its next life on. What was plain, or sealed for the key, it opens in any case; what was sealed with the passphrase only
// while it seals with that, so there is no way back from there.
func (k Keys) Set(a *Agent, s Sealing) {
	a.Args = slices.DeleteFunc(a.Args, func(arg string) bool {
		return strings.HasPrefix(arg, "--backup-identity-file=") || strings.HasPrefix(arg, "--backup-recipient=") || strings.HasPrefix(arg, "--backup-passphrase-file=")
	})
	a.Args = append(a.Args, "--backup-identity-file="+k.Identity)
	switch s {
	case ForKey:
		a.Args = append(a.Args, "--backup-recipient="+recipient)
	case ByPassphrase:
		a.Args = append(a.Args, "--backup-passphrase-file="+k.Passphrase)
	}
}

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// sealing is what flags say of whom backups are sealed for, and what opens them here.
type sealing struct {
	Recipients     []string
	PassphraseFile string
	IdentityFile   string

	forWhom seal.For
	keys    seal.Keys
}

func (s *sealing) flags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&s.Recipients, "backup-recipient", nil, "public `key`, age1… or ssh-…, that backups and increments are sealed for (age -d opens them); repeatable, or several with commas. This host need not hold the secret half")
	fs.StringVar(&s.PassphraseFile, "backup-passphrase-file", "", "`file` whose first line is a passphrase that backups and increments are sealed with, instead of --backup-recipient")
	fs.StringVar(&s.IdentityFile, "backup-identity-file", "", "`file` of the secret keys that open sealed backups and increments on this host: to verify and to restore without psctl --identity, and to tell of what --log-keep has trimmed (default: none)")
}

// check reads the keys and gives every mistake in them.
func (s *sealing) check() (errs []error) {
	for _, all := range s.Recipients {
		for r := range strings.SplitSeq(all, ",") {
			if err := s.forWhom.Add(r); err != nil {
				if strings.Contains(r, "SECRET") {
					r = "AGE-SECRET-KEY-…"
				}
				errs = append(errs, fmt.Errorf("--backup-recipient %q: %w", r, err))
			}
		}
	}
	if s.IdentityFile != "" {
		var err error
		if s.keys, err = seal.KeysOf(s.IdentityFile, ""); err != nil {
			errs = append(errs, fmt.Errorf("--backup-identity-file: %w", err))
		}
	}
	if s.PassphraseFile == "" {
		return errs
	}
	if len(s.Recipients) > 0 {
		return append(errs, fmt.Errorf("--backup-passphrase-file %q: there is a --backup-recipient too, and age seals for one or the other", s.PassphraseFile))
	}
	secret, err := seal.PassphraseFile(s.PassphraseFile)
	if err == nil {
		s.forWhom, err = seal.Passphrase(secret)
	}
	if err == nil {
		err = s.keys.AddPassphrase(secret)
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("--backup-passphrase-file: %w", err))
	}
	return errs
}

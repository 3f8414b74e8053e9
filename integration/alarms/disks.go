package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
)

// noStateFile keeps h1 from writing state.json: nothing can be put in the place of what something is mounted upon.
func (t *trying) noStateFile() cause {
	file := func() string { return filepath.Join(t.host(1).Agent.DataDir, "state.json") }
	return cause{name: "state.json of h1 cannot be replaced", wants: []want{on("StateFileOld", 1)},
		begin: func(ctx context.Context) error { return inside(ctx, t.host(1), "mount", "--bind", file(), file()) },
		end:   func(ctx context.Context) error { return inside(ctx, t.host(1), "umount", "--lazy", file()) }}
}

// fullDisk fills the disk that the log of h3 is on: at first ever more slowly, until it is foreseen that it will be full, and then all of it.
func (t *trying) fullDisk() cause {
	filler := func() string { return filepath.Join(filepath.Dir(t.host(3).Agent.DataDir), "filler") }
	const left = 80 << 20 // of which the agent lets nobody have the last 64 MiB
	return cause{name: "the disk of h3 fills", wants: []want{on("DiskFills", 3), on("ReadOnly", 3), on("ApiErrors", 3)},
		begin: func(ctx context.Context) error {
			began := time.Now()
			size, free := int64(0), int64(smallDisk)*9/10
			take := func(n int64) error {
				err := inside(ctx, t.host(3), "fallocate", "--offset", fmt.Sprint(size), "--length", fmt.Sprint(n), filler())
				if err == nil {
					size, free = size+n, free-n
				}
				return err
			}
			for t.watch.since(on("DiskFills", 3), began) == nil && time.Since(began) < t.deadline && ctx.Err() == nil {
				if n := (free - left) / 16; n > 1<<20 {
					if err := take(n); err != nil {
						return err
					}
				}
				pause(ctx, time.Second/2)
			}
			for n := int64(64 << 20); n >= 4<<20 && ctx.Err() == nil; { // what there is room for
				if take(n) != nil {
					n /= 2
				}
			}
			return ctx.Err()
		},
		end: func(ctx context.Context) error { return inside(ctx, t.host(3), "rm", filler()) }}
}

// readOnly lets a host only read what is in a folder, as where a disk was mounted anew after an error. writable ends that.
func readOnly(ctx context.Context, h *street.Host, dir string) error {
	if err := inside(ctx, h, "mount", "--bind", dir, dir); err != nil {
		return err
	}
	for began := time.Now(); ; pause(ctx, 50*time.Millisecond) { // it is refused while a file in it is being written
		err := inside(ctx, h, "mount", "-o", "remount,bind,ro", dir)
		if err == nil || ctx.Err() != nil || time.Since(began) > 10*time.Second {
			return err
		}
	}
}

func writable(ctx context.Context, h *street.Host, dir string) error {
	return inside(ctx, h, "umount", "--lazy", dir)
}

// backupsFail is all that goes wrong with backups that cannot be written any more, where the newest is damaged.
func (t *trying) backupsFail() cause {
	return cause{name: "the backups of h2 can only be read, and the newest is damaged; its agent starts, and its log grows",
		wants: []want{on("BackupOld", 2), on("BackupDamaged", 2), on("BackupUnverified", 2), on("IncrementsFail", 2), on("LogNotTrimmed", 2)},
		begin: func(ctx context.Context) error {
			h := t.host(2)
			dir := folder(h, backups)
			if err := readOnly(ctx, h, dir); err != nil {
				return err
			}
			if err := damage(dir); err != nil {
				return err
			}
			if err := restart(ctx, h, func() {}); err != nil {
				return err
			}
			for n := range 8 { // more than a segment
				var all strings.Builder
				for i := range 6 {
					all.WriteString("---\n" + service(fmt.Sprintf("large-%d", i), 1+n, strings.Repeat("x", 200<<10)))
				}
				if err := apply(ctx, h, all.String()); err != nil {
					return err
				}
			}
			return nil
		},
		end: func(ctx context.Context) error {
			h := t.host(2)
			err := writable(ctx, h, folder(h, backups))
			for i := range 6 {
				err = errors.Join(err, remove(ctx, h, "Service", fmt.Sprintf("large-%d", i)))
			}
			return err
		}}
}

// damage flips a bit in the newest backup of a folder.
func damage(dir string) error {
	all, err := filepath.Glob(filepath.Join(dir, "state-backup-*.json"))
	if err != nil || len(all) == 0 {
		return fmt.Errorf("there is no backup in %s: %w", dir, err)
	}
	newest := all[len(all)-1]
	b, err := os.ReadFile(newest)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	f, err := os.OpenFile(newest, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// notPruned keeps the newest backup of h3 from being removed when others have taken its place: something is mounted upon it.
func (t *trying) notPruned() cause {
	var held string
	return cause{name: "a backup of h3 cannot be removed", wants: []want{on("BackupsNotPruned", 3)},
		begin: func(ctx context.Context) (err error) {
			for range 10 { // the newest may be replaced, and removed, just now
				all, globbed := filepath.Glob(filepath.Join(folder(t.host(3), backups), "state-backup-*.json"))
				if globbed != nil || len(all) == 0 {
					return fmt.Errorf("h3 has no backup: %w", globbed)
				}
				held = all[len(all)-1]
				if err = inside(ctx, t.host(3), "mount", "--bind", held, held); err == nil {
					return nil
				}
			}
			return err
		},
		end: func(ctx context.Context) error { return inside(ctx, t.host(3), "umount", "--lazy", held) }}
}

func (t *trying) copiesFail() cause {
	return cause{name: "the place for copies of h1's backups can only be read", wants: []want{on("BackupNotCopied", 1)},
		begin: func(ctx context.Context) error { return readOnly(ctx, t.host(1), folder(t.host(1), copies)) },
		end:   func(ctx context.Context) error { return writable(ctx, t.host(1), folder(t.host(1), copies)) }}
}

// noAuditFile has the agent of h1 open its audit file anew where that can only be read: one that is open it could go on to write.
func (t *trying) noAuditFile() cause {
	return cause{name: "the audit file of h1 can only be read", wants: []want{on("AuditFileFails", 1)},
		begin: func(ctx context.Context) error {
			h := t.host(1)
			n, err := pid(h)
			if err != nil {
				return err
			}
			if err := readOnly(ctx, h, folder(h, audits)); err != nil {
				return err
			}
			return syscall.Kill(n, syscall.SIGHUP)
		},
		end: func(ctx context.Context) error { return writable(ctx, t.host(1), folder(t.host(1), audits)) }}
}

// certificate gives h1 an authority, the cluster's own, that ends in ten days: no host's certificate outlives it, and none can be renewed for longer.
func (t *trying) certificate() cause {
	file := func() string { return filepath.Join(t.host(1).Agent.DataDir, "authority", "authority.crt") }
	var was []byte
	put := func(ctx context.Context, b []byte) error {
		var err error
		return errors.Join(restart(ctx, t.host(1), func() { err = os.WriteFile(file(), b, 0o640) }), err)
	}
	return cause{name: "the authority's certificate on h1 ends in ten days", wants: []want{on("CertificateExpires", 1)},
		begin: func(ctx context.Context) (err error) {
			if was, err = os.ReadFile(file()); err != nil {
				return err
			}
			key, err := os.ReadFile(strings.TrimSuffix(file(), ".crt") + ".key")
			if err != nil {
				return err
			}
			b, err := endsIn(was, key, 10*24*time.Hour)
			if err != nil {
				return err
			}
			return put(ctx, b)
		},
		end: func(ctx context.Context) error { return put(ctx, was) }}
}

// endsIn is the same certificate, signed by its own key, with another end.
func endsIn(certificate, key []byte, left time.Duration) ([]byte, error) {
	c, _ := pem.Decode(certificate)
	k, _ := pem.Decode(key)
	if c == nil || k == nil {
		return nil, errors.New("the authority's certificate or key is no PEM")
	}
	template, err := x509.ParseCertificate(c.Bytes)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(k.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the authority's key is of type %T", private)
	}
	template.NotAfter = time.Now().Add(left)
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	return b.Bytes(), err
}

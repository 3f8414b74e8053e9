package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// keyFlags say what opens a sealed backup. It is opened here: the agent is sent what is in it, and no key.
type keyFlags struct {
	identity, passphrase string
}

func (k *keyFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&k.identity, "identity", "", "`file` of the secret keys (age or SSH) that open a sealed backup, here; the agent is sent no key")
	c.Flags().StringVar(&k.passphrase, "passphrase-file", "", "`file` whose first line is the passphrase that opens a sealed backup, here")
}

func (k *keyFlags) given() bool { return k.identity != "" || k.passphrase != "" }

// open opens a sealed backup; what is not sealed it leaves as it is.
func (k *keyFlags) open(name string, data []byte) ([]byte, error) {
	if !seal.Sealed(data) {
		if strings.HasSuffix(name, ".age") {
			return nil, fmt.Errorf("%s is damaged: it does not begin as what is sealed with age", name)
		}
		return data, nil
	}
	if !k.given() {
		return nil, usage("%s is sealed: --identity FILE, or --passphrase-file FILE, opens it", name)
	}
	keys, err := seal.KeysOf(k.identity, k.passphrase)
	if err != nil {
		return nil, usage("%v", err)
	}
	if data, err = keys.Open(data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// isFile reports whether an argument means a file from here, and not a backup of the asked host.
func isFile(arg string) bool { return arg == "-" || strings.Contains(arg, "/") }

// bytesOf are those of a file from here, or of a backup of the asked host.
func (p *program) bytesOf(ctx context.Context, arg string) (data []byte, err error) {
	if !isFile(arg) {
		return p.ask(ctx, backupsPath+client.Path(arg))
	}
	data, err = p.here(ctx, arg)
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	if err != nil {
		return nil, usage("read %s: %v", arg, err)
	}
	return data, nil
}

// bring gives the name of what is to be restored from, and its bytes where the agent cannot have them by that name: a plain file from here is
// put into its folder first, unless it is only to be shown what would change, or is no backup; and what is sealed is opened here.
func (r *restorer) bring(ctx context.Context, arg, at string) (name string, opened []byte, err error) {
	if !isFile(arg) && !r.keys.given() {
		return arg, nil, nil
	}
	if info, err := os.Stat(arg); err == nil && info.IsDir() {
		return "", nil, usage("%s is a folder:  podman-swarm-agent backup extract %s --at MOMENT -o FILE  makes one backup of what it has of a moment; then psctl restore ./FILE", arg, arg)
	}
	data, err := r.bytesOf(ctx, arg)
	if err != nil {
		return "", nil, err
	}
	plain, err := r.keys.open(arg, data)
	if err != nil {
		return "", nil, err
	}
	if name = filepath.Base(arg); arg == "-" {
		name = "standard input"
	}
	if seal.Sealed(data) || !isFile(arg) || len(plain) > 0 && (r.dry && at == "" || isView(plain)) {
		return name, plain, nil
	}
	c, err := r.client()
	if err != nil {
		return "", nil, err
	}
	var b client.Backup
	if err := c.Into(ctx, client.Request{Method: http.MethodPost, Path: backupsPath + "/upload", Query: url.Values{"cause": {r.why("psctl restore " + arg)}}, Body: data}, &b); err != nil {
		return "", nil, fmt.Errorf("restore from %s: %w", arg, err)
	}
	r.note("%s is %s on the asked host", arg, b.Name)
	if b.Sealed { // there, where nobody may be able to open it
		return b.Name, data, nil
	}
	return b.Name, nil, nil
}

// isView reports whether data is a state.json, and no backup.
func isView(data []byte) bool {
	var doc struct {
		Version int             `json:"version"`
		Backup  json.RawMessage `json:"backup"`
	}
	return json.Unmarshal(data, &doc) == nil && doc.Version == 2 && doc.Backup == nil
}

// bringBefore opens the backup of what was there before a restore, which its undo is to be from.
func (r *restorer) bringBefore(ctx context.Context, id string) error {
	raw, err := r.ask(ctx, restoresPath)
	if err != nil {
		return err
	}
	all, err := readAs[[]client.Restored]("restores", raw)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(x client.Restored) bool { return x.ID == id })
	if i < 0 {
		return notFound("there is no restore %s: psctl restores lists them", id)
	}
	data, err := r.bytesOf(ctx, all[i].Before)
	if err != nil {
		return err
	}
	r.opened, err = r.keys.open(all[i].Before, data)
	return err
}

// verifyOpened has the agent look at a backup that is opened here. One that the given keys do not open is not opened; what else is known of its bytes
// the agent says, if it is one of its own.
func (p *program) verifyOpened(ctx context.Context, arg string, keys *keyFlags) (b client.Backup, err error) {
	b.Name = arg
	data, err := p.bytesOf(ctx, arg)
	if err != nil {
		return b, err
	}
	sealed := len(data)
	data, err = keys.open(arg, data)
	var wrong *usageError
	switch {
	case errors.As(err, &wrong):
		return b, err
	case errors.Is(err, seal.ErrNoKey) && !isFile(arg):
		return p.verifyThere(ctx, arg)
	case errors.Is(err, seal.ErrNoKey):
		b.Unopened, b.Bytes = true, int64(sealed)
		return b, nil
	case err != nil:
		b.Damage, b.Bytes = err.Error(), int64(sealed)
		return b, nil
	}
	c, err := p.client()
	if err != nil {
		return b, err
	}
	err = c.Into(ctx, client.Request{Method: http.MethodPost, Path: backupsPath + "/verify", Body: data}, &b)
	b.Name, b.Bytes = arg, int64(sealed)
	return b, err
}

// verifyThere has the agent look at one of its backups by itself.
func (p *program) verifyThere(ctx context.Context, name string) (client.Backup, error) {
	raw, err := p.askLong(ctx, backupsPath+client.Path(name, "verify"))
	if err != nil {
		return client.Backup{}, err
	}
	return readAs[client.Backup]("backup", raw)
}

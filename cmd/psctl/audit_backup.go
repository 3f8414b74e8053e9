package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// bringBackups takes out of what a log is to be held to the backups that are here, and those that are sealed and a key is here for: they are opened
// here, and the asked host is sent what is in them, to say where the chains stood.
func (p *program) bringBackups(ctx context.Context, r *client.AuditRequest, keys *keyFlags) error {
	names, err := p.backupsMeant(ctx, r.Backups, keys)
	if err != nil {
		return err
	}
	r.Backups = nil
	for _, name := range names {
		if !isFile(name) && !(keys.given() && strings.HasSuffix(name, ".age")) {
			r.Backups = append(r.Backups, name)
			continue
		}
		data, err := p.bytesOf(ctx, name)
		if err != nil {
			return err
		}
		if data, err = keys.open(name, data); err != nil {
			return err
		}
		c, err := p.client()
		if err != nil {
			return err
		}
		b := client.AuditBackup{}
		if err := c.Into(ctx, client.Request{Method: http.MethodPost, Path: "/swarm/v1/audit/backup", Body: data}, &b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.Name = name
		r.Brought = append(r.Brought, b)
	}
	return nil
}

// backupsMeant are the backups that the arguments mean: of a folder from here all that are in it, and of all each by its name, where a key is here
// that may open it.
func (p *program) backupsMeant(ctx context.Context, args []string, keys *keyFlags) (names []string, err error) {
	for _, arg := range args {
		switch info, err := os.Stat(arg); {
		case arg == "all" && keys.given():
			there, err := p.backupNames(ctx)
			if err != nil {
				return nil, err
			}
			names = append(names, there...)
		case isFile(arg) && arg != "-" && err == nil && info.IsDir():
			entries, err := os.ReadDir(arg)
			if err != nil {
				return nil, err
			}
			before := len(names)
			for _, e := range entries {
				if n := e.Name(); strings.HasPrefix(n, "state-backup-") && strings.Contains(n, ".json") && !strings.HasSuffix(n, ".about") && !strings.HasSuffix(n, ".tmp") {
					names = append(names, "./"+filepath.Join(arg, n))
				}
			}
			if len(names) == before {
				return nil, usage("--backup %s: there is no backup in it", arg)
			}
		default:
			names = append(names, arg)
		}
	}
	return names, nil
}

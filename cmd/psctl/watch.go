package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// often is how often what is not told of by a watch is looked at, with --watch.
const often = time.Second

// again asks for what is at path and shows it, until interrupted: on a terminal in place of what was shown before, and
// elsewhere below it whenever that is another text. With -o json each answer is a line. An agent that goes away is waited
// for.
func (p *program) again(ctx context.Context, path, form string, text func(raw []byte) (string, error)) error {
	f, ok := p.out.(*os.File)
	live := ok && terminal(f, p.getenv)
	every := time.NewTicker(often)
	defer every.Stop()
	shown := ""
	var away time.Time
	for first := true; ; first = false {
		raw, err := p.ask(ctx, path)
		gone := client.IsUnreachable(err) || client.IsUnavailable(err)
		switch {
		case err == nil:
			away = time.Time{}
			if shown, err = p.anew(raw, form, shown, live, text); err != nil {
				return err
			}
		case first || !gone || !away.IsZero() && p.now().Sub(away) > client.Patience:
			return err
		case away.IsZero():
			away = p.now()
			p.lost(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-every.C:
		}
	}
}

// anew shows an answer, and returns what is shown then.
func (p *program) anew(raw []byte, form, shown string, live bool, text func(raw []byte) (string, error)) (string, error) {
	if form == asJSON {
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			return "", err
		}
		return "", p.printf("%s\n", b.Bytes())
	}
	now, err := text(raw)
	switch {
	case err != nil || now == shown:
		return shown, err
	case live:
		return now, p.printf("\x1b[H\x1b[2J%s", now)
	case shown != "":
		err = p.printf("\n%s", now)
	default:
		err = p.printf("%s", now)
	}
	return now, err
}

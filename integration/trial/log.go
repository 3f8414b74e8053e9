package trial

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// Verify has the agent's own `log verify` recompute the hash chains of a data dir.
func Verify(ctx context.Context, bin, dataDir string) error {
	out, err := exec.CommandContext(ctx, bin, "log", "verify", "--data-dir", dataDir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("podman-swarm-agent log verify: %w\n%s", err, out)
	}
	if !bytes.HasPrefix(out, []byte("ok ")) {
		return fmt.Errorf("podman-swarm-agent log verify says %q", out)
	}
	return nil
}

// Dumped is what `log dump` of a data dir comes to when the last event of each key counts, and how many events it has
// printed. On one host that is all there is to the fold.
func Dumped(ctx context.Context, bin, dataDir string) (o Objects, events int, err error) {
	cmd := exec.CommandContext(ctx, bin, "log", "dump", "--data-dir", dataDir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return o, 0, err
	}
	if err := cmd.Start(); err != nil {
		return o, 0, err
	}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 1<<16), 16<<20)
	for lines.Scan() {
		var e struct {
			Key    string
			Object json.RawMessage
		}
		if err == nil {
			err = json.Unmarshal(lines.Bytes(), &e)
		}
		events++
		typ, name, _ := strings.Cut(e.Key, "/default/")
		for k := range kinds {
			if typ == strings.ToLower(kindName(k)) && strings.HasPrefix(name, "load-") && err == nil {
				err = o.fold(k, name, e.Object)
			}
		}
	}
	if err == nil {
		err = lines.Err()
	}
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		return o, events, fmt.Errorf("podman-swarm-agent log dump: %w\n%s", err, stderr.String())
	}
	return o, events, nil
}

func (o *Objects) fold(k int, name string, b json.RawMessage) error {
	if len(b) == 0 || string(b) == "null" {
		delete(o[k], name)
		return nil
	}
	var m meta
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	o.put(k, &m)
	return nil
}

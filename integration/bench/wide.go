package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// wide measures (n): clusters larger than this machine could run, by the simulation that sync is tested with. It is a test
// of that package, since the simulation is: what it prints is read here.
func (b *bench) wide(ctx context.Context) (rows []row, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	args := []string{"test", "-count=1", "-v", "-run", "^TestSize_whatManyHostsSay$", "./sync", "-args", "-size"}
	if b.short {
		args = append(args, "-size.short")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, out, &said), ctx.Err())
	}
	for line := range strings.Lines(string(out)) {
		_, figure, ok := strings.Cut(line, "size: ")
		if !ok {
			continue
		}
		var r row
		if err := json.Unmarshal([]byte(figure), &r); err != nil {
			return rows, fmt.Errorf("what the simulation says: %w: %s", err, figure)
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("the simulation says nothing:\n%s", out)
	}
	return rows, nil
}

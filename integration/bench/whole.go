package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

// whole measures (h): what an apply costs whose state is one file that is written anew each time, without even an
// fsync, next to what it costs here.
func (b *bench) whole(ctx context.Context) (rows []row, err error) {
	for _, n := range b.stateSizes() {
		more, err := b.wholeAt(ctx, n)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func (b *bench) wholeAt(ctx context.Context, n int) (rows []row, err error) {
	bed, err := openBed(ctx, b.dir, n, objectSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.close()) }()
	each, err := bed.applySize(ctx)
	if err != nil {
		return nil, err
	}
	file, err := newStateFile(bed, n)
	if err != nil {
		return nil, err
	}
	ours := &series{name: "apply", once: func() (time.Duration, error) { return bed.apply(ctx) }}
	theirs := timed("state file", file.save)
	if err := interleave(ctx, max(3, min(b.scale(500, 20), 200_000/n)), ours, theirs); err != nil {
		return nil, err
	}
	return []row{row{
		Figure: fmt.Sprintf("h  apply, %s objects in the state", count(n)), Ours: span(ours.median()),
		With: "all of it marshalled, written, renamed", Theirs: span(theirs.median()), Ratio: ours.over(theirs),
	}.note("%s written here, %s there, where nothing is synced to disk", size(float64(each)), size(float64(file.bytes)))}, nil
}

// stateFile is a state that is kept as one JSON file.
type stateFile struct {
	path  string
	bytes int
	state struct {
		Deployments  map[string]*appsv1.Deployment `json:"deployments"`
		LastModified time.Time                     `json:"last_modified"`
		Version      int                           `json:"version"`
	}
}

func newStateFile(b *bed, n int) (*stateFile, error) {
	f := &stateFile{path: filepath.Join(b.dir, "whole.json")}
	f.state.Version = 1
	f.state.Deployments = make(map[string]*appsv1.Deployment, n)
	var one appsv1.Deployment
	if err := json.Unmarshal(b.all.of(0, 0), &one); err != nil {
		return nil, err
	}
	for i := range n {
		d := one // shares all but the name: marshalling it costs the same, and holding it less
		d.Name = fmt.Sprintf("%08d", i)
		f.state.Deployments["default/"+d.Name] = &d
	}
	return f, nil
}

// save writes the whole state beside the file, then renames it into place.
func (f *stateFile) save() error {
	f.state.LastModified = time.Now()
	b, err := json.MarshalIndent(&f.state, "", "  ")
	if err != nil {
		return err
	}
	f.bytes = len(b)
	if err := os.WriteFile(f.path+".tmp", b, 0o640); err != nil {
		return err
	}
	return os.Rename(f.path+".tmp", f.path)
}

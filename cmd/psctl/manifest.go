package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// source is one file of a manifest, and where its lines are in the whole.
type source struct {
	name  string
	text  []byte
	first int // line in the joined text, from 1
	lines int
}

// manifest is what -f names: one or many files, as one text.
type manifest struct {
	sources []source
	text    []byte
}

// stdin is what standard input is called in messages.
const stdin = "stdin"

// readManifest reads every file that is named: files, - for standard input, and folders, of which it takes the .yaml,
// .yml and .json files, with recursive those of the folders below too. All that cannot be read is in the error.
func (p *program) readManifest(ctx context.Context, names []string, recursive bool) (manifest, error) {
	var m manifest
	var errs []error
	for _, name := range names {
		files := []string{name}
		if info, err := os.Stat(name); name != "-" && err == nil && info.IsDir() {
			if files, err = p.folder(name, recursive); err != nil {
				errs = append(errs, err)
			}
		}
		for _, f := range files {
			text, err := p.readFile(ctx, f, &m)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if f == "-" {
				f = stdin
			}
			m.add(f, text)
		}
	}
	return m, errors.Join(errs...)
}

// folder gives the manifests in a folder. A folder in it that is passed over is named.
func (p *program) folder(dir string, recursive bool) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != dir && !recursive:
			p.note("passed over: folder %s (-R takes it too)", path)
			return filepath.SkipDir
		case !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			files = append(files, path)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("folder %s holds no .yaml, .yml or .json file", dir)
	}
	return files, err
}

func (p *program) readFile(ctx context.Context, name string, m *manifest) ([]byte, error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return nil, fmt.Errorf("%s is not fetched: curl -fsS %s | psctl apply -f -", name, name)
	}
	if name == "-" && slices.ContainsFunc(m.sources, func(s source) bool { return s.name == stdin }) {
		return nil, usage("-f - can be given once")
	}
	return p.here(ctx, name)
}

// here is what is in a file from here, or for - what standard input has.
func (p *program) here(ctx context.Context, name string) ([]byte, error) {
	if name != "-" {
		return os.ReadFile(name)
	}
	return input(ctx, func() ([]byte, error) { return io.ReadAll(p.in) })
}

// add joins a file on, as documents of its own.
func (m *manifest) add(name string, text []byte) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	if len(m.sources) > 0 {
		m.text = append(m.text, "---\n"...)
	}
	first := bytes.Count(m.text, []byte("\n")) + 1
	m.sources = append(m.sources, source{name, text, first, bytes.Count(text, []byte("\n"))})
	m.text = append(m.text, text...)
}

// place is the file and line at a line of the joined text: "web.yaml:12".
func (m *manifest) place(line int) string {
	if line <= 0 || len(m.sources) == 0 {
		return ""
	}
	i, exact := slices.BinarySearchFunc(m.sources, line, func(s source, line int) int { return s.first - line })
	if !exact {
		i = max(0, i-1)
	}
	s := m.sources[i]
	if line >= s.first+s.lines && i+1 < len(m.sources) { // the separator before the next file, and so its beginning
		s, line = m.sources[i+1], m.sources[i+1].first
	}
	return s.name + ":" + strconv.Itoa(max(1, min(line-s.first+1, s.lines)))
}

// say is a mistake on one line, where it is first, in the words of the files as they were given.
func (m *manifest) say(x client.Mistake) string {
	message := regexp.MustCompile(`(document \d+, )?line \d+`).ReplaceAllStringFunc(x.Message, func(s string) string {
		line, err := strconv.Atoi(s[strings.LastIndexByte(s, ' ')+1:])
		if err != nil || m.place(line) == "" {
			return s
		}
		return m.place(line)
	})
	var parts []string
	for _, s := range []string{m.where(x), x.Object, x.Field, strings.Join(strings.Fields(message), " ")} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

func (m *manifest) where(x client.Mistake) string {
	switch {
	case x.Line > 0:
		return m.place(x.Line)
	case len(m.sources) == 1:
		return m.sources[0].name
	case x.Document > 0:
		return fmt.Sprintf("document %d", x.Document)
	}
	return ""
}

// names lists the files, for messages.
func (m *manifest) names() string {
	var all []string
	for _, s := range m.sources {
		all = append(all, s.name)
	}
	return andWord(all)
}

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/podman-swarm/podman-swarm"

	maxFile = 400 // lines
)

// mayImport says which of our packages, and which modules of others, each package may import. A name that ends in
// /... stands for all below it as well. The most exact name that covers a package is its rule; a package that none
// covers is refused. Tests may import more (see alsoInTests), but no test of an adapter reaches another adapter.
//
// The parts face one outside thing each and meet only in the agent's own package, so that each can be read, tested
// and replaced by itself.
var mayImport = map[string]imports{
	"events": {
		others: []string{"github.com/tidwall/wal", "golang.org/x/sys"},
	},
	"events/manifest": {
		ours:   []string{"events"},
		others: []string{"k8s.io/api", "k8s.io/apimachinery", "sigs.k8s.io/yaml", "go.yaml.in/yaml", "gopkg.in/yaml.v3", "sigs.k8s.io/structured-merge-diff"},
	},
	"projection": {
		ours:   []string{"events", "events/manifest"},
		others: []string{"github.com/tidwall/btree", "k8s.io/api", "k8s.io/apimachinery"},
	},
	"projection/placement": {
		ours:   []string{"events", "events/manifest", "projection"},
		others: []string{"k8s.io/api", "k8s.io/apimachinery"},
	},
	"projection/discovery": {
		ours:   []string{"events", "events/manifest", "projection"},
		others: []string{"github.com/tidwall/btree", "k8s.io/api", "k8s.io/apimachinery"},
	},
	"projection/secret": {
		ours:   []string{"events", "events/manifest", "projection"},
		others: []string{"k8s.io/api", "k8s.io/apimachinery"},
	},
	"podman/...": {
		ours:   []string{"events", "events/manifest", "projection", "projection/placement", "podman/..."},
		others: []string{"github.com/containers/podman/v5/pkg/bindings", "golang.org/x/sync", "k8s.io/api", "k8s.io/apimachinery"},
	},
	// What seals knows nothing of what it seals, so that psctl can open a backup without knowing what is in it.
	"snapshot/seal": {
		others: []string{"filippo.io/age"},
	},
	"snapshot": {
		ours:   []string{"events", "events/manifest", "projection", "snapshot/seal"},
		others: []string{"golang.org/x/sys", "github.com/klauspost/compress", "github.com/tidwall/gjson", "k8s.io/apimachinery"},
	},
	// What speaks S3 knows nothing of backups.
	"snapshot/bucket": {
		others: []string{"github.com/minio/minio-go/v7"},
	},
	"sync/...": {
		ours:   []string{"events", "projection", "sync/..."},
		others: []string{"github.com/nats-io", "golang.org/x/sync"},
	},
	// Who may join is decided without a messaging system.
	"sync/authority": {
		ours: []string{"events", "projection"},
	},
	"cmd/internal/...": {
		ours: []string{"events", "events/manifest", "projection", "projection/placement", "projection/discovery", "projection/secret", "snapshot/...", "cmd/internal/..."},
		others: []string{"k8s.io/api", "k8s.io/apimachinery", "sigs.k8s.io/yaml",
			"github.com/prometheus/client_golang", "golang.org/x/sync"},
	},
	"cmd/internal/api": {
		ours: []string{"events", "events/manifest", "projection", "projection/placement", "projection/discovery", "projection/secret", "snapshot/...", "cmd/internal/..."},
		others: []string{"k8s.io/api", "k8s.io/apimachinery", "sigs.k8s.io/yaml",
			"google.golang.org/protobuf", // in which kubectl reads what it asks for first
			"github.com/prometheus/client_golang", "golang.org/x/sync",
			"github.com/vishvananda/netlink", "golang.org/x/sys"}, // whose a connection over the loopback is
	},
	"cmd/internal/tracing": {
		ours:   []string{"events", "projection"},
		others: []string{"go.opentelemetry.io/otel"},
	},
	"cmd/internal/dns": {
		ours:   []string{"projection", "projection/discovery"},
		others: []string{"github.com/miekg/dns", "k8s.io/api", "github.com/prometheus/client_golang", "golang.org/x/sync"},
	},
	"cmd/internal/ingress": {
		ours:   []string{"events", "projection", "projection/discovery"},
		others: []string{"github.com/tidwall/btree", "k8s.io/api", "github.com/prometheus/client_golang", "golang.org/x/sync", "golang.org/x/net"},
	},
	"cmd/internal/vip": {
		ours: []string{"projection/discovery"},
		others: []string{"k8s.io/api", "github.com/google/nftables", "github.com/vishvananda/netlink",
			"github.com/mdlayher/netlink", // what nftables is told by, for who has changed something
			"github.com/prometheus/client_golang", "golang.org/x/sync", "golang.org/x/sys"},
	},
	"cmd/psctl": {
		ours:   []string{"events", "events/manifest", "snapshot/seal", "cmd/internal/..."},
		others: []string{"k8s.io/api", "k8s.io/apimachinery", "sigs.k8s.io/yaml", "github.com/spf13", "golang.org/x/sync"},
	},
	"cmd/podman-swarm-agent": {
		ours: []string{"events", "events/manifest", "projection/...", "podman", "snapshot/...", "sync", "sync/authority", "sync/mesh", "sync/feed", "cmd/internal/..."},
		others: []string{"k8s.io/api", "k8s.io/apimachinery", "github.com/spf13", "github.com/coreos/go-systemd",
			"github.com/prometheus/client_golang", "golang.org/x/sync", "golang.org/x/sys"},
	},
	// Looks at the house from outside; the benchmarks measure its parts one by one.
	"integration/...": {
		ours: []string{"events/...", "projection/...", "snapshot/...", "sync/...", "integration/..."},
		others: []string{"golang.org/x/sys", "golang.org/x/sync", "k8s.io/api", "k8s.io/apimachinery", "sigs.k8s.io/yaml", "github.com/tidwall/wal",
			"github.com/hanwen/go-fuse",         // serves the disk whose power is cut
			"github.com/anishathalye/porcupine", // looks for one order that explains all answers of a host
			"github.com/nats-io"},               // bare, what sync is compared with
	},
}

type imports struct {
	ours   []string // folders
	others []string // modules, or folders of modules
}

// alsoInTests is what a package's tests may import beside what the package itself may.
var alsoInTests = imports{
	ours: []string{"integration/podmanhost", "integration/trial", "podman/podmantest", "sync/peertest"},
	others: []string{"golang.org/x/sys", "github.com/rogpeppe/go-internal", "sigs.k8s.io/yaml",
		"github.com/nats-io/nats.go", "github.com/cloudevents/sdk-go/v2", // as others read the events,
		"go.opentelemetry.io/proto/otlp", "google.golang.org/protobuf", // and the traces,
		"github.com/google/nftables"}, // and look at the kernel's rules
}

// topLevel is all that the repository's root may hold, beside files whose names begin with a dot and build output.
var topLevel = []string{
	"cmd", "events", "projection", "sync", "podman", "snapshot", "integration", "bin",
	"LICENSE", "README.md", "Taskfile.yml", "go.mod", "go.sum", "tools.mod", "tools.sum",
}

func TestArch_topLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s stands at the top level: a new thing goes below the folder it belongs to", e.Name())
		}
	}
}

func TestArch_imports(t *testing.T) {
	for _, p := range packages(t) {
		rule, ok := ruleFor(p.folder())
		if !ok {
			t.Errorf("%s: no line of mayImport covers it", p.folder())
			continue
		}
		for _, imported := range p.Imports {
			if !rule.allows(imported) {
				t.Errorf("%s imports %s, which it may not", p.folder(), imported)
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			own := strings.TrimPrefix(imported, module+"/") == p.folder()
			if !own && !rule.allows(imported) && !alsoInTests.allows(imported) {
				t.Errorf("a test of %s imports %s, which it may not", p.folder(), imported)
			}
		}
	}
}

// The rule itself: what it must refuse and allow, whatever the packages happen to import today.
func TestArch_rule(t *testing.T) {
	for _, c := range []struct {
		folder, imported string
		want             bool
	}{
		{"events", "fmt", true},
		{"events", "github.com/tidwall/wal", true},
		{"projection", "github.com/tidwall/wal", false},
		{"projection", module + "/events", true},
		{"events", module + "/projection", false},
		{"podman", module + "/sync", false},
		{"podman/podmantest", module + "/snapshot", false},
		{"sync", module + "/podman", false},
		{"snapshot", module + "/podman", false},
		{"snapshot", "filippo.io/age", false},
		{"snapshot/seal", "filippo.io/age/agessh", true},
		{"snapshot/seal", module + "/snapshot", false},
		{"podman", "github.com/containers/podman/v5/pkg/bindings", true},
		{"podman", "github.com/containers/podman/v5/pkg/bindings/containers", false}, // needs build tags, and weighs 16 MB
		{"podman", "github.com/containers/podman/v5/pkg/specgen", false},
		{"podman", "github.com/prometheus/client_golang/prometheus", false},
		{"cmd/internal/api", module + "/podman", false},
		{"cmd/internal/api", "github.com/spf13/cobra", false},
		{"cmd/psctl", module + "/projection", false},
		{"cmd/psctl", module + "/snapshot", false},
		{"cmd/psctl", module + "/snapshot/seal", true},
		{"cmd/podman-swarm-agent", module + "/podman", true},
		{"cmd/podman-swarm-agent", "github.com/prometheus/client_golang/prometheus", true},
		{"sync", "github.com/nats-io/nats.go", true},
		{"cmd/podman-swarm-agent", "github.com/nats-io/nats.go", false},
		{"sync", module + "/sync/authority", true},
		{"sync/authority", "github.com/nats-io/nats-server/v2/server", false},
		{"sync/authority", module + "/sync", false},
		{"cmd/podman-swarm-agent", module + "/sync/authority", true},
		{"cmd/internal/api", module + "/sync/authority", false},
	} {
		rule, ok := ruleFor(c.folder)
		if got := ok && rule.allows(c.imported); got != c.want {
			t.Errorf("%s may import %s: got %v, want %v", c.folder, c.imported, got, c.want)
		}
	}
}

// Files that one can read in one go, nothing that runs before main, and no state that belongs to nobody.
func TestArch_files(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(p.folder(), name)
			if n := strings.Count(string(source), "\n"); n > maxFile {
				t.Errorf("%s has %d lines, more than %d", name, n, maxFile)
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range global(file) {
				t.Errorf("%s: %s", name, found)
			}
		}
	}
}

// global names what a file has that nobody owns: init functions, and variables of a package that something in the
// file changes. A variable that is only read is as good as a constant; version is set by the linker.
func global(file *ast.File) []string {
	vars := map[string]bool{}
	var found []string
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				found = append(found, "func init()")
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				v, ok := s.(*ast.ValueSpec)
				if !ok || d.Tok != token.VAR {
					continue
				}
				for _, name := range v.Names {
					vars[name.Name] = true
				}
				if why := mutable(v); why != "" {
					found = append(found, fmt.Sprintf("var %s %s", v.Names[0].Name, why))
				}
			}
		}
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if name := assigned(n); vars[name] && !declares(f, name) {
				found = append(found, fmt.Sprintf("func %s changes var %s of the package", f.Name.Name, name))
			}
			return true
		})
	}
	return found
}

// mutable says what is wrong with a package's variable that only makes sense if it changes.
func mutable(v *ast.ValueSpec) string {
	if s, ok := v.Type.(*ast.SelectorExpr); ok {
		pkg, ok := s.X.(*ast.Ident)
		switch {
		case ok && (pkg.Name == "sync" || pkg.Name == "atomic"):
			return "is a " + pkg.Name + "." + s.Sel.Name
		case ok && pkg.Name == "embed": // the compiler gives it its value, and nobody can change it
			return ""
		}
	}
	if len(v.Values) == 0 && v.Names[0].Name != "_" {
		return "has no value, so it must be meant to change"
	}
	return ""
}

// assigned returns the variable that a statement changes: v = …, v.f = …, v[i] = …, v++.
func assigned(n ast.Node) string {
	var changed []ast.Expr
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			changed = n.Lhs
		}
	case *ast.IncDecStmt:
		changed = []ast.Expr{n.X}
	}
	for _, e := range changed {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				e = x.X
				continue
			case *ast.Ident:
				return x.Name
			}
			break
		}
	}
	return ""
}

// declares reports whether a function has a variable of that name itself, which then hides the package's.
func declares(f *ast.FuncDecl, name string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				id, ok := e.(*ast.Ident)
				found = found || ok && n.Tok == token.DEFINE && id.Name == name
			}
		case *ast.ValueSpec:
			found = found || slices.ContainsFunc(n.Names, func(id *ast.Ident) bool { return id.Name == name })
		case *ast.Field: // a parameter, a result, the receiver
			found = found || slices.ContainsFunc(n.Names, func(id *ast.Ident) bool { return id.Name == name })
		}
		return !found
	})
	return found
}

// The check itself: it must see what it is there for.
func TestArch_globalSeesThem(t *testing.T) {
	const source = `package p
import "sync"
var version = "unknown"
var table = map[string]int{"a": 1}
var lock sync.Mutex
var late string
func init() {}
func f() { table["b"] = 2 }
func h(table map[string]int) { table["b"] = 2 }
func g() { table := map[string]int{}; table["b"] = 2 }
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"var lock is a sync.Mutex",
		"var late has no value, so it must be meant to change",
		"func init()",
		"func f changes var table of the package",
	}
	if got := global(file); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func ruleFor(folder string) (imports, bool) {
	if rule, ok := mayImport[folder]; ok {
		return rule, true
	}
	best := ""
	for pattern := range mayImport {
		if covers(pattern, folder) && len(pattern) > len(best) {
			best = pattern
		}
	}
	rule, ok := mayImport[best]
	return rule, ok
}

func covers(pattern, folder string) bool {
	parent, below := strings.CutSuffix(pattern, "/...")
	return folder == parent || below && strings.HasPrefix(folder, parent+"/")
}

func (i imports) allows(imported string) bool {
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		return slices.ContainsFunc(i.ours, func(pattern string) bool { return covers(pattern, ours) })
	}
	return slices.ContainsFunc(i.others, func(other string) bool {
		if strings.Contains(other, "/pkg/") {
			return imported == other
		}
		return imported == other || strings.HasPrefix(imported, other+"/")
	})
}

// pkg is a package of ours as go list describes it.
type pkg struct {
	ImportPath, Dir                             string
	GoFiles, Imports, TestImports, XTestImports []string
}

func (p pkg) folder() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir, cmd.Stderr = "..", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

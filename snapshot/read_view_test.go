package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// declare applies manifests as the API does.
func (h *host) declare(t *testing.T, manifests string) {
	t.Helper()
	items, err := manifest.Parse([]byte(manifests), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		o, err := manifest.Encode(item.Object)
		if err != nil {
			t.Fatal(err)
		}
		h.apply(t, item.Key, string(o))
	}
}

const threeKinds = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {team: a}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "localhost/web:1", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Endpoints
metadata: {name: db, namespace: shop}
subsets: [{addresses: [{ip: 10.1.2.3}], ports: [{port: 80}]}]
`

// What a state.json declares is what the log does, byte for byte, however its text is laid out, and what was edited is in it; mistakes are all told.
func TestReadView(t *testing.T) {
	h := open(t, t.TempDir())
	h.declare(t, threeKinds)
	h.declare(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\nimmutable: true\ndata: {app.conf: \"a = <b>\\n\", none: ''}\nbinaryData: {logo: iVBORw0KGgo=}\n")
	h.apply(t, "node/a", `{"unschedulable":true}`) // of hosts nothing is restored
	if _, err := h.view.Write(h.View().State); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(h.view.Path)
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, data, "", "    "); err != nil {
		t.Fatal(err)
	}
	want := shows(h.View().State)
	for _, text := range [][]byte{data, pretty.Bytes()} {
		got, err := ReadView(text)
		if err != nil || declarations(got) != want {
			t.Errorf("got\n%s\n%v, want\n%s", declarations(got), err, want)
		}
	}
	text := string(data)
	edit := func(pairs ...string) []byte { return []byte(strings.NewReplacer(pairs...).Replace(text)) }
	got, err := ReadView(edit(`"image":"localhost/web:1"`, `"image":"localhost/web:2"`))
	if is := declarations(got); err != nil || is != strings.Replace(want, "web:1", "web:2", 1) {
		t.Errorf("got\n%s\n%v", is, err)
	}
	for name, c := range map[string]struct {
		data []byte
		want []string
	}{
		"several mistakes": {edit(`"desired_replicas":3`, `"desired_replicas":4`, `"targetPort":80`, `"targetPort":99999`, `"ip":"10.1.2.3"`, `"ip":"here"`), []string{
			"deployment/default/web: desired_replicas says 4, and object.spec.replicas 3: want the same",
			"service/default/web: spec.ports[0].targetPort: ", "endpoints/shop/db: subsets[0].addresses[0].ip: "}},
		"a field that is not known": {edit(`"image":"localhost/web:1"`, `"imge":"localhost/web:1"`), []string{"deployment/default/web: ", "imge"}},
		"another name":              {edit(`"default/web": {"name":"web","namespace":"default","uid"`, `"default/wen": {"name":"web","namespace":"default","uid"`), []string{"service/default/wen: object: it is no service default/wen"}},
		"no object":                 {[]byte(`{"deployments":{"default/x":{}},"services":{},"ingresses":{},"namespaces":{},"facts":{},"version":2}`), []string{"deployment/default/x: it has no object"}},
		"a section that is gone":    {[]byte(`{"deployments":{},"services":{},"namespaces":{},"facts":{},"version":2}`), []string{"ingresses: there is no such section"}},
	} {
		_, err := ReadView(c.data)
		for _, want := range c.want {
			if err == nil || errors.Is(err, ErrNoView) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", name, err, want)
			}
		}
	}
	for _, no := range []string{"", "null", "{}", "[]", `{"version":1}`, `{"version":3,"backup":{}}`, `{"version":2,"backup":{}}`, text[:len(text)/2]} {
		if _, err := ReadView([]byte(no)); !errors.Is(err, ErrNoView) {
			t.Errorf("%.30s: got %v, want ErrNoView", no, err)
		}
	}
}

// A state.json that somebody brings is restored from, also after a crash, and where nobody brought it, it is no backup.
func TestRestorer_view(t *testing.T) {
	h := open(t, t.TempDir())
	h.declare(t, threeKinds)
	if _, err := h.view.Write(h.View().State); err != nil {
		t.Fatal(err)
	}
	was := shows(h.View().State)
	data, err := os.ReadFile(h.view.Path)
	if err != nil {
		t.Fatal(err)
	}
	h.apply(t, "service/default/web", `{"n":1}`)
	h.apply(t, "service/default/new", `{"n":1}`)
	r := h.restorer(t)
	r.Opened, r.Most = h.dir+"/opened", 1
	if _, _, err := r.Take(data); !errors.Is(err, ErrNoBackup) {
		t.Errorf("taken among the backups: %v", err)
	}
	from, err := r.Brought("state.json", data)
	if err != nil {
		t.Fatal(err)
	}
	r.Ledger = &failing{h.Ledger, 2}
	if _, err := r.Restore(t.Context(), projection.By{}, from, nil); !errors.Is(err, errStopped) {
		t.Fatalf("got %v, want it stopped in the middle", err)
	}
	r.Ledger = h.Ledger
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := shows(h.View().State); is != was {
		t.Errorf("got\n%s\nwant\n%s", is, was)
	}
}

// What is set aside of state.json comes with the command that has it after all, if there is one.
func TestToApply(t *testing.T) {
	h := open(t, t.TempDir())
	h.declare(t, threeKinds)
	if _, err := h.view.Write(h.View().State); err != nil {
		t.Fatal(err)
	}
	r := h.restorer(t)
	backup := read(t, filepath.Join(r.Backups.Dir, r.backup(t).File))
	r.Backups.Compress = true
	compressed := read(t, filepath.Join(r.Backups.Dir, r.backup(t).File))
	forWhom, _, _ := pair(t)
	sealed, err := forWhom.Seal(backup)
	if err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(h.dir, "state.json.set-aside-1")
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"a view":              {read(t, h.view.Path), "psctl restore " + aside},
		"a backup":            {backup, "psctl restore " + aside},
		"a compressed backup": {compressed, "psctl restore " + aside},
		"a sealed one":        {sealed, "psctl restore " + aside + " --identity FILE"},
		"half a backup":       {backup[:len(backup)/2], ""},
		"anything else":       {[]byte("{}"), ""},
	} {
		if err := os.WriteFile(aside, c.data, 0o640); err != nil {
			t.Fatal(err)
		}
		if got := ToApply(aside); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// A state.json of a later version, whatever its form, is refused by the version that is needed, wherever it is read, and stays as it is.
func TestReadView_newer(t *testing.T) {
	const newer, want = `{"deployments":[],"last_modified":7,"version":9}`, "state.json of version 9; this agent reads up to 2: a newer agent is needed"
	h := open(t, t.TempDir())
	r := h.restorer(t)
	r.Stood = filepath.Join(h.dir, "stood")
	if err := os.WriteFile(h.view.Path, []byte(newer), 0o640); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"as edited":    func() error { _, err := ReadView([]byte(newer)); return err },
		"as version 1": func() error { _, _, _, err := ReadVersion1([]byte(newer)); return err },
		"brought":      func() error { _, err := r.Brought("state.json", []byte(newer)); return err },
		"uploaded":     func() error { _, _, err := r.Take([]byte(newer)); return err },
		"verified":     func() error { _, err := CheckBytes([]byte(newer)); return err },
		"found":        func() error { _, err := r.Found(h.view.Path, false, false); return err },
		"found, with a new log": func() error {
			_, err := r.Found(h.view.Path, false, true)
			if !errors.Is(err, ErrUnread) {
				t.Errorf("got %v, want ErrUnread", err)
			}
			return err
		},
	} {
		if err := read(); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), want) || errors.Is(err, ErrNoView) || errors.Is(err, ErrNotVersion1) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if got := ToApply(h.view.Path); got != "" {
		t.Errorf("this agent would be asked to apply it: %s", got)
	}
	if is, err := os.ReadFile(h.view.Path); err != nil || string(is) != newer {
		t.Errorf("it is now %s, %v", is, err)
	}
}

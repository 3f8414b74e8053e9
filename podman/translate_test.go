package podman

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// parsed is the pod of a template written in YAML.
func parsed(t *testing.T, template string) *pod {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(template))
	if err != nil {
		t.Fatal(err)
	}
	held := placed("one", 5)
	held.Template = b
	p, err := readPod(held, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each piece of a pod template, and what it is in Podman's words.
func TestTranslate(t *testing.T) {
	for _, c := range []struct{ name, spec, image, want string }{
		{"nothing", ``, ``, `{"hostname":"web-0","stop_timeout":30}`},
		{"labels", `metadata: {labels: {a: b, io.podman-swarm.cluster: mine, io.podman-swarm.container: mine, io.podman-swarm.network: mine}}`, ``,
			`{"hostname":"web-0","stop_timeout":30,"labels":{"a":"b"}}`},
		{"command", `[command: [/bin/x, "$(A)"], args: ["$(B)", "$$(A)", "$(C)"], env: [{name: A, value: a}, {name: B, value: "$(A)$(D)b"}, {name: D, value: d}]]`, ``,
			`{"hostname":"web-0","stop_timeout":30,"entrypoint":["/bin/x","a"],"command":["a$(D)b","$(A)","$(C)"],"env":{"A":"a","B":"a$(D)b","D":"d"}}`},
		{"args alone", `[args: [x], workingDir: /srv]`, ``,
			`{"hostname":"web-0","stop_timeout":30,"command":["x"],"work_dir":"/srv","create_working_dir":true}`},
		{"grace", `spec: {terminationGracePeriodSeconds: 0}`, ``, `{"hostname":"web-0","stop_timeout":0}`},
		{"grace for ever", `spec: {terminationGracePeriodSeconds: 9007199254740992}`, ``, `{"hostname":"web-0","stop_timeout":2147483647}`},
		{"hostname", `spec: {hostname: other}`, ``, `{"hostname":"other","stop_timeout":30}`},
		{"host network", `spec: {hostNetwork: true, hostname: other}`, ``,
			`{"netns":{"nsmode":"host"},"utsns":{"nsmode":"host"},"stop_timeout":30}`},
		{"host aliases", `spec: {hostAliases: [{ip: 1.2.3.4, hostnames: [a, b]}]}`, ``,
			`{"hostname":"web-0","stop_timeout":30,"hostadd":["a:1.2.3.4","b:1.2.3.4"]}`},
		{"limits", `[resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 100m, memory: 32Mi}}]`, ``,
			`{"hostname":"web-0","stop_timeout":30,"resource_limits":{"memory":{"limit":67108864,"swap":67108864,"reservation":33554432},"cpu":{"quota":50000,"period":100000,"shares":102}}}`},
		{"requests", `[resources: {requests: {cpu: 1m}}]`, ``,
			`{"hostname":"web-0","stop_timeout":30,"resource_limits":{"cpu":{"shares":2}}}`},
		{"limit of cpu alone", `[resources: {limits: {cpu: 1m}}]`, ``,
			`{"hostname":"web-0","stop_timeout":30,"resource_limits":{"cpu":{"quota":1000,"period":100000,"shares":2}}}`},
		{"user", `{spec: {securityContext: {runAsUser: 1, runAsGroup: 2, supplementalGroups: [7]}}, container: {securityContext: {runAsUser: 10}}}`, `5:6`,
			`{"hostname":"web-0","stop_timeout":30,"user":"10:2","groups":["7"]}`},
		{"group alone", `spec: {securityContext: {runAsGroup: 2}}`, `app:6`, `{"hostname":"web-0","stop_timeout":30,"user":"app:2"}`},
		{"not root", `spec: {securityContext: {runAsNonRoot: true}}`, `5:6`, `{"hostname":"web-0","stop_timeout":30}`},
		{"not root, and root", `spec: {securityContext: {runAsNonRoot: true}}`, ``, `container has runAsNonRoot and would run as root`},
		{"not root, and 0", `{spec: {securityContext: {runAsNonRoot: true}}, container: {securityContext: {runAsUser: 0}}}`, `5`, `container has runAsNonRoot and would run as root`},
		{"not root, and a name", `spec: {securityContext: {runAsNonRoot: true}}`, `app`,
			`container has runAsNonRoot and the image's user "app" is a name: whether that is root cannot be known`},
		{"may", `[securityContext: {capabilities: {add: [NET_ADMIN, CAP_SYS_TIME], drop: [all]}, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}]`, ``,
			`{"hostname":"web-0","stop_timeout":30,"cap_add":["CAP_NET_ADMIN","CAP_SYS_TIME"],"cap_drop":["ALL"],"no_new_privileges":true,"read_only_filesystem":true}`},
		{"privileged", `[securityContext: {privileged: true}]`, ``, `{"hostname":"web-0","stop_timeout":30,"privileged":true}`},
		{"volumes", `{spec: {volumes: [{name: a, emptyDir: {}}, {name: b, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, {name: c, hostPath: {path: /etc}}]},
		  container: {volumeMounts: [{name: a, mountPath: /a}, {name: a, mountPath: /a2, readOnly: true}, {name: b, mountPath: /b}, {name: c, mountPath: /c, readOnly: true}]}}`, ``,
			`{"hostname":"web-0","stop_timeout":30,
			"volumes":[{"Name":"NAME.a","Dest":"/a","Options":["rw","nocopy"]},{"Name":"NAME.a","Dest":"/a2","Options":["ro","nocopy"]}],
			"mounts":[{"type":"tmpfs","source":"tmpfs","destination":"/b","options":["rw","mode=1777","nosuid","nodev","size=1048576"]},
			          {"type":"bind","source":"/etc","destination":"/c","options":["rbind","ro"]}]}`},
		{"parts of volumes", `{spec: {volumes: [{name: a, emptyDir: {}}, {name: b, emptyDir: {medium: Memory}}, {name: c, hostPath: {path: /srv}}, {name: s, secret: {secretName: s}}, {name: m, configMap: {name: m}}]},
		  container: {volumeMounts: [{name: a, mountPath: /a, subPath: x}, {name: a, mountPath: /a2, subPath: y/z}, {name: a, mountPath: /a3, subPath: ./x}, {name: b, mountPath: /b, subPath: x},
		    {name: c, mountPath: /c, subPath: x}, {name: s, mountPath: /s}, {name: m, mountPath: /m, subPath: k}]}}`, ``,
			`{"hostname":"web-0","stop_timeout":30,
			"volumes":[{"Name":"NAME.a.2d711642","Dest":"/a","Options":["rw","nocopy"]},{"Name":"NAME.a.ba08c640","Dest":"/a2","Options":["rw","nocopy"]},{"Name":"NAME.a.2d711642","Dest":"/a3","Options":["rw","nocopy"]}],
			"mounts":[{"type":"tmpfs","source":"tmpfs","destination":"/b","options":["rw","mode=1777","nosuid","nodev"]},
			          {"type":"bind","source":"/srv/x","destination":"/c","options":["rbind","rw"]},
			          {"type":"bind","source":"/files/s","destination":"/s","options":["rbind","ro"]},
			          {"type":"bind","source":"/files/m/..data/k","destination":"/m","options":["rbind","ro"]}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parsed(t, templateOf(t, c.spec))
			p.folder = "/files"
			s, err := p.translate(owner{"default", "one"}, Image{User: c.image})
			if err != nil {
				if err.Error() != c.want {
					t.Errorf("got error %q, want %q", err, c.want)
				}
				return
			}
			for _, l := range []string{LabelCluster, LabelHost, LabelNamespace, LabelPod, LabelDeployment, LabelPlacement, LabelSpecHash} {
				if _, ok := s.Labels[l]; !ok {
					t.Errorf("label %s is missing", l)
				}
				delete(s.Labels, l)
			}
			want := strings.ReplaceAll(c.want, "NAME", containerName(web0, placed("one", 5).Event(), 0))
			want = strings.Replace(want, `{`, `{"name":"","image":"localhost/web:1","restart_policy":"no",`, 1)
			if got := mustJSON(t, s); got != canonical(t, []byte(want)) {
				t.Errorf("got  %s\nwant %s", got, canonical(t, []byte(want)))
			}
		})
	}
}

// templateOf is a whole template from what a case says: [fields of the container], or a pod's own.
func templateOf(t *testing.T, short string) string {
	t.Helper()
	container := map[string]any{"name": "web", "image": "localhost/web:1"}
	out := map[string]any{}
	if strings.HasPrefix(short, "[") {
		short = "container: {" + strings.TrimSuffix(short[1:], "]") + "}"
	}
	if err := yaml.Unmarshal([]byte(short), &out); err != nil {
		t.Fatal(err)
	}
	if more, ok := out["container"].(map[string]any); ok {
		for k, v := range more {
			container[k] = v
		}
		delete(out, "container")
	}
	spec, ok := out["spec"].(map[string]any)
	if !ok {
		spec = map[string]any{}
	}
	spec["containers"] = []any{container}
	out["spec"] = spec
	return mustJSON(t, out)
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return canonical(t, b)
}

func canonical(t *testing.T, b []byte) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	for k, x := range v {
		if m, ok := x.(map[string]any); ok && len(m) == 0 {
			delete(v, k)
		}
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestExpand(t *testing.T) {
	value := func(name string) (string, bool) { return "<" + name + ">", name != "NO" }
	for in, want := range map[string]string{
		"": "", "a": "a", "$": "$", "a$": "a$", "$(A)": "<A>", "x$(A)y$(B)": "x<A>y<B>", "$$": "$", "$$(A)": "$(A)", "$$$(A)": "$<A>",
		"$(NO)": "$(NO)", "$(A": "$(A", "$A": "$A", "$(A)$": "<A>$", "$((A)": "<(A>", "$()": "<>", "$$$$": "$$",
	} {
		if got := expand(in, value); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestFullName(t *testing.T) {
	for in, want := range map[string]string{
		"nginx": "docker.io/library/nginx", "nginx:1": "docker.io/library/nginx:1", "a/b": "docker.io/a/b",
		"quay.io/a/b": "quay.io/a/b", "localhost/a": "localhost/a", "reg:5000/a": "reg:5000/a", "nginx@sha256:00": "docker.io/library/nginx@sha256:00",
	} {
		if got := fullName(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestURL(t *testing.T) {
	env := func(v string) func(string) string {
		return func(name string) string { return map[string]string{"CONTAINER_HOST": v}[name] }
	}
	for _, c := range []struct{ flag, env, want string }{
		{"unix:///a", "unix:///b", "unix:///a"},
		{"", "tcp://h:1", "tcp://h:1"},
		{"", "ssh://u@h/s", "ssh://u@h/s"},
		{"/a", "", `the Podman URL is "/a": want unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST/PATH`},
		{"", "unix://a", `CONTAINER_HOST is "unix://a": want unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST/PATH`},
	} {
		got, err := URL(c.flag, env(c.env))
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q, %q: got %s, want %s", c.flag, c.env, got, c.want)
		}
	}
	if got := socket(0, env("")); got != "unix:///run/podman/podman.sock" {
		t.Errorf("root's: got %s", got)
	}
	if got := socket(7, env("")); got != "unix:///run/user/7/podman/podman.sock" {
		t.Errorf("a user's: got %s", got)
	}
}

func TestPrepareHostPaths(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, typ, want string }{
		{dir, "", ""}, {dir, "Directory", ""}, {dir, "DirectoryOrCreate", ""}, {file, "File", ""}, {file, "FileOrCreate", ""}, {file, "", ""},
		{dir + "/new/a", "", ""}, {dir + "/new/b", "DirectoryOrCreate", ""}, {dir + "/new/c", "FileOrCreate", ""},
		{dir + "/none", "Directory", "no such file"}, {dir + "/none", "File", "no such file"}, {dir + "/none", "Socket", "no such file"},
		{dir, "File", "is not a file"}, {file, "Directory", "is not a directory"}, {file, "DirectoryOrCreate", "is not a directory"},
		{dir, "FileOrCreate", "is not a file"}, {file, "Socket", "is not a socket"}, {dir, "CharDevice", "not supported"},
	} {
		p := parsed(t, templateOf(t, `spec: {volumes: [{name: v, hostPath: {path: `+c.path+`, type: "`+c.typ+`"}}]}`))
		err := p.prepareHostPaths()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %q: got %v, want %q", c.path, c.typ, err, c.want)
		}
	}
	for path, dir := range map[string]bool{"new/a": true, "new/b": true, "new/c": false} {
		if info, err := os.Stat(filepath.Join(dirOf(t, file), path)); err != nil || info.IsDir() != dir {
			t.Errorf("%s: got %v, %v", path, info, err)
		}
	}
}

func dirOf(t *testing.T, file string) string { t.Helper(); return filepath.Dir(file) }

// A folder that several containers share belongs to the first of them that says who it runs as.
func TestOwnerOf(t *testing.T) {
	p := parsed(t, `spec:
  volumes: [{name: v, emptyDir: {}}, {name: w, emptyDir: {}}]
  containers:
  - {name: main, image: i, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /w}]}
  - {name: side, image: i, securityContext: {runAsUser: 7, runAsGroup: 8}, volumeMounts: [{name: v, mountPath: /v}]}
  initContainers: [{name: first, image: i, securityContext: {runAsUser: 9}, volumeMounts: [{name: v, mountPath: /v}]}]
`)
	for volume, want := range map[string]string{"v": "7:8", "w": ""} {
		if got := p.ownerOf(volumeName(p.placed, volume)); got != want {
			t.Errorf("%s: got %q, want %q", volume, got, want)
		}
	}
}

package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// An agent that was told no address, and a kubectl that was told none, find each other. They are alone in a network
// namespace, since the machine's own port may be somebody else's.
func TestKubectl_noConfiguration(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data")) // started by the script
	k := newKubectl(t, a)
	const script = `kubectl=$1 manifest=$2 log=$3; shift 3
ip link set lo up
"$@" >"$log" 2>&1 &
until "$kubectl" get --raw /readyz >/dev/null 2>&1; do kill -0 $!; sleep 0.1; done
"$kubectl" apply -f "$manifest"
"$kubectl" get deployments -o name`
	like := k.command()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--pid", "--fork", "--kill-child", "bash", "-euc", script, "bash",
		k.bin, k.file(trial.Deployment("web", 0, "")), a.Output,
		a.Bin, "--data-dir", a.DataDir, "--podman-url", a.Podman, "--recovery-delay", "20ms")
	cmd.Env, cmd.Dir, cmd.WaitDelay = like.Env, like.Dir, like.WaitDelay
	out, err := cmd.CombinedOutput()
	if want := "deployment.apps/web created\ndeployment.apps/web\n"; err != nil || string(out) != want {
		t.Errorf("got %v, %q, want %q", err, out, want)
	}
}

// What apply sends: a new object, nothing, and three-way patches that change, remove and leave alone.
func TestKubectl_apply(t *testing.T) {
	k, _, host := kubectlOf(t)
	example, err := os.ReadFile("examples/web.yaml")
	must(t, err)
	web := swapped(t, string(example),
		"    spec:\n      containers:", "    spec:\n      terminationGracePeriodSeconds: 1\n      containers:")
	all := func(deployment, others string) []string {
		return []string{"deployment.apps/web " + deployment, "service/web " + others, "ingress.networking.k8s.io/web " + others}
	}
	const container = "-o=jsonpath={.spec.template.spec.containers[0]"
	get := func(want, path string) {
		t.Helper()
		k.says(want, "get", "deployment/web", path)
	}

	k.applies(web, all("created", "created")...)
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	first := pods(t, host, "web", 3)
	k.applies(web, all("unchanged", "unchanged")...)
	untouched(t, host, first)

	k.run("annotate", "deployment/web", "note=of another") // what no manifest says stays as it is
	web = swapped(t, web, "replicas: 3", "replicas: 2", "value: hello", "value: changed")
	k.applies(web, all("configured", "unchanged")...)
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	get("2 changed of another",
		`-o=jsonpath={.spec.replicas} {.spec.template.spec.containers[0].env[0].value} {.metadata.annotations.note}`)
	if kept := 3 - len(trial.Bounced(first, pods(t, host, "web", 2))); kept != 0 {
		t.Errorf("%d containers of another template still run", kept)
	}

	get(`{"limits":{"memory":"64Mi"}}`, container+".resources}")
	web = swapped(t, web, "          resources:\n            limits:\n              memory: 64Mi\n", "",
		"  labels:\n    app: web\nspec:\n  replicas", "spec:\n  replicas")
	k.applies(web, all("configured", "unchanged")...)
	get("{}", container+".resources}")
	get("", "-o=jsonpath={.metadata.labels}")

	web = swapped(t, web,
		"- name: GREETING\n              value: changed", "- name: ONE\n              value: one\n            - name: TWO\n              value: two",
		"      port: 80\n", "      port: 8081\n      targetPort: 80\n    - name: more\n      port: 81\n      targetPort: 80\n", "web.example.com", "www.example.com")
	k.applies(web, all("configured", "configured")...)
	get("ONE TWO", container+".env[*].name}")
	k.says("8081 81", "get", "service/web", "-o=jsonpath={.spec.ports[*].port}")
	k.says("www.example.com", "get", "ingress/web", "-o=jsonpath={.spec.rules[*].host}")
	contains(t, regexp.MustCompile(` +`).ReplaceAllString(k.run("get", "services,ingresses", "-o=wide"), " "),
		"NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR\nservice/web ClusterIP ", " <none> 8081/TCP,81/TCP ",
		"NAME CLASS HOSTS ADDRESS PORTS AGE\ningress.networking.k8s.io/web <none> www.example.com 80 ")
	k.applies(web, all("unchanged", "unchanged")...)
	get("4 4", "-o=jsonpath={.metadata.generation} {.status.observedGeneration}")

	// A field that is spelled wrong is a mistake, and for who does not want it to be one not lost without a word.
	typo := k.file(swapped(t, trial.Deployment("typo", 0, ""), "  replicas: 0\n", "  replicas: 0\n  replica: 3\n"))
	k.fails("Deployment default/typo: spec.replica: unknown field", "apply", "-f", typo)
	for _, validate := range []string{"warn", "false"} {
		contains(t, k.run("apply", "--validate="+validate, "-f", typo), `unknown field "spec.replica"`, "deployment.apps/typo ")
	}
}

// Discovery, and reading in the ways that scripts read.
func TestKubectl_get(t *testing.T) {
	k, _, host := kubectlOf(t)
	k.says("configmaps\ndeployments.apps\nendpoints\nendpointslices.discovery.k8s.io\nevents\ningresses.networking.k8s.io\nnamespaces\nnodes\npods\nsecrets\nservices",
		"api-resources", "--verbs=get,list,watch", "-o=name", "--sort-by=name")
	contains(t, k.run("version"), "podman-swarm")
	k.says("apps/v1\ndiscovery.k8s.io/v1\nnetworking.k8s.io/v1\npolicy/v1\nv1", "api-versions")
	k.run("apply", "-f", k.file(trial.Deployment("web", 2, "")+"---\n"+trial.Deployment("none", 0, "")))
	k.run("wait", "deployment/web", "--for=condition=Available", "--timeout=50s")
	k.run("wait", "pods", "--all", "--for=condition=Ready", "--timeout=50s")
	pods(t, host, "web", 2)

	k.says("deployment.apps/none\ndeployment.apps/web\nnode/h1\nnamespace/default", "get", "deploy,no,ns", "-o=name")
	k.says("pod/web-0\npod/web-1", "get", "pods", "-l", "app in (web,other)", "-o=name")
	k.says("", "get", "pods", "-l", "app!=web", "-o=name")
	k.says("pod/web-1", "get", "pods", "-A", "--field-selector=spec.nodeName=h1,metadata.name=web-1", "-o=name")
	k.says("Running Running", "get", "pods", "-o=jsonpath={.items[*].status.phase}")
	for kind, want := range map[string][]string{
		"deployments": {"NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR\n", "\nweb 2/2 2 2 "},
		"pods":        {"NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES\n", "\nweb-1 1/1 Running 0 "},
		"nodes":       {"NAME STATUS ROLES AGE VERSION INTERNAL-IP ", "\nh1 Ready <none> "},
	} { // the columns are the server's
		contains(t, strings.Join(regexp.MustCompile(` +`).Split(k.run("get", kind, "-o=wide"), -1), " "), want...)
	}
	k.says("NAME   READY\nnone   <none>\nweb    2",
		"get", "deployments", "-o=custom-columns=NAME:.metadata.name,READY:.status.readyReplicas")
	contains(t, k.run("get", "deployment", "web", "-o=yaml"), "\nkind: Deployment\n", "\n  readyReplicas: 2\n")
	contains(t, k.run("get", "events", "-o=jsonpath={range .items[*]}{.reason} {.involvedObject.name},{end}"),
		"Created web,", "Scheduled web-0,", "Started web-1,")
	for _, c := range []struct {
		of   string
		says []string
	}{
		{"deployment/web", []string{"2 desired | 2 updated | 2 total | 2 available | 0 unavailable", "Created by local:", ": kubectl apply"}},
		{"pod/web-0", []string{"Controlled By:  Deployment/web", "placed on h1", "State:          Running"}},
		{"node/h1", []string{"PodmanReady", "web-0", "web-1"}},
		{"namespace/default", []string{"Active"}},
	} {
		contains(t, k.run("describe", c.of), c.says...)
	}

	// An address is found for a Service, and what of it is found is nobody's wish: to apply the same again changes nothing.
	service := k.file("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 8000, targetPort: 80}]}\n")
	k.run("apply", "-f", service)
	k.says("service/web unchanged", "apply", "-f", service)
	ports := k.run("get", "endpoints", "web", "-o=jsonpath={.subsets[*].ports[*].port}")
	contains(t, k.run("describe", "service", "web"), strings.Fields(ports)...)
	if n := len(strings.Fields(ports)); n != 2 {
		t.Errorf("the Service is found at ports %q, want one of each of 2 replicas", ports)
	}

	k.fails(`deployments.apps "other" not found`, "get", "deployment", "other")
	k.fails(`the server doesn't have a resource type "bananas"`, "get", "bananas")
	k.fails("field label not supported: bad", "get", "pods", "--field-selector=bad=x")
}

// Watches tell of changes as they come, and what waits goes on waiting while the agent is away.
func TestKubectl_watch(t *testing.T) {
	k, a, host := kubectlOf(t)
	k.run("apply", "-f", k.file(trial.Deployment("web", 1, "")))
	pods(t, host, "web", 1)
	ready := k.follow("get", "deployment", "web", "--watch", `-o=jsonpath={.status.readyReplicas}{"\n"}`)
	ready.until("1")
	rows := k.follow("get", "deployment", "web", "--watch", "--no-headers")
	rows.until("web   1/1   1     1 ")
	names := k.follow("get", "pods", "-A", "-l", "app=web", "--watch", "-o=name")
	names.until("pod/web-0")
	k.says("deployment.apps/web scaled", "scale", "deployment/web", "--replicas=2")
	ready.until("2")
	rows.until("web   2/2   2     2 ")
	names.until("pod/web-1")

	// Nothing can take these yet, so this waits.
	k.says("deployment.apps/web patched",
		"patch", "deployment/web", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"disk":"none"}}}}}`)
	rollout := k.follow("rollout", "status", "deployment/web", "--timeout=50s")
	rollout.until("Waiting for deployment")
	must(t, a.Kill())
	ready.end()
	rows.end()
	names.end()
	up(t, a)
	k.says("deployment.apps/web patched", "patch", "deployment/web", "-p", `{"spec":{"template":{"spec":{"nodeSelector":null}}}}`)
	rollout.until("successfully rolled out")
	rollout.end()
}

// The other ways to make and change objects.
func TestKubectl_changes(t *testing.T) {
	k, _, host := kubectlOf(t)
	file := k.file(trial.Deployment("web", 1, "hello"))
	k.says("deployment.apps/web created", "create", "-f", file)
	k.fails(`deployments.apps "web" already exists`, "create", "-f", file)
	k.says("namespace/team created", "create", "namespace", "team")
	k.says("deployment.apps/made created",
		"create", "deployment", "made", "--image=localhost/podman-swarm-web:1", "--replicas=0", "--port=80", "-n=team")
	k.says("service/made exposed", "expose", "deployment", "made", "--port=80", "-n=team")

	get := func(want, path string) {
		t.Helper()
		k.says(want, "get", "deployment/web", "-o=jsonpath={"+path+"}")
	}
	const env = ".spec.template.spec.containers[0].env[*].value"
	k.says("deployment.apps/web edited", "edit", "deployment/web")
	get("edited", env)
	for _, p := range []struct{ typ, patch string }{
		{"strategic", `{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"B","value":"strategic"}]}]}}}}`},
		{"merge", `{"metadata":{"labels":{"by":"merge"}}}`},
		{"json", `[{"op":"test","path":"/spec/replicas","value":1},{"op":"replace","path":"/spec/replicas","value":2}]`},
	} {
		k.says("deployment.apps/web patched", "patch", "deployment/web", "--type="+p.typ, "-p", p.patch)
	}
	get("strategic edited", env)
	get("2 merge", ".spec.replicas} {.metadata.labels.by")
	k.says("deployment.apps/web labeled", "label", "deployment/web", "tier=front")
	k.run("label", "deployment/web", "by-")
	k.says("deployment.apps/web annotated", "annotate", "deployment/web", "note=hi")
	k.fails("Expected replicas to be 7, was 2", "scale", "deployment/web", "--replicas=1", "--current-replicas=7")
	k.says("deployment.apps/web scaled", "scale", "deployment/web", "--replicas=1", "--current-replicas=2")
	get(`1 {"tier":"front"} hi`, ".spec.replicas} {.metadata.labels} {.metadata.annotations.note")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	before := pods(t, host, "web", 1)

	k.says("deployment.apps/web image updated", "set", "image", "deployment/web", "web=localhost/podman-swarm-web:2")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	k.says("deployment.apps/web restarted", "rollout", "restart", "deployment/web")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	if after := pods(t, host, "web", 1); len(trial.Bounced(before, after)) != 1 {
		t.Errorf("not rolled out: before %v, after %v", before, after)
	}

	k.says("deployment.apps/web replaced", "replace", "-f", file)
	get("hello", env)
	get("", ".metadata.labels")
	seen := k.file(k.run("get", "deployment/web", "-o=yaml"))
	k.says("deployment.apps/web replaced", "replace", "-f", seen)
	k.run("label", "deployment/web", "newer=yes")
	k.fails("the object has been modified", "replace", "-f", seen)
}

// A pod of several containers is shown, logged and changed by container, and its init container is waited for.
func TestKubectl_severalContainers(t *testing.T) {
	k, _, host := kubectlOf(t)
	const more = `      - name: side
        image: localhost/podman-swarm-web:1
        args: ["-listen=:81", "-lines=3"]
      initContainers:
      - name: prepare
        image: localhost/podman-swarm-web:1
        args: ["-exit-after=0s"]
`
	k.applies(trial.Deployment("web", 1, "hello")+more, "deployment.apps/web created")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	contains(t, k.run("get", "pods"), "web-0   2/2     Running   0 ")
	k.says("web side | prepare Completed", "get", "pod", "web-0",
		"-o=jsonpath={.status.containerStatuses[*].name} | {.status.initContainerStatuses[*].name} {.status.initContainerStatuses[*].state.terminated.reason}")
	contains(t, k.run("describe", "pod", "web-0"), "Init Containers:", "prepare:", "side:")
	contains(t, k.run("logs", "web-0", "-c", "side"), "out 3", "err 3")
	contains(t, k.run("logs", "deployment/web", "--all-containers=false", "-c", "side", "--tail=1"), " 3")
	k.fails("container other is not valid for pod web-0", "logs", "web-0", "-c", "other")
	pods(t, host, "web", 2) // its containers, of which the init container is none any more

	k.says("deployment.apps/web image updated", "set", "image", "deployment/web", "side=localhost/podman-swarm-web:2")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	k.says("localhost/podman-swarm-web:1 localhost/podman-swarm-web:2", "get", "pods", "-l", "app=web", "-o=jsonpath={.items[*].spec.containers[*].image}")
	k.says("deployment.apps/web patched", "patch", "deployment/web", "-p",
		`{"spec":{"template":{"spec":{"containers":[{"name":"side","env":[{"name":"A","value":"b"}]}]}}}}`)
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	k.says("hello b", "get", "pods", "-l", "app=web", "-o=jsonpath={.items[*].spec.containers[*].env[*].value}")
	k.says(`deployment.apps "web" deleted from default namespace`, "delete", "deployment", "web")
	pods(t, host, "web", 0)
}

// ConfigMaps, in the ways in which people make, read and change them.
func TestKubectl_configMaps(t *testing.T) {
	k, _, _ := kubectlOf(t)
	const manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata:\n  LEVEL: info\n  app.conf: |\n    say = hello\nbinaryData: {logo: AP8=}\n"
	k.applies(manifest, "configmap/app created")
	k.applies(manifest, "configmap/app unchanged")
	k.applies(swapped(t, manifest, "  LEVEL: info\n", "  MORE: x\n"), "configmap/app configured")
	k.says(`{"MORE":"x","app.conf":"say = hello\n"} AP8=`, "get", "cm/app", "-o=jsonpath={.data} {.binaryData.logo}")
	k.says("configmap/app edited", "edit", "configmap", "app")
	k.says("say = edited", "get", "configmap", "app", `-o=jsonpath={.data.app\.conf}`)
	k.says("configmap/app patched", "patch", "cm/app", "-p", `{"data":{"MORE":null},"binaryData":null}`)

	from := k.file("b\n")
	k.says("configmap/made created", "create", "configmap", "made", "--from-literal=A=1", "--from-file=f="+from)
	k.fails(`configmaps "made" already exists`, "create", "configmap", "made")
	k.says("1 b", "get", "cm", "made", "-o=jsonpath={.data.A} {.data.f}")
	contains(t, regexp.MustCompile(` +`).ReplaceAllString(k.run("get", "configmaps"), " "), "NAME DATA AGE\n", "app 1 ", "made 2 ")
	contains(t, k.run("describe", "cm", "app"), "Name:         app", "app.conf:\n----\nsay = edited")
	watched := k.follow("get", "configmaps", "--watch", `-o=jsonpath={.metadata.name} {.data.A}{"\n"}`)
	watched.until("made 1")
	k.run("patch", "cm", "made", "-p", `{"data":{"A":"2"}}`)
	watched.until("made 2")

	k.applies("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed}\nimmutable: true\ndata: {a: x}\n", "configmap/fixed created")
	k.fails("data: Forbidden: field is immutable when `immutable` is set", "patch", "cm/fixed", "-p", `{"data":{"a":"z"}}`)
	k.fails("data[a b]: Invalid value", "apply", "-f", k.file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: wrong}\ndata: {a b: x}\n"))
	k.says("configmap \"fixed\" deleted from default namespace", "delete", "configmap", "fixed")
	k.run("delete", "configmaps", "--all")
	k.says("No resources found in default namespace.", "get", "cm")
}

// A deletion is waited for, and says what was not there.
func TestKubectl_delete(t *testing.T) {
	k, _, host := kubectlOf(t)
	both := k.file(trial.Deployment("a", 1, "") + "---\n" + trial.Deployment("b", 1, ""))
	deployments := func(want string) {
		t.Helper()
		k.says(want, "get", "deployments", "-A", "-o=jsonpath={.items[*].metadata.name}")
	}
	k.run("apply", "-f", both)
	pods(t, host, "a", 1)
	pods(t, host, "b", 1)
	k.run("delete", "deployment", "a", "--grace-period=0", "--force")
	deployments("b")
	k.fails(`deployments.apps "a" not found`, "delete", "-f", both)
	deployments("")
	k.says("", "delete", "deployment", "a", "--ignore-not-found")
	pods(t, host, "a", 0)
	pods(t, host, "b", 0)

	k.run("apply", "-f",
		k.file(trial.Deployment("a", 0, "")+"---\n"+trial.Deployment("b", 0, "")+"---\n"+trial.Deployment("c", 0, "")))
	k.run("label", "deployment/b", "tier=front")
	k.run("delete", "deployments", "-l", "tier=front")
	deployments("a c")
	k.fails("are removed with it", "delete", "deployment", "a", "--cascade=orphan")
	k.run("delete", "deployments", "--all", "--cascade=foreground")
	deployments("")
	k.run("create", "deployment", "x", "-n=team", "--image=localhost/podman-swarm-web:1")
	pods(t, host, "x", 1)
	k.run("delete", "namespace", "team")
	deployments("")
	pods(t, host, "x", 0)
	k.fails("this namespace may not be deleted", "delete", "namespace", "default")
}

// What people say of a host. Of the only one, nothing can be moved elsewhere; so draining it waits in vain.
func TestKubectl_nodes(t *testing.T) {
	k, _, host := kubectlOf(t)
	get := func(want, path string) {
		t.Helper()
		k.says(want, "get", "node", "h1", "-o=jsonpath={"+path+"}")
	}
	k.run("apply", "-f", k.file(trial.Deployment("web", 1, "")))
	before := pods(t, host, "web", 1)
	eventually(t, func() error { return k.command("get", "node", "h1").Run() }) // once Podman has said what it is, which takes it a second
	k.says("node/h1 cordoned", "cordon", "h1")
	get("true", ".spec.unschedulable")
	k.says("node/h1 uncordoned", "uncordon", "h1")
	get("", ".spec.unschedulable")
	k.says("node/h1 tainted", "taint", "node", "h1", "gpu=yes:NoSchedule")
	get("gpu yes NoSchedule", ".spec.taints[*].key} {.spec.taints[*].value} {.spec.taints[*].effect")
	k.says("node/h1 untainted", "taint", "node", "h1", "gpu-")
	get("", ".spec.taints")
	k.says("node/h1 labeled", "label", "node", "h1", "zone=a")
	k.says("node/h1", "get", "nodes", "-l", "zone=a", "-o=name")
	k.run("label", "node", "h1", "zone-")
	get("", ".metadata.labels.zone")
	k.says("node/h1 annotated", "annotate", "node", "h1", "note=hi")
	get("hi", ".metadata.annotations.note")
	k.fails("evicting pod default/web-0", "drain", "h1", "--timeout=2s")
	get("true true", `.spec.unschedulable} {.metadata.annotations.podman-swarm/draining`)
	k.says("node/h1 uncordoned", "uncordon", "h1")
	get("", `.metadata.annotations.podman-swarm/draining`)
	untouched(t, host, before)
}

// What is refused says why, in the words of this agent.
func TestKubectl_refused(t *testing.T) {
	host := podmanhost.Start(t)
	a := newAgent(t, host, filepath.Join(t.TempDir(), "data"))
	a.Args = []string{"--recovery-delay", "2s"}
	must(t, a.Start())
	k := newKubectl(t, a)
	eventually(t, func() error {
		_, err := trial.Get(t.Context(), a.URL()+"/healthz")
		return err
	})
	web := trial.Deployment("web", 1, "")
	k.applies(web, "deployment.apps/web created") // kubectl tries again while the agent recovers
	pods(t, host, "web", 1)

	for _, c := range []struct{ why, manifest string }{
		{"spec.replicas: Invalid value: -1: must be greater than or equal to 0", swapped(t, web, "replicas: 1", "replicas: -1")},
		{`spec.replicas: Invalid value: "1": must be an integer`, swapped(t, web, "replicas: 1", `replicas: "1"`)},
		{"field is immutable", swapped(t, web, "matchLabels: {app: web}", "matchLabels: {app: x}",
			"labels: {app: web}", "labels: {app: x}")},
		{"use httpGet or tcpSocket", swapped(t, web, "        image:", "        readinessProbe: {grpc: {port: 80}}\n        image:")},
		{`no matches for kind "PersistentVolumeClaim"`, "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: x}\n"},
		{"pods are made of what Deployments say", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: b}]}\n"},
	} {
		k.fails(c.why, "apply", "-f", k.file(c.manifest))
	}
	k.fails("Server-side apply not available on the server", "apply", "--server-side", "-f", k.file(web))
	k.fails("spec.nope: unknown field", "patch", "deployment/web", "--type=merge", "-p", `{"spec":{"nope":1}}`)
	k.fails("the value there is another", "patch", "deployment/web", "--type=json", "-p", `[{"op":"test","path":"/spec/replicas","value":7}]`)
	k.fails("a patch cannot rename an object", "patch", "deployment/web", "-p", `{"metadata":{"name":"other"}}`)
	k.fails("is not of this host's log", "annotate", "deployment/web", "a=b", "--resource-version=1")
	k.fails("pods are made of what Deployments say", "delete", "pod", "web-0")
	k.fails("says what the host is, and cannot be changed", "label", "--overwrite", "node", "h1", "kubernetes.io/hostname=other")
	k.fails("node h1: it is alive", "delete", "node", "h1")
	k.fails("cannot be written", "delete", "events", "--all")
	k.says("1 1", "get", "deployment/web", "-o=jsonpath={.spec.replicas} {.metadata.generation}")
}

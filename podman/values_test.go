package podman_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// locked stands for a Secret that the host cannot open.
const locked = `{"locked":true}`

// opens has the reconciler look objects up in its ledger, where they stand as they are.
func (w *world) opens(r *podman.Reconciler) {
	ledger := w.ledger
	r.Values = func(namespace, kind, name string) (map[string][]byte, map[string][]byte, error) {
		o, ok := ledger.View().Lookup(strings.ToLower(kind) + "/" + namespace + "/" + name)
		if !ok {
			return nil, nil, fmt.Errorf("there is none: %w", fs.ErrNotExist)
		}
		if string(o.Version.Object) == locked {
			return nil, nil, errors.New("it is sealed by key 0102: this host does not have the key")
		}
		if kind == "Secret" {
			var s corev1.Secret
			err := json.Unmarshal(o.Version.Object, &s)
			return s.Data, nil, err
		}
		var m corev1.ConfigMap
		err := json.Unmarshal(o.Version.Object, &m)
		data := map[string][]byte{}
		for k, v := range m.Data {
			data[k] = []byte(v)
		}
		return data, m.BinaryData, err
	}
}

// secret declares one with those values; none ends it.
func (w *world) secret(name string, values ...string) {
	w.t.Helper()
	c := projection.Change{Kind: events.Declared, Key: "secret/default/" + name}
	if len(values) > 0 {
		s := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string][]byte{}}
		for i := 0; i < len(values); i += 2 {
			s.Data[values[i]] = []byte(values[i+1])
		}
		c.Object = projection.Encode(s)
	}
	w.record(c)
}

// configMap declares one with those values, and a key b of bytes.
func (w *world) configMap(name string, values ...string) {
	w.t.Helper()
	m := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{},
		BinaryData: map[string][]byte{"b": {0, 0xff}}}
	for i := 0; i < len(values); i += 2 {
		m.Data[values[i]] = values[i+1]
	}
	w.record(projection.Change{Kind: events.Declared, Key: "configmap/default/" + name, Object: projection.Encode(m)})
}

// env is a change of a pod's template.
func env(vars ...corev1.EnvVar) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.Containers[0].Env = append(s.Containers[0].Env, vars...) }
}

func ofSecret(variable, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}}}
}

func ofConfigMap(variable, name, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}}}
}

func optional(e corev1.EnvVar) corev1.EnvVar {
	yes := true
	e.ValueFrom.SecretKeyRef.Optional = &yes
	return e
}

func allOf(secret, prefix string, optional bool) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		s.Containers[0].EnvFrom = append(s.Containers[0].EnvFrom, corev1.EnvFromSource{Prefix: prefix, SecretRef: &corev1.SecretEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Optional: &optional}})
	}
}

func ofPod(variable, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

// What a container takes of Secrets and of its pod stands in its environment, and may be referred to as in Kubernetes.
func TestValues_environment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(w.opens)
		w.ready()
		w.secret("s", "k", "hidden", "also", "$(NOT)")
		web0 := pod("web", 0)
		w.place(host, template(env(
			corev1.EnvVar{Name: "EARLY", Value: "$(A)"}, ofSecret("A", "s", "k"), corev1.EnvVar{Name: "B", Value: "<$(A)$(P_k)>"},
			ofPod("NAME", "metadata.name"), ofPod("NS", "metadata.namespace"), ofPod("NODE", "spec.nodeName"), ofPod("LABEL", "metadata.labels['app']"),
			ofPod("NONE", "metadata.annotations['none']"), ofPod("UID", "metadata.uid"), ofPod("HASH", "metadata.labels['pod-template-hash']"),
			optional(ofSecret("GONE", "none", "k")), optional(ofSecret("KEYLESS", "s", "none")), corev1.EnvVar{Name: "P_also", Value: "mine"},
		), allOf("s", "P_", false), allOf("none", "", true), func(s *corev1.PodSpec) { s.Containers[0].Args = []string{"$(A)", "$(P_k)", "$(GONE)"} }), web0)
		w.settled(time.Second)
		placed, err := w.ledger.View().Placement(web0)
		if err != nil {
			t.Fatal(err)
		}
		got := w.fake.Spec(w.runs(web0).Name)
		want := map[string]string{"EARLY": "$(A)", "A": "hidden", "B": "<hidden$(P_k)>", "NAME": "web-0", "NS": "default", "NODE": host, "LABEL": "web", "NONE": "",
			"UID": projection.PodUID(placed.UID, host), "HASH": placed.SpecHash, "P_k": "hidden", "P_also": "mine"}
		if !maps.Equal(got.Env, want) {
			t.Errorf("got  %q\nwant %q", got.Env, want)
		}
		if a := fmt.Sprint(got.Command); a != "[hidden hidden $(GONE)]" {
			t.Errorf("got arguments %s", a)
		}

		w.secret("s", "k", "other")
		w.settled(time.Minute)
		if c := w.runs(web0); c.Name != got.Name || w.fake.Spec(c.Name).Env["A"] != "hidden" {
			t.Errorf("after the Secret has changed: got %+v, want the same container as before", c)
		}
		if err := w.fake.Remove(t.Context(), got.Name); err != nil {
			t.Fatal(err)
		}
		w.settled(time.Minute)
		if a := w.fake.Spec(w.runs(web0).Name).Env["A"]; a != "other" {
			t.Errorf("made anew: got %q, want what it is now", a)
		}
		for _, o := range []string{projection.ReplicaType, projection.PlacementType} {
			for o := range w.ledger.View().All(o + "/") {
				if strings.Contains(string(o.Version.Object), "hidden") || strings.Contains(string(o.Version.Object), base64.StdEncoding.EncodeToString([]byte("hidden"))) {
					t.Errorf("a value is recorded: %s", o.Version.Object)
				}
			}
		}
		if w.said.count("hidden") > 0 {
			t.Error("a value stands in the log")
		}
	})
}

// The same of ConfigMaps, whose binaryData is no variable.
func TestValues_ofConfigMaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(w.opens)
		w.ready()
		web0, web1, web2 := pod("web", 0), pod("web", 1), pod("web", 2)
		from := func(s *corev1.PodSpec) {
			s.Containers[0].EnvFrom = []corev1.EnvFromSource{{Prefix: "P_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "m"}}}}
		}
		w.place(host, template(env(ofConfigMap("A", "m", "k")), from), web0)
		w.place(host, template(env(ofConfigMap("A", "m", "b"))), web1)
		w.place(host, template(from), web2)
		w.settled(time.Hour)
		if f := w.fact(web2); f.Reason != "CreateContainerConfigError" || f.Message != `configmap "m" not found` {
			t.Errorf("got %+v", f)
		}
		w.configMap("m", "k", "value")
		w.settled(hint)
		if got := w.fake.Spec(w.runs(web0).Name).Env; !maps.Equal(got, map[string]string{"A": "value", "P_k": "value"}) {
			t.Errorf("got %q", got)
		}
		w.runs(web2)
		if f := w.fact(web1); f.Message != "couldn't find key b in ConfigMap default/m" {
			t.Errorf("got %+v", f)
		}
	})
}

// What cannot be had is said in Kubernetes' words, and the container is made as soon as it can be: not only when its back-off is over.
func TestValues_missing(t *testing.T) {
	for _, c := range []struct {
		name, want string
		vars       []corev1.EnvVar
		before     func(*world)
	}{
		{"no Secret", `secret "s" not found`, []corev1.EnvVar{ofSecret("A", "s", "k")}, func(*world) {}},
		{"no key", `couldn't find key k in Secret default/s`, []corev1.EnvVar{ofSecret("A", "s", "k")}, func(w *world) { w.secret("s", "other", "hidden") }},
		{"locked", `secret "s": it is sealed by key 0102: this host does not have the key`, []corev1.EnvVar{optional(ofSecret("A", "s", "k"))},
			func(w *world) {
				w.record(projection.Change{Kind: events.Declared, Key: "secret/default/s", Object: []byte(locked)})
			}},
		{"no text", `key k in Secret default/s is no text, which a variable has to be: mount it as a volume`, []corev1.EnvVar{ofSecret("A", "s", "k")},
			func(w *world) { w.secret("s", "k", "hidden\xff") }},
		{"a zero byte", `key k in Secret default/s is no text, which a variable has to be: mount it as a volume`, []corev1.EnvVar{ofSecret("A", "s", "k")},
			func(w *world) { w.secret("s", "k", "hidden\x00") }},
		{"of a later agent", `a variable is to have the pod's status.podIP, which this agent does not know`,
			[]corev1.EnvVar{ofSecret("A", "s", "k"), ofPod("B", "status.podIP")}, func(w *world) { w.secret("s", "k", "x") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c.before(w)
				w.run(w.opens)
				w.ready()
				web0 := pod("web", 0)
				w.place(host, template(env(c.vars...)), web0, pod("web", 1))
				w.place(host, template(), pod("other", 0))
				w.settled(time.Hour) // so that its back-off is long
				w.runs(pod("other", 0))
				f := w.fact(web0)
				if f == nil || f.Phase != projection.Pending || f.Reason != "CreateContainerConfigError" || f.Message != c.want {
					t.Fatalf("got %+v, want %s", f, c.want)
				}
				if strings.Contains(f.Message, "hidden") || w.said.count("hidden") > 0 {
					t.Error("a value is told")
				}
				index := w.ledger.View().Index()
				w.settled(time.Hour)
				if n := w.ledger.View().Index() - index; n > 0 {
					t.Errorf("%d facts were recorded in an hour in which nothing happened", n)
				}
				if c.name == "of a later agent" {
					return
				}
				w.secret("s", "k", "fine")
				w.settled(hint)
				if got := w.fake.Spec(w.runs(web0).Name).Env["A"]; got != "fine" {
					t.Errorf("got %q", got)
				}
				w.runs(pod("web", 1))
			})
		})
	}
}

func TestValues_nobodyLooksThemUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.ready()
		w.place(host, template(env(ofSecret("A", "s", "k"))), pod("web", 0))
		w.settled(time.Second)
		if f := w.fact(pod("web", 0)); f.Message != `secret "s": nobody looks it up for this agent` {
			t.Errorf("got %+v", f)
		}
	})
}

// hint is enough for a list, which comes before each try, and less than any back-off.
const hint = 500 * time.Millisecond

// The Secret comes after it was looked for, and before that is recorded.
func TestValues_comesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(func(r *podman.Reconciler) {
			w.opens(r)
			look := r.Values
			r.Values = func(namespace, kind, name string) (map[string][]byte, map[string][]byte, error) {
				all, binary, err := look(namespace, kind, name)
				if err != nil {
					w.secret("s", "k", "fine")
				}
				return all, binary, err
			}
		})
		w.ready()
		w.place(host, template(env(ofSecret("A", "s", "k"))), pod("web", 0))
		w.settled(hint)
		w.runs(pod("web", 0))
	})
}

// Each container of a pod takes its own: who waits for a Secret holds up nobody but himself, unless it is the first.
func TestValues_ofSeveralContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(w.opens)
		w.ready()
		web0 := pod("web", 0)
		w.place(host, template(initially("init", "-exit-after=1s"), with("side"), func(p *corev1.PodSpec) {
			p.InitContainers[0].Env = []corev1.EnvVar{ofSecret("A", "first", "k")}
			p.Containers[1].Env = []corev1.EnvVar{ofSecret("A", "second", "k")}
		}), web0)
		w.settled(10 * time.Minute)
		if f := w.fact(web0); f.Phase != projection.Pending || f.Others["init"].Message != `secret "first" not found` {
			t.Errorf("got %+v", f)
		}
		w.secret("first", "k", "1")
		w.settled(10 * time.Minute)
		first := w.container(web0, "")
		if f := w.fact(web0); f.Phase != projection.Running || f.Unready != "container side: CreateContainerConfigError" || f.Others["side"].Message != `secret "second" not found` {
			t.Errorf("got %+v", f)
		}
		w.secret("second", "k", "2")
		w.settled(hint)
		if got := w.fake.Spec(w.container(web0, "side").Name).Env["A"]; got != "2" || w.fact(web0).Unready != "" || w.container(web0, "").ID != first.ID {
			t.Errorf("got %q, %+v", got, w.fact(web0))
		}
	})
}

// On a real Podman: what is missing, and then is not; a restart of the agent bounces nothing.
func TestReal_environmentOfSecrets(t *testing.T) {
	w := newReal(t)
	w.run(w.opens)
	w.ready()
	web0 := pod("env", 0)
	w.place(host, web(env(ofSecret("A", "s", "k"), ofPod("NAME", "metadata.name"), corev1.EnvVar{Name: "B", Value: "<$(A)>"}), allOf("s", "P_", false)), web0)
	w.until("the Secret is missed", func() bool {
		f := w.fact(web0)
		return f != nil && f.Reason == "CreateContainerConfigError" && f.Message == `secret "s" not found`
	})
	w.secret("s", "k", "it's \"this\"\n")
	c := w.running(web0)
	got := w.get(web0, "/env")
	for _, want := range []string{"A=it's \"this\"\n", "B=<it's \"this\"\n>\n", "P_k=it's \"this\"\n", "NAME=env-0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("its environment is %q, and lacks %q", got, want)
		}
	}
	w.restart(w.opens)
	w.ready()
	if now := w.running(web0); stamp(now) != stamp(c) || w.Report().Bounced != 0 {
		t.Errorf("after a restart of the agent: got %s, want %s", stamp(now), stamp(c))
	}
}

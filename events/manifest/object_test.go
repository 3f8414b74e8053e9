package manifest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deployment is a manifest of one Deployment with more lines in its pod's spec.
func deployment(more string) string {
	return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "nginx:1"}]` + more
}

func one(t testing.TB, text string) Object {
	t.Helper()
	items, err := Parse([]byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(items) != 1 {
		t.Fatalf("got %d objects, want 1", len(items))
	}
	return items[0].Object
}

func encoded(t testing.TB, o Object) string {
	t.Helper()
	raw, err := Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestResources(t *testing.T) {
	for _, r := range Resources() {
		o := r.New()
		if got := o.GetObjectKind().GroupVersionKind(); got != r.GroupVersionKind() {
			t.Errorf("New of %s says it is %v", r.Kind, got)
		}
		o.GetObjectKind().SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind(""))
		if got, ok := Of(o); !ok || got.Kind != r.Kind {
			t.Errorf("Of(%T) = %q, %v", o, got.Kind, ok)
		}
		if got, ok := ByKind(r.Kind); !ok || got.Kind != r.Kind {
			t.Errorf("ByKind(%q) = %q, %v", r.Kind, got.Kind, ok)
		}
		if got, ok := ByType(r.Type); !ok || got.Kind != r.Kind {
			t.Errorf("ByType(%q) = %q, %v", r.Type, got.Kind, ok)
		}
		for _, word := range []string{r.Plural, r.Short, r.Type, r.Kind, strings.ToUpper(r.Plural)} {
			if got, ok := ByPlural(word); !ok || got.Kind != r.Kind {
				t.Errorf("ByPlural(%q) = %q, %v", word, got.Kind, ok)
			}
		}
	}
	if r, ok := ByPlural("cronjobs"); ok {
		t.Errorf("ByPlural(cronjobs) = %q, want none", r.Kind)
	}
	if r, ok := Of(&corev1.Pod{}); ok || Key(&corev1.Pod{}) != "" {
		t.Errorf("Of(Pod) = %q, want none", r.Kind)
	}
}

// Line 24 of what went wrong before: the same name of another kind is another object.
func TestKey(t *testing.T) {
	meta := metav1.ObjectMeta{Name: "nginx", Namespace: "default"}
	for _, c := range []struct {
		o                         Object
		key, typ, namespace, name string
	}{
		{&appsv1.Deployment{ObjectMeta: meta}, "deployment/default/nginx", "deployment", "default", "nginx"},
		{&corev1.Service{ObjectMeta: meta}, "service/default/nginx", "service", "default", "nginx"},
		{&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, "service/default/x", "service", "default", "x"},
		{&corev1.Namespace{ObjectMeta: meta}, "namespace/nginx", "namespace", "", "nginx"},
	} {
		if got := Key(c.o); got != c.key {
			t.Errorf("Key(%T) = %q, want %q", c.o, got, c.key)
		}
		typ, namespace, name := SplitKey(c.key)
		if typ != c.typ || namespace != c.namespace || name != c.name {
			t.Errorf("SplitKey(%q) = %q, %q, %q", c.key, typ, namespace, name)
		}
	}
}

func TestDefault_pullPolicy(t *testing.T) {
	for image, want := range map[string]corev1.PullPolicy{
		"nginx": "Always", "nginx:latest": "Always", "localhost:5000/nginx": "Always", "a/b:latest": "Always",
		"nginx:1": "IfNotPresent", "localhost:5000/nginx:1": "IfNotPresent", "nginx@sha256:0": "IfNotPresent",
		"nginx:1@sha256:0": "IfNotPresent", "nginx:latest@sha256:0": "Always",
	} {
		if got := pullPolicy(image); got != want {
			t.Errorf("pull policy of %s = %s, want %s", image, got, want)
		}
	}
}

// Line 26 of what went wrong before: a Deployment without replicas crashed the agent.
func TestDefault_twiceIsOnce(t *testing.T) {
	for file, data := range manifests(t, "testdata/good") {
		items, err := Parse(data, "")
		if err != nil {
			t.Fatal(file, err)
		}
		for _, it := range items {
			before := encoded(t, it.Object)
			Default(it.Object)
			if after := encoded(t, it.Object); after != before {
				t.Errorf("%s %s: defaulted again\n%s\nwant\n%s", file, it.Key, after, before)
			}
		}
	}
	for _, r := range Resources() {
		o := r.New()
		Default(o)
		Validate(o, nil)
		if d, ok := o.(*appsv1.Deployment); ok && (d.Spec.Replicas == nil || *d.Spec.Replicas != 1) {
			t.Errorf("replicas of an empty Deployment: %v, want 1", d.Spec.Replicas)
		}
	}
}

// A patch changes the type of a Service and leaves what was filled in for the type that it had.
func TestDefault_changedServiceType(t *testing.T) {
	old := one(t, "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, ports: [{port: 80}]}}")
	o := old.DeepCopyObject().(*corev1.Service)
	o.Spec.Type = corev1.ServiceTypeClusterIP
	Default(o)
	if errs := Validate(o, old); len(errs) > 0 {
		t.Error(errs)
	}
	if plain := one(t, "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}"); encoded(t, o) != encoded(t, plain) {
		t.Errorf("patched, it is\n%s\nwant\n%s", encoded(t, o), encoded(t, plain))
	}
}

func TestSame(t *testing.T) {
	base := one(t, deployment("\n"))
	recorded := base.DeepCopyObject().(Object)
	recorded.SetGeneration(7)
	recorded.SetCreationTimestamp(metav1.Now())
	recorded.SetUID("u")
	recorded.SetResourceVersion("9")
	recorded.(*appsv1.Deployment).Status.Replicas = 3
	if !Same(base, recorded) {
		t.Error("differs by what the server fills in: not the same")
	}
	if got := encoded(t, recorded); !strings.Contains(got, `"generation":7`) || !strings.Contains(got, `"creationTimestamp":"`) ||
		strings.Contains(got, "status") || strings.Contains(got, "uid") || strings.Contains(got, "resourceVersion") {
		t.Errorf("recorded as %s", got)
	}
	for _, more := range []string{"\n      dnsPolicy: ClusterFirst\n", "\n      restartPolicy: Always\n",
		"\n      securityContext: {}\n", "\n      volumes: []\n", "\n      nodeSelector: {}\n"} {
		if o := one(t, deployment(more)); !Same(base, o) {
			t.Errorf("with%sgot %s, want the same as %s", more, encoded(t, o), encoded(t, base))
		}
	}
	for _, more := range []string{"\n      dnsPolicy: Default\n", "\n      terminationGracePeriodSeconds: 31\n",
		"\n      hostname: a\n", "\n  replicas: 0\n"} {
		if Same(base, one(t, deployment(more))) {
			t.Errorf("with%sthe same", more)
		}
	}
	if Same(base, &corev1.Pod{}) || Same(&corev1.Pod{}, &corev1.Pod{}) {
		t.Error("a Pod is the same as something")
	}
	if service := one(t, "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None}}"); Same(base, service) {
		t.Error("a Service is the same as a Deployment")
	}
}

// An agent of another version recorded the object with other defaults and with fields that this one does not know:
// what it recorded stays as it is, hash and all, and applying the same manifest again changes nothing.
func TestDecode_otherDefaulting(t *testing.T) {
	older := json.RawMessage(`{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"default"},` +
		`"spec":{"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},` +
		`"spec":{"containers":[{"name":"web","image":"nginx:1","resources":{}}]}},"strategy":{}}}`)
	o, err := Decode("deployment", older)
	if err != nil {
		t.Fatal(err)
	}
	if got := encoded(t, o); got != string(older) {
		t.Errorf("read and written again:\n%s\nwant\n%s", got, older)
	}
	if !Same(o, one(t, deployment("\n"))) {
		t.Error("the same manifest applied again is a change")
	}
	newer := json.RawMessage(strings.Replace(string(older), `"strategy":{}`, `"strategy":{},"someday":{"a":[1]}`, 1))
	if o, err = Decode("deployment", newer); err != nil || !Same(o, one(t, deployment("\n"))) {
		t.Errorf("with a field that a newer agent wrote: %v", err)
	}
	if _, err := Decode("cronjob", older); err == nil {
		t.Error("a type that is not known: decoded")
	}
	if _, err := Decode("deployment", older[:100]); err == nil {
		t.Error("half an object: decoded")
	}
}

func TestSpecHash(t *testing.T) {
	// The hash stands in recorded placements: it must never change.
	if got := SpecHash(json.RawMessage(`{"spec":{}}`)); got != "53aa778a9b137a0c" {
		t.Errorf("got %s", got)
	}
}

func TestValidate_update(t *testing.T) {
	old := one(t, deployment("\n")).(*appsv1.Deployment)
	o := old.DeepCopy()
	if errs := Validate(o, old); len(errs) > 0 {
		t.Errorf("unchanged: %v", errs)
	}
	o.Spec.Selector.MatchLabels = map[string]string{"app": "api"}
	o.Spec.Template.Labels = o.Spec.Selector.MatchLabels
	want := `spec.selector: Invalid value: {"matchLabels":{"app":"api"}}: field is immutable`
	if errs := Validate(o, old); len(errs) != 1 || errs[0].Error() != want {
		t.Errorf("got %v, want %s", errs, want)
	}
	renamed := old.DeepCopy()
	renamed.Name, renamed.UID = "x", "2"
	old.UID = "1"
	if errs := Validate(renamed, old); len(errs) != 2 {
		t.Errorf("another name and uid: %v", errs)
	}
	if errs := Validate(old, &corev1.Service{}); len(errs) == 0 {
		t.Error("a Deployment replaces a Service")
	}
	if errs := Validate(&corev1.Pod{}, nil); len(errs) == 0 {
		t.Error("a Pod is valid")
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "b"}, Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1"}}
	svc.Spec.Ports = []corev1.ServicePort{{Port: 1}}
	Default(svc)
	moved := svc.DeepCopy()
	moved.Spec.ClusterIP = "10.0.0.2"
	if errs := Validate(moved, svc); len(errs) != 1 {
		t.Errorf("another clusterIP: %v", errs)
	}
}

func TestDecodeStrict(t *testing.T) {
	for _, good := range []string{`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}`,
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"} {
		o, err := DecodeStrict([]byte(good))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := o.(*corev1.Namespace); !ok || o.GetName() != "a" {
			t.Errorf("got %T %s", o, o.GetName())
		}
	}
	o, err := DecodeStrict([]byte(deployment("\n")))
	if err != nil || o.GetNamespace() != "" || o.(*appsv1.Deployment).Spec.Replicas != nil {
		t.Errorf("want the object as it stands, got %+v, %v", o, err)
	}
	for _, bad := range []string{"", "{}", "null", "[]", "x", "{", `{"apiVersion":"v1","kind":"List","items":[]}`,
		`{"apiVersion":"v1","kind":"Pod"}`, `{"apiVersion":"v1","kind":"Namespace","a":1}`,
		`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a","annotations":{"a":"\ud800"}}}`,
		`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":1}}`,
		"apiVersion: v1\nkind: Namespace\n---\napiVersion: v1\nkind: Namespace\n"} {
		o, err := DecodeStrict([]byte(bad))
		if _, ok := err.(Mistakes); !ok || o != nil {
			t.Errorf("%q: got %v, %v, want Mistakes", bad, o, err)
		}
	}
}

func TestMistakes_Status(t *testing.T) {
	_, err := Parse([]byte(deployment("\n  replicas: -1\n")), "")
	s := err.(Mistakes).Status()
	if s.Code != http.StatusUnprocessableEntity || s.Reason != metav1.StatusReasonInvalid || s.Details.Name != "web" ||
		s.Details.Kind != "Deployment" || s.Details.Group != "apps" || len(s.Details.Causes) != 1 ||
		s.Details.Causes[0] != (metav1.StatusCause{Type: "FieldValueInvalid", Field: "spec.replicas",
			Message: "Invalid value: -1: must be greater than or equal to 0"}) {
		t.Errorf("got %+v %+v", s, s.Details)
	}
	if want := "document 1, line 11: Deployment default/web: spec.replicas: Invalid value: -1: must be greater than or equal to 0"; s.Message != want {
		t.Errorf("got  %s\nwant %s", s.Message, want)
	}
	_, err = Parse([]byte(deployment("\n  replica: 1\n")+"---\nkind: X\n"), "")
	s = err.(Mistakes).Status()
	if s.Code != http.StatusBadRequest || s.Reason != metav1.StatusReasonBadRequest || s.Details.Name != "" || len(s.Details.Causes) != 2 {
		t.Errorf("got %+v %+v", s, s.Details)
	}
}

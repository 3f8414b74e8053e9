package api

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// An agent with other defaults does not roll out what nobody changed: a template that says the same keeps its bytes.
func TestWrite_keepsTheTemplatesBytes(t *testing.T) {
	a := start(t, t.TempDir())
	o, err := manifest.Parse([]byte(deployment("web", 1, "web:1")), "")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := manifest.Encode(o[0].Object)
	if err != nil {
		t.Fatal(err)
	}
	// As an agent would have recorded it that has no default for dnsPolicy, and another order of fields.
	old := strings.Replace(string(raw), `"dnsPolicy":"ClusterFirst",`, "", 1)
	old = strings.Replace(old, `"name":"web","image":"web:1"`, `"image":"web:1","name":"web"`, 1)
	if old == string(raw) || len(old) == len(raw) {
		t.Fatalf("the test does not fit: %s", raw)
	}
	a.record(projection.Change{Kind: events.Declared, Key: "deployment/default/web", Object: []byte(old)})
	template := func() string {
		o, _ := a.ledger.View().Lookup("deployment/default/web")
		from, to, _ := valueAt(o.Version.Object, "spec", "template")
		return string(o.Version.Object[from:to])
	}
	was := template()
	a.want(200, "POST", "/api/v1/manifests", deployment("web", 1, "web:1"))
	if a.index() != 1 {
		t.Error("the same manifest was recorded again")
	}
	a.want(200, "POST", "/api/v1/manifests", deployment("web", 5, "web:1"))
	if got := template(); got != was || a.index() != 2 {
		t.Errorf("scaled: got template %s, want %s", got, was)
	}
	if got := a.want(200, "GET", webPath, ""); got.field("spec.replicas") != "5" {
		t.Errorf("scaled: got %s", got.body)
	}
	a.want(200, "POST", "/api/v1/manifests", deployment("web", 5, "web:2"))
	if got := template(); got == was || !strings.Contains(got, "ClusterFirst") {
		t.Errorf("another image: got template %s", got)
	}
}

// kubectl sends what it makes up by itself in Kubernetes' binary form.
func TestWrite_protobuf(t *testing.T) {
	a := start(t, t.TempDir())
	const as = "Content-Type: application/vnd.kubernetes.protobuf"
	binary := func(kind, version string, o interface{ Marshal() ([]byte, error) }) string {
		raw, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{Kind: kind, APIVersion: version}, Raw: raw}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return "k8s\x00" + string(b)
	}
	ns := binary("Namespace", "v1", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "one"}})
	if got := a.want(201, "POST", "/api/v1/namespaces", ns, as); got.field("metadata.name") != "one" {
		t.Errorf("got %s", got.body)
	}
	items, err := manifest.Parse([]byte(deployment("web", 3, "w:1")), "")
	if err != nil {
		t.Fatal(err)
	}
	d, ok := items[0].Object.(*appsv1.Deployment)
	if !ok {
		t.Fatalf("got a %T", items[0].Object)
	}
	web := binary("Deployment", "apps/v1", d)
	if got := a.want(201, "POST", deploymentsPath, web, as); got.field("spec.template.spec.containers.0.image") != "w:1" {
		t.Errorf("got %s", got.body)
	}
	d.Spec.Template.Spec.PreemptionPolicy = new(corev1.PreemptNever)
	a.want(422, "PUT", webPath, binary("Deployment", "apps/v1", d), as)
	uid := types.UID("other")
	options := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
	a.want(409, "DELETE", webPath, binary("DeleteOptions", "v1", options), as)
	a.want(400, "POST", "/api/v1/namespaces", web, as)
	for _, body := range []string{"", "k8s", "k8s\x00", "k8s\x00\xff\xff\xff", "{}", web[:len(web)/2], binary("Pod", "v1", &corev1.Pod{})} {
		a.want(400, "POST", deploymentsPath, body, as)
	}
}

func TestValueAt(t *testing.T) {
	const doc = `{"a":{"template":1},"spec":{"x":[{"template":2}],"template": {"b":"}\"<"} ,"y":3}}`
	from, to, ok := valueAt([]byte(doc), "spec", "template")
	if got := doc[from:to]; !ok || got != `{"b":"}\"<"}` {
		t.Errorf("got %s, %v", got, ok)
	}
	for _, path := range [][]string{{"none"}, {"spec", "y", "z"}, {"spec", "x", "template"}} {
		if _, _, ok := valueAt([]byte(doc), path...); ok {
			t.Errorf("%v: found", path)
		}
	}
}

package trial

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// The kinds of a group's objects, in the order in which a manifest has them.
const (
	deployment = iota
	service
	ingress
	kinds
)

func kindName(k int) string { return [kinds]string{"Deployment", "Service", "Ingress"}[k] }

// version is the generation that each object of a group carries; 0 is an object that is not there.
type version [kinds]uint64

// group is objects of one name that one client writes, most often all with one manifest. One request for them is
// under way at most, so at any time they are as the last answer said or, if the answer to one request never came,
// as that request wanted them.
type group struct {
	name    string
	acked   version
	pending *version // what a request without an answer wanted; nil when all were answered
	old     version  // what the group was before acked: to tell what was lost from what was never there
}

// annotation keeps the generation of an object, and filler is there to make records of many sizes.
const (
	annotation = "trial/generation"
	filler     = "trial/filler"
)

// fill is text that follows from name and generation, so that an object with the wrong bytes is seen.
func fill(name string, generation uint64) string {
	h := uint64(14695981039346656037)
	for _, c := range []byte(fmt.Sprint(name, "/", generation)) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	rnd := rand.New(rand.NewPCG(h, generation))
	var b strings.Builder
	for n := rnd.IntN(600); b.Len() < n; {
		fmt.Fprintf(&b, "%016x", rnd.Uint64())
	}
	return b.String()
}

// manifest is documents for those of the group's objects whose generation in v is not that in the group's state.
func (g *group) manifest(v version) string {
	var docs []string
	for k := range kinds {
		if v[k] != g.acked[k] {
			docs = append(docs, g.document(k, v[k]))
		}
	}
	return strings.Join(docs, "---\n")
}

func (g *group) document(k int, generation uint64) string {
	api := [kinds]string{"apps/v1", "v1", "networking.k8s.io/v1"}[k]
	head := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n  annotations:\n    %s: \"%d\"\n    %s: \"%s\"\nspec:\n",
		api, kindName(k), g.name, annotation, generation, filler, fill(g.name, generation))
	switch k {
	case deployment:
		return head + DeploymentSpec(g.name, 0, "")
	case service:
		return head + fmt.Sprintf("  selector: {app: %s}\n  ports: [{name: http, port: 80}]\n", g.name)
	default:
		return head + fmt.Sprintf("  rules:\n  - host: %s.example.com\n    http:\n      paths:\n"+
			"      - path: /\n        pathType: Prefix\n        backend: {service: {name: %[1]s, port: {name: http}}}\n", g.name)
	}
}

// DeploymentSpec is the spec, indented by two, of a Deployment of the test image with one container port. say, unless
// "", goes into the pods' environment.
func DeploymentSpec(name string, replicas int, say string) string {
	env := ""
	if say != "" {
		env = fmt.Sprintf("        env: [{name: SAY, value: \"%s\"}]\n", say)
	}
	return fmt.Sprintf("  replicas: %d\n  selector:\n    matchLabels: {app: %s}\n  template:\n    metadata:\n"+
		"      labels: {app: %[2]s}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      - name: web\n"+
		"        image: localhost/podman-swarm-web:1\n        ports: [{containerPort: 80}]\n%s", replicas, name, env)
}

// Deployment is a manifest of a Deployment of the test image.
func Deployment(name string, replicas int, say string) string {
	return fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: %s\nspec:\n%s",
		name, DeploymentSpec(name, replicas, say))
}

package api

import (
	"fmt"
	"strings"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// deployment is a manifest; more is put into its spec.
func deployment(name string, replicas int, image string, labels ...string) string {
	more := ""
	for _, l := range labels {
		more += "\n    " + l
	}
	if more != "" {
		more = "\n  labels:" + more
	}
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %s%s
spec:
  replicas: %d
  selector:
    matchLabels: {app: %s}
  template:
    metadata:
      labels: {app: %s}
    spec:
      containers:
      - name: web
        image: %s
        ports:
        - containerPort: 80
`, name, more, replicas, name, name, image)
}

func service(name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\nspec:\n  selector: {app: %s}\n  ports:\n  - port: 80\n", name, name)
}

func anIngress(name string) string {
	return fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: %s
spec:
  rules:
  - host: %s.example
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: %s, port: {number: 80}}}
`, name, name, name)
}

const (
	deploymentsPath = "/apis/apps/v1/namespaces/default/deployments"
	webPath         = deploymentsPath + "/web"
)

func docs(parts ...string) string { return strings.Join(parts, "---\n") }

// parsed are the changes that a manifest comes to, upon nothing.
func parsed(text string) ([]projection.Change, error) {
	items, err := manifest.Parse([]byte(text), "")
	if err != nil {
		return nil, err
	}
	var all []projection.Change
	for _, it := range items {
		raw, err := manifest.Encode(it.Object)
		if err != nil {
			return nil, err
		}
		all = append(all, projection.Change{Kind: events.Declared, Key: it.Key, Object: raw})
	}
	return all, nil
}

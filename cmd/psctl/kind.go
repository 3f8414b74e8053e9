package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// kind is one kind of object that the agent shows: what it is called, where it is, and how it stands in a table.
type kind struct {
	Kind, plural, singular, short string
	group, version                string
	namespaced                    bool
	declared                      bool // by people: can be applied and deleted
	header, wide                  []string
	row                           func(raw json.RawMessage, now time.Time) (row, error)
}

// row is the cells of one object, and those that -o wide adds.
type row struct{ cells, wide []string }

// rowOf reads an object into Kubernetes' type and takes its cells from that.
func rowOf[T any](cells func(o *T, now time.Time) row) func(json.RawMessage, time.Time) (row, error) {
	return func(raw json.RawMessage, now time.Time) (row, error) {
		o := new(T)
		if err := json.Unmarshal(raw, o); err != nil {
			return row{}, err
		}
		return cells(o, now), nil
	}
}

// kinds is the table of kinds, in the order of get all.
func kinds() []kind {
	return []kind{
		{Kind: "Deployment", plural: "deployments", singular: "deployment", short: "deploy", group: "apps", version: "v1",
			namespaced: true, declared: true, row: rowOf(deploymentRow),
			header: []string{"NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"}, wide: []string{"IMAGES", "SELECTOR"}},
		{Kind: "Service", plural: "services", singular: "service", short: "svc", version: "v1",
			namespaced: true, declared: true, row: rowOf(serviceRow),
			header: []string{"NAME", "TYPE", "CLUSTER-IP", "PORTS", "ENDPOINTS", "AGE"}, wide: []string{"SELECTOR"}},
		{Kind: "Ingress", plural: "ingresses", singular: "ingress", short: "ing", group: "networking.k8s.io", version: "v1",
			namespaced: true, declared: true, row: rowOf(ingressRow),
			header: []string{"NAME", "CLASS", "HOSTS", "SERVICES", "AGE"}, wide: []string{"PATHS"}},
		{Kind: "Pod", plural: "pods", singular: "pod", short: "po", version: "v1", namespaced: true, row: rowOf(podRow),
			header: []string{"NAME", "READY", "STATUS", "RESTARTS", "AGE", "NODE", "PORTS", "MESSAGE"}, wide: []string{"IP", "IMAGE", "CONTAINER"}},
		{Kind: "ConfigMap", plural: "configmaps", singular: "configmap", short: "cm", version: "v1",
			namespaced: true, declared: true, row: rowOf(configMapRow), header: []string{"NAME", "DATA", "AGE"}},
		{Kind: "Secret", plural: "secrets", singular: "secret", short: "sec", version: "v1",
			namespaced: true, declared: true, row: rowOf(secretRow), header: []string{"NAME", "TYPE", "DATA", "AGE"}},
		{Kind: "Endpoints", plural: "endpoints", singular: "endpoints", short: "ep", version: "v1", namespaced: true, declared: true, row: rowOf(endpointsRow),
			header: []string{"NAME", "ENDPOINTS", "AGE"}, wide: []string{"NOT READY"}},
		{Kind: "Namespace", plural: "namespaces", singular: "namespace", short: "ns", version: "v1", declared: true,
			row: rowOf(namespaceRow), header: []string{"NAME", "STATUS", "AGE"}},
		{Kind: "Node", plural: "nodes", singular: "node", short: "no", version: "v1", row: rowOf(nodeRow),
			header: []string{"NAME", "STATUS", "ADDRESS", "VERSION", "AGE"}, wide: []string{"PODMAN", "OS", "KERNEL", "CPUS", "MEMORY"}},
		{Kind: "Event", plural: "events", singular: "event", short: "ev", version: "v1", namespaced: true, row: rowOf(eventRow),
			header: []string{"LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"}, wide: []string{"NODE"}},
	}
}

// kindOf finds a kind by what people type: deployments, deployment, deploy, deployments.apps, Deployment.
func kindOf(word string) (kind, error) {
	w := strings.ToLower(word)
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool {
		name, group, ok := strings.Cut(w, ".")
		return slices.Contains([]string{k.plural, k.singular, k.short}, name) && (!ok || group == k.group)
	})
	if i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, k := range all {
		names = append(names, k.plural)
	}
	return kind{}, usage("there is no kind %q: there are %s", word, andWord(names))
}

// the is the kind of that name as manifests write it, which must be one of kinds.
func the(name string) kind {
	all := kinds()
	return all[slices.IndexFunc(all, func(k kind) bool { return k.Kind == name })]
}

// list is the path of all objects of the kind: those of one namespace, or with "" those of all.
func (k kind) list(namespace string) string {
	path := []string{"api", k.version}
	if k.group != "" {
		path = []string{"apis", k.group, k.version}
	}
	if k.namespaced && namespace != "" {
		path = append(path, "namespaces", namespace)
	}
	return client.Path(append(path, k.plural)...)
}

// one is the path of one object.
func (k kind) one(namespace, name string) string { return k.list(namespace) + client.Path(name) }

// label is how the kind and a name stand in output, as kubectl has it: deployment.apps/web.
func (k kind) label(name string) string { return k.resource() + "/" + name }

func (k kind) resource() string { return strings.TrimSuffix(k.singular+"."+k.group, ".") }

func (k kind) apiVersion() string { return strings.TrimPrefix(k.group+"/"+k.version, "/") }

// labelOf is the label of an object by its kind as manifests write it.
func labelOf(name, kindName string) string {
	for _, k := range kinds() {
		if k.Kind == kindName {
			return k.label(name)
		}
	}
	return strings.ToLower(kindName) + "/" + name
}

// target is what a command line names: all objects of a kind, or some by name.
type target struct {
	kind
	names []string
}

// targets reads KIND[,KIND…] [NAME…] and KIND/NAME…, one target per kind. all stands for what people declare and the
// pods that come of it.
func targets(args []string) ([]target, error) {
	if strings.Contains(args[0], "/") {
		return slashed(args)
	}
	var ts []target
	for _, word := range strings.Split(args[0], ",") {
		if strings.EqualFold(word, "all") {
			for _, k := range kinds()[:4] {
				ts = join(ts, target{kind: k})
			}
			continue
		}
		k, err := kindOf(word)
		if err != nil {
			return nil, err
		}
		ts = join(ts, target{kind: k})
	}
	names := args[1:]
	for _, n := range names {
		if n == "" || strings.Contains(n, "/") {
			return nil, usage("%q is no name: want KIND NAME…, or KIND/NAME…", n)
		}
	}
	if len(names) > 0 && len(ts) > 1 {
		return nil, usage("names can be given for one kind, not for %s", args[0])
	}
	ts[0].names = names
	return ts, nil
}

// slashed reads KIND/NAME….
func slashed(args []string) ([]target, error) {
	var ts []target
	for _, a := range args {
		word, name, ok := strings.Cut(a, "/")
		if !ok || name == "" || strings.Contains(name, "/") {
			return nil, usage("%q: want KIND/NAME, like deployment/web", a)
		}
		k, err := kindOf(word)
		if err != nil {
			return nil, err
		}
		ts = join(ts, target{k, []string{name}})
	}
	return ts, nil
}

// join adds a target, with its names to those of a kind that is there already.
func join(ts []target, t target) []target {
	for i := range ts {
		if ts[i].Kind == t.Kind {
			ts[i].names = append(ts[i].names, t.names...)
			return ts
		}
	}
	return append(ts, t)
}

// absent says that an object is not there, and where it was looked for.
func (p *program) absent(k kind, name string) string {
	if !k.namespaced {
		return fmt.Sprintf("no %s %q", k.singular, name)
	}
	return fmt.Sprintf("no %s %q in namespace %s", k.singular, name, p.ns())
}

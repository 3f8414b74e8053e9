package api

import (
	"net/http"
	"runtime"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

// discoveryRoutes tell clients what is served: kubectl asks before anything else.
func (s *Server) discoveryRoutes(handle func(string, func(*request) error)) {
	answer := func(pattern string, v any) {
		handle(pattern, func(q *request) error { return q.json(http.StatusOK, v) })
	}
	answer("GET /version", version.Info{
		// The version of Kubernetes' API that this is like; clients compare theirs with it.
		Major: "1", Minor: "37", GitVersion: "v1.37.0+podman-swarm", GitTreeState: "clean", GitCommit: s.Version,
		GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH,
	})
	answer("GET /api", metav1.APIVersions{
		TypeMeta: metav1.TypeMeta{Kind: "APIVersions", APIVersion: "v1"}, Versions: []string{"v1"},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
	})
	groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	lists := map[string]*metav1.APIResourceList{}
	for _, r := range resources() {
		l := lists[r.group]
		if l == nil {
			l = &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
				GroupVersion: r.gvk().GroupVersion().String()}
			lists[r.group] = l
			if r.group != "" {
				groups.Groups = append(groups.Groups, apiGroup(r.group))
			}
		}
		l.APIResources = append(l.APIResources, apiResources(r)...)
	}
	// kubectl drain evicts, where there is this group. Its one kind is a part of a pod, and is named here only because clients
	// take a group with nothing in it for a broken one.
	groups.Groups = append(groups.Groups, apiGroup("policy"))
	lists["policy"] = &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: "policy/v1", APIResources: []metav1.APIResource{{
			Name: "pods/eviction", Namespaced: true, Kind: "Eviction", Verbs: metav1.Verbs{"create"}}}}
	answer("GET /apis", groups)
	for _, g := range groups.Groups {
		answer("GET /apis/"+g.Name, g)
	}
	for group, l := range lists {
		if group == "" {
			answer("GET /api/v1", l)
			continue
		}
		answer("GET /apis/"+group+"/v1", l)
	}
}

func apiGroup(group string) metav1.APIGroup {
	v := metav1.GroupVersionForDiscovery{GroupVersion: group + "/v1", Version: "v1"}
	return metav1.APIGroup{TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: group,
		Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
}

func apiResources(r *resource) []metav1.APIResource {
	a := metav1.APIResource{Name: r.plural, SingularName: r.singular, Namespaced: r.namespaced, Kind: r.kind,
		ShortNames: r.short, Verbs: metav1.Verbs{"get", "list", "watch"}}
	if r.declared != nil {
		a.Verbs = metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
	}
	switch r.kind {
	case "Deployment", "Service", "Pod":
		a.Categories = []string{"all"}
	case "Namespace": // not all at once
		a.Verbs = metav1.Verbs{"create", "delete", "get", "list", "patch", "update", "watch"}
	}
	if r.kind == "Node" {
		a.Verbs = metav1.Verbs{"delete", "get", "list", "patch", "update", "watch"}
	}
	sub := metav1.APIResource{Namespaced: true}
	switch r.kind {
	case "Deployment":
		sub.Name, sub.Kind, sub.Group, sub.Version = "deployments/scale", "Scale", "autoscaling", "v1"
		sub.Verbs = metav1.Verbs{"get", "patch", "update"}
	case "Pod":
		sub.Name, sub.Kind, sub.Verbs = "pods/log", "Pod", metav1.Verbs{"get"}
		return []metav1.APIResource{a, {Name: "pods/eviction", Namespaced: true, Kind: "Eviction", Group: "policy", Version: "v1",
			Verbs: metav1.Verbs{"create"}}, sub}
	default:
		return []metav1.APIResource{a}
	}
	return []metav1.APIResource{a, sub}
}

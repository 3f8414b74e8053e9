package snapshot

import (
	"encoding/json"
	"fmt"
)

// nowhereNote is the annotation in which an Ingress of a file of version 1 keeps those of its paths that lead to no Service, as the file has
// them: a JSON list of nowhere. The original wrote them and routed them nowhere; in Kubernetes, and here, there is no path without a backend.
const nowhereNote = "podman-swarm/paths-without-backend"

// nowhere are paths of one rule that lead to no Service.
type nowhere struct {
	Host  string            `json:"host"`
	Paths []json.RawMessage `json:"paths"`
}

// annotated are the annotations that the file gives an Ingress, and that which keeps its paths that lead nowhere.
func (f *fields) annotated() map[string]string {
	all := map[string]string{}
	f.read("annotations", &all)
	kept, err := json.Marshal(f.nowhere)
	if err != nil {
		f.fail("%v", err)
	}
	all[nowhereNote] = string(kept)
	return all
}

func ingressOf(f *fields) any {
	var out []map[string]any
	f.each("rules", func(r *fields) {
		rule, host := map[string]any{}, ""
		if r.read("host", &host); host != "" {
			rule["host"] = host
		}
		var originals []json.RawMessage // paths as they stand there: what leads nowhere is kept so
		r.read("paths", &originals)
		var paths []map[string]any
		none := nowhere{Host: host}
		r.each("paths", func(p *fields) {
			path, typ, service, port := "", "ImplementationSpecific", "", 0
			p.read("path", &path)
			p.read("pathtype", &typ)
			p.read("servicename", &service)
			p.read("serviceport", &port)
			if n := len(paths) + len(none.Paths); service == "" && port == 0 {
				none.Paths = append(none.Paths, originals[n])
				f.nowhereAt = append(f.nowhereAt, fmt.Sprintf("%s[%d].%s[%d]", f.names["rules"], len(out), r.names["paths"], n))
				return
			}
			paths = append(paths, map[string]any{"path": path, "pathType": typ,
				"backend": map[string]any{"service": map[string]any{"name": service, "port": map[string]any{"number": port}}}})
		})
		if len(paths) > 0 {
			rule["http"] = map[string]any{"paths": paths}
		}
		if none.Paths != nil {
			f.nowhere = append(f.nowhere, none)
		}
		out = append(out, rule)
	})
	return map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": map[string]any{"rules": out}}
}

package api

import (
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// openAPI is as much of an OpenAPI v3 document as kubectl (1.29 and later) reads before it changes something: which query parameters a PATCH of each kind
// has. That fieldValidation is among them leaves to the server what the manifest's fields are to be; without any document kubectl wants --validate=false.
// There are no schemas, by which kubectl would compute patches; it has those of all kinds that are served in itself.
type openAPI struct {
	OpenAPI string                 `json:"openapi"`
	Info    openAPIInfo            `json:"info"`
	Paths   map[string]openAPIPath `json:"paths"`
}

type openAPIInfo struct {
	Title   string `json:"title"`
	Version string `json:"version"`
}

type openAPIPath struct {
	Patch openAPIOperation `json:"patch"`
}

type openAPIOperation struct {
	Action     string                      `json:"x-kubernetes-action"`
	Kind       metav1.GroupVersionKind     `json:"x-kubernetes-group-version-kind"`
	Parameters []openAPIParameter          `json:"parameters"`
	Responses  map[string]openAPIPlainText `json:"responses"` // which there must be
}

type openAPIParameter struct {
	Name string `json:"name"`
	In   string `json:"in"`
}

type openAPIPlainText struct {
	Description string `json:"description"`
}

// openAPIRoutes serve a document for each group, and the list of them.
func (s *Server) openAPIRoutes(handle func(string, func(*request) error)) {
	type place struct {
		URL string `json:"serverRelativeURL"`
	}
	list := map[string]place{}
	documents := map[string]*openAPI{}
	for _, r := range resources() {
		group := "apis/" + r.group + "/v1"
		if r.group == "" {
			group = "api/v1"
		}
		d := documents[group]
		if d == nil {
			d = &openAPI{"3.0.0", openAPIInfo{"Podman Swarm", s.Version}, map[string]openAPIPath{}}
			documents[group], list[group] = d, place{"/openapi/v3/" + group}
		}
		path := "/" + group
		if r.namespaced {
			path += "/namespaces/{namespace}"
		}
		operation := openAPIOperation{Action: "patch", Kind: metav1.GroupVersionKind(r.gvk()), Responses: map[string]openAPIPlainText{"200": {"OK"}}}
		for _, name := range []string{"dryRun", "fieldManager", "fieldValidation"} {
			operation.Parameters = append(operation.Parameters, openAPIParameter{name, "query"})
		}
		d.Paths[path+"/"+r.plural+"/{name}"] = openAPIPath{operation}
	}
	answer := func(pattern string, v any) {
		handle(pattern, func(q *request) error { return q.json(http.StatusOK, v) })
	}
	answer("GET /openapi/v3", map[string]any{"paths": list})
	for group, d := range documents {
		answer("GET /openapi/v3/"+group, d)
	}
	v2 := openAPIv2("Podman Swarm", s.Version)
	handle("GET /openapi/v2", func(q *request) error {
		q.w.Header().Set("Content-Type", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
		_, err := q.w.Write(v2)
		return err
	})
}

// openAPIv2 is a document of version 2, in the one form in which kubectl reads it (openapi.v2.Document of gnostic), with nothing in it. It is asked for of
// kinds that the documents of version 3 do not have: then there is nothing to hold the manifest to, and kubectl goes on to say that there is no such kind.
func openAPIv2(title, version string) []byte {
	const swagger, info, paths = 1, 2, 8 // fields of a Document; 1 and 2 of its info are these
	text := func(b []byte, field protowire.Number, v string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
	}
	b := text(nil, swagger, "2.0")
	b = text(b, info, string(text(text(nil, 1, title), 2, version)))
	return text(b, paths, "")
}

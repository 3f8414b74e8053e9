package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/podman-swarm/podman-swarm/events/manifest"
)

const protobuf = "application/vnd.kubernetes.protobuf"

// object reads a body that is one object: JSON, YAML, or the binary form, which kubectl sends for what it makes up by
// itself (create namespace, create deployment) and which is handed on as JSON.
func (q *request) object() ([]byte, error) {
	switch t := q.mediaType(); t {
	case protobuf:
		data, err := q.body(maxObject)
		if err != nil {
			return nil, err
		}
		return fromProtobuf(data)
	case "", "application/json", "application/yaml", "application/x-yaml", "text/yaml", "application/x-www-form-urlencoded":
		// The last is what curl says unless it is told otherwise.
		return q.body(maxObject)
	default:
		return nil, refused(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
			fmt.Sprintf("a body of type %q: want application/json or application/yaml", t))
	}
}

// fromProtobuf turns Kubernetes' binary form of an object into JSON. Fields that its type does not have are lost, which
// is so in every server that reads this form.
func fromProtobuf(data []byte) ([]byte, error) {
	var envelope runtime.Unknown
	raw, ok := bytes.CutPrefix(data, []byte("k8s\x00"))
	if !ok {
		return nil, badRequest("the body is not what its type, %s, says", protobuf)
	}
	if err := envelope.Unmarshal(raw); err != nil {
		return nil, badRequest("the body is not what its type, %s, says: %v", protobuf, err)
	}
	var o interface{ Unmarshal([]byte) error }
	if envelope.Kind == "DeleteOptions" {
		o = &metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{Kind: envelope.Kind, APIVersion: envelope.APIVersion}}
	} else if envelope.Kind == "Eviction" {
		o = &policyv1.Eviction{TypeMeta: metav1.TypeMeta{Kind: envelope.Kind, APIVersion: envelope.APIVersion}}
	} else if r, ok := manifest.ByKind(envelope.Kind); ok && r.APIVersion() == envelope.APIVersion {
		o, _ = r.New().(interface{ Unmarshal([]byte) error })
	}
	if o == nil {
		return nil, badRequest("no kind %q of %q", envelope.Kind, envelope.APIVersion)
	}
	if err := o.Unmarshal(envelope.Raw); err != nil {
		return nil, badRequest("%s: %v", envelope.Kind, err)
	}
	return json.Marshal(o)
}

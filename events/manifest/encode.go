package manifest

//lint:file-ignore SA1019 Endpoints are written by hand; see endpoints.go

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// MaxObjectBytes bounds one object as it is recorded, as it does in Kubernetes' own store.
const MaxObjectBytes = 1536 << 10

// Encode gives the bytes to record: compact JSON of what was declared, the same for the same object on every host. The
// status and what each server fills in by itself (uid, resourceVersion, managedFields, selfLink, deletion) are left
// out; generation and creationTimestamp stay. The object is not changed.
func Encode(o Object) (json.RawMessage, error) {
	r, ok := Of(o)
	if !ok {
		return nil, fmt.Errorf("encode %T %s: not a kind that can be declared", o, o.GetName())
	}
	holds := contentOf(o)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people read the log
	err := e.Encode(struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            any               `json:"spec,omitempty"`
		content
	}{r.typeMeta(), metav1.ObjectMeta{
		Name:              o.GetName(),
		Namespace:         o.GetNamespace(),
		Generation:        o.GetGeneration(),
		CreationTimestamp: o.GetCreationTimestamp(),
		Labels:            o.GetLabels(),
		Annotations:       o.GetAnnotations(),
	}, r.spec(o), holds})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", label(r.Kind, o.GetNamespace(), o.GetName()), err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// content is what an object of a kind without a spec holds.
type content struct {
	Immutable  *bool                   `json:"immutable,omitempty"`
	Type       corev1.SecretType       `json:"type,omitempty"`
	Data       any                     `json:"data,omitempty"`
	BinaryData map[string][]byte       `json:"binaryData,omitempty"`
	Subsets    []corev1.EndpointSubset `json:"subsets,omitempty"`
}

func contentOf(o Object) (c content) {
	switch o := o.(type) {
	case *corev1.ConfigMap:
		c.Immutable, c.BinaryData = o.Immutable, o.BinaryData
		if len(o.Data) > 0 {
			c.Data = o.Data
		}
	case *corev1.Endpoints:
		c.Subsets = o.Subsets
	case *corev1.Secret:
		c.Type = o.Type
		if len(o.Data) > 0 {
			c.Data = o.Data
		}
	}
	return c
}

// Decode reads what was recorded of an object of the type ("deployment"), as it was recorded: nothing is defaulted or
// checked. Fields that this version does not know are passed over, since a newer agent may have written them; they are
// still in the recorded bytes.
func Decode(typ string, raw json.RawMessage) (Object, error) {
	r, ok := ByType(typ)
	if !ok {
		return nil, fmt.Errorf("decode recorded object of type %q: not a type that can be declared", typ)
	}
	o := r.New()
	if err := utiljson.Unmarshal(raw, o); err != nil {
		return nil, fmt.Errorf("decode recorded %s: %w", r.Type, err)
	}
	o.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	return o, nil
}

// Same reports whether two objects declare the same, by today's defaults and whatever was default when they were
// recorded: applying the one over the other changes nothing. Generation, creationTimestamp and all that Encode leaves
// out do not count. Neither object is changed.
func Same(a, b Object) bool {
	x, err1 := declared(a)
	y, err2 := declared(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// declared is the encoding of a defaulted copy, without what the server counts.
func declared(o Object) (json.RawMessage, error) {
	o = o.DeepCopyObject().(Object) // of the type that o is
	Default(o)
	o.SetGeneration(0)
	o.SetCreationTimestamp(metav1.Time{})
	return Encode(o)
}

// SpecHash names a pod template by its recorded bytes: 16 hexadecimal digits. It is made once, when a placement is
// recorded, and compared ever after: the same template written by an agent of another version may have another hash.
func SpecHash(template json.RawMessage) string {
	sum := sha256.Sum256(template)
	return hex.EncodeToString(sum[:8])
}

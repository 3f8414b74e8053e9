package manifest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Mistake is one thing that is wrong with a manifest, and where.
type Mistake struct {
	Document int    // from 1, among the documents that hold something; 0: the manifest as a whole
	Line     int    // from 1, in the whole manifest; 0: nowhere in particular
	Object   string // "Deployment default/web"; "" where it could not be told
	Field    string // "spec.template.spec.containers[0].image"; "" where it is no field's
	// Type is Kubernetes' word for what is wrong: FieldValueRequired, FieldValueInvalid, …. It is CauseTypeUnknown
	// for a field that does not exist, and "" for what could not be read, or in more than one way.
	Type    metav1.CauseType
	Message string // Kubernetes' own text: "Invalid value: -1: must be greater than or equal to 0"

	resource string // plural of the object's kind, for Status
	name     string
}

// CauseTypeUnknown is the Type of a mistake about a field that the kind does not have.
const CauseTypeUnknown metav1.CauseType = "FieldUnknown"

// Error is the mistake on one line, where it is first.
func (m Mistake) Error() string {
	var parts []string
	switch {
	case m.Document > 0 && m.Line > 0:
		parts = append(parts, fmt.Sprintf("document %d, line %d", m.Document, m.Line))
	case m.Line > 0:
		parts = append(parts, fmt.Sprintf("line %d", m.Line))
	case m.Document > 0:
		parts = append(parts, fmt.Sprintf("document %d", m.Document))
	}
	for _, s := range []string{m.Object, m.Field, m.Message} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Map(func(r rune) rune { // names are whatever the manifest says, and this goes to terminals
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.Join(parts, ": "))
}

// Mistakes is everything that is wrong with a manifest, in the order of its lines. An empty Mistakes is no error;
// Parse never returns one.
type Mistakes []Mistake

// Error has one line per mistake.
func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// Status is the mistakes as an answer of the API, with a cause for each. It is Invalid (422) when everything could be
// read and did not hold, and BadRequest (400) otherwise. When all mistakes are one object's, its details name it, and
// kubectl prints them as from any cluster; the lines are in the message either way.
func (ms Mistakes) Status() *metav1.Status {
	s := &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure,
		Reason:   metav1.StatusReasonBadRequest,
		Code:     http.StatusBadRequest,
		Message:  ms.Error(),
		Details:  &metav1.StatusDetails{},
	}
	valid := func(m Mistake) bool { return m.Type != "" && m.Type != CauseTypeUnknown && m.Type != typeInvalid }
	if !slices.ContainsFunc(ms, func(m Mistake) bool { return !valid(m) }) {
		s.Reason, s.Code = metav1.StatusReasonInvalid, http.StatusUnprocessableEntity
	}
	for _, m := range ms {
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: m.Type, Field: m.Field, Message: m.Message})
	}
	if len(ms) == 0 || slices.ContainsFunc(ms, func(m Mistake) bool { return m.Object != ms[0].Object }) {
		return s
	}
	if r, ok := ByPlural(ms[0].resource); ok {
		s.Details.Name, s.Details.Group, s.Details.Kind = ms[0].name, r.Group, r.Kind
	}
	return s
}

const typeInvalid = metav1.CauseType(field.ErrorTypeTypeInvalid)

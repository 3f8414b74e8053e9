package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// fail answers with an error, as a Status.
func (q *request) fail(err error) {
	var ms manifest.Mistakes
	if errors.As(err, &ms) {
		q.refuse(ms)
		return
	}
	st := statusOf(err)
	if st.Code >= http.StatusInternalServerError && st.Reason == metav1.StatusReasonInternalError {
		q.s.log().Error("a request failed", "method", q.Method, "path", q.URL.Path, "error", err)
	}
	if st.Details != nil && st.Details.RetryAfterSeconds > 0 {
		q.w.Header().Set("Retry-After", strconv.Itoa(int(st.Details.RetryAfterSeconds)))
	}
	_ = q.json(int(st.Code), st) // a Status always marshals
}

// refuse answers with all that is wrong with a manifest or an object.
func (q *request) refuse(ms manifest.Mistakes) {
	answer := Refusal{Status: *ms.Status()}
	for _, m := range ms {
		answer.Mistakes = append(answer.Mistakes, Mistake{m.Document, m.Line, m.Object, m.Field, string(m.Type), m.Message})
	}
	_ = q.json(int(answer.Code), answer) // neither is anything that does not marshal
}

// statusOf is the one table from errors to answers.
func statusOf(err error) metav1.Status {
	var api apierrors.APIStatus
	switch {
	case errors.As(err, &api):
		st := api.Status()
		st.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		return st
	case errors.Is(err, events.ErrFull):
		err = refused(http.StatusInsufficientStorage, "InsufficientStorage", err.Error())
	case errors.Is(err, events.ErrFailed):
		err = refused(http.StatusInternalServerError, metav1.StatusReasonInternalError,
			"outcome unknown: "+err.Error()+"; the agent must be restarted")
	case errors.Is(err, projection.ErrClosed):
		err = unavailable("the agent is stopping: nothing was recorded")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		err = unavailable("the request ended before its turn came: nothing was recorded")
	case errors.Is(err, ErrMisfit):
		err = refused(http.StatusConflict, metav1.StatusReasonConflict, err.Error())
	case errors.Is(err, fs.ErrNotExist):
		err = refused(http.StatusNotFound, metav1.StatusReasonNotFound, err.Error())
	default:
		err = refused(http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error())
	}
	return statusOf(err)
}

// refused is an error that is answered as it is.
func refused(code int32, reason metav1.StatusReason, message string) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}}
}

func badRequest(format string, a ...any) error {
	return apierrors.NewBadRequest(fmt.Sprintf(format, a...))
}

// unavailable is a 503 after which the same is worth another try: clients of Kubernetes try by themselves.
func unavailable(message string) error {
	err := refused(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, message)
	err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return err
}

func notServed(what string) error {
	return refused(http.StatusNotImplemented, "NotImplemented", what+" is not served by this agent")
}

// unknownPath is Kubernetes' answer to a path that it does not have.
func unknownPath(path string) error {
	err := refused(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
	err.ErrStatus.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Message: "404 page not found: " + path}}}
	return err
}

// modified is the answer to a write by somebody who has not seen what is there now.
func modified(res schema.GroupResource, name, why string) error {
	return apierrors.NewConflict(res, name, errors.New(why))
}

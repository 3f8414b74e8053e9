package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/podman-swarm/podman-swarm/projection"
)

// podLog answers for pods/NAME/log: the lines of its container, as they come if that is asked for.
func (s *Server) podLog(q *request, t target) error {
	if q.Method != http.MethodGet {
		return apierrors.NewMethodNotSupported(t.gr(), strings.ToLower(q.Method))
	}
	if s.Logs == nil {
		return notServed("a pod's log")
	}
	o, most, err := logOptions(q, s.now())
	if err != nil {
		return err
	}
	l := s.look()
	shown, err := s.shown(l, t.resource, t.name)
	if err != nil {
		return err
	}
	container, err := s.container(l, shown, t.name, q.URL.Query().Get("container"))
	if err != nil {
		return err
	}
	p, _ := projection.PodNamed(t.namespace, t.name.name)
	placed, err := l.Placement(p)
	if err != nil || placed == nil {
		return cmp.Or[error](err, apierrors.NewNotFound(t.gr(), t.name.name))
	}
	if a := l.absence(placed.Host); a != nil {
		return unreachable(a.text + ": the log of its container can be read when it is heard again")
	}
	ctx, cancel := q.streaming()
	defer cancel()
	r, err := s.Logs(ctx, placed.Host, container, o)
	if err != nil {
		return s.logError(placed.Host, err)
	}
	q.copy(ctx, r, most)
	return nil
}

// logError is why the log of a container cannot be had, with the host that it is on when that is another one.
func (s *Server) logError(host string, err error) error {
	var api apierrors.APIStatus
	if host == s.Node || errors.As(err, &api) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unreachable("the container runs on host " + host + ", and its log cannot be had from there: " + err.Error())
}

// unreachable says that another host does not give what is asked for.
func unreachable(message string) error {
	return refused(http.StatusBadGateway, "HostUnreachable", message)
}

// copy sends what comes from r, as it comes, up to so many bytes, until its end, or until ctx ends. It closes r.
// Where r breaks off it has the answer break off too: one that ends whole would say that this was all.
func (q *request) copy(ctx context.Context, r io.ReadCloser, most int64) {
	done := make(chan struct{})
	closed := make(chan struct{})
	go func() { // a read that waits for the next line ends when r is closed
		defer close(closed)
		select {
		case <-ctx.Done():
		case <-done:
		}
		if err := r.Close(); err != nil {
			q.s.log().Debug("closing a container's log", "path", q.URL.Path, "error", err)
		}
	}()
	out := q.stream("text/plain; charset=utf-8")
	in := io.LimitReader(r, most)
	var broke error
	for b := make([]byte, 32<<10); ; {
		n, err := in.Read(b)
		if n > 0 && !out.send(b[:n]) {
			break
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				broke = err
				q.s.log().Warn("a container's log ended early", "path", q.URL.Path, "error", err)
			}
			break
		}
	}
	close(done)
	<-closed
	if broke != nil {
		panic(http.ErrAbortHandler)
	}
}

// container is the id of the pod's container, once there is one.
func (s *Server) container(l *look, shown object, n name, wanted string) (string, error) {
	pod, ok := shown.(*corev1.Pod)
	if !ok || len(pod.Status.ContainerStatuses) == 0 {
		return "", badRequest("pod %s has no container yet: %s", n.name, waiting(l, n, ""))
	}
	if all := pod.Spec.Containers; wanted == "" && len(all)+len(pod.Spec.InitContainers) > 1 {
		text := fmt.Sprintf("a container name must be specified for pod %s, choose one of: %v", n.name, containerNames(all))
		if init := containerNames(pod.Spec.InitContainers); init != nil {
			text += fmt.Sprintf(" or one of the init containers: %v", init)
		}
		return "", badRequest("%s", text)
	}
	for i, c := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
		if wanted != "" && c.Name != wanted {
			continue
		}
		if i >= len(pod.Status.ContainerStatuses) && c.State.Terminated != nil && pod.Status.ContainerStatuses[0].ContainerID != "" {
			return "", badRequest("init container %q of pod %q has done its work, and is gone, with what it wrote", c.Name, n.name)
		}
		if id, ok := strings.CutPrefix(c.ContainerID, "podman://"); ok {
			return id, nil
		}
		of := c.Name
		if i == 0 {
			of = ""
		}
		return "", badRequest("container %q in pod %q is waiting to start: %s", c.Name, n.name, waiting(l, n, of))
	}
	return "", badRequest("container %s is not valid for pod %s", wanted, n.name)
}

func containerNames(all []corev1.Container) (names []string) {
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names
}

// waiting says what keeps a pod from having a container: its first for "".
func waiting(l *look, n name, of string) string {
	p, _ := projection.PodNamed(n.namespace, n.name)
	placed, err := l.Placement(p)
	if err != nil || placed == nil {
		return "it is not placed"
	}
	if placed.Host == "" {
		return placed.Why
	}
	r, err := l.Replica(placed)
	if err != nil || r == nil {
		return "waiting for host " + placed.Host
	}
	part := r.Part(of)
	if part == nil {
		return strings.TrimPrefix(cmp.Or(r.Unready, r.Reason), "container "+of+": ")
	}
	return strings.Trim(part.Reason+": "+part.Message, ": ")
}

// logOptions reads Kubernetes' options; most is how many bytes are wanted.
func logOptions(q *request, now time.Time) (o LogOptions, most int64, err error) {
	v := q.URL.Query()
	if truth(v.Get("previous")) {
		return o, 0, badRequest("the run before has no log of its own: a container is started again in place, and its log goes on; " +
			"ask without previous")
	}
	o = LogOptions{Follow: truth(v.Get("follow")), Timestamps: truth(v.Get("timestamps")), Tail: -1}
	number := func(name string, otherwise int64) int64 {
		text := v.Get(name)
		if text == "" || err != nil {
			return otherwise
		}
		n, wrong := strconv.ParseInt(text, 10, 64)
		if wrong != nil || n < 0 {
			err = badRequest("%s %q: want a number that is not negative", name, text)
		}
		return n
	}
	o.Tail = number("tailLines", -1)
	most = number("limitBytes", 1<<62)
	if seconds := number("sinceSeconds", -1); seconds >= 0 {
		o.Since = now.Add(-time.Duration(min(seconds, 1<<31)) * time.Second)
	}
	if text := v.Get("sinceTime"); text != "" && err == nil {
		if o.Since, err = time.Parse(time.RFC3339, text); err != nil {
			err = badRequest("sinceTime %q: want a time like 2006-01-02T15:04:05Z", text)
		}
	}
	return o, most, err
}

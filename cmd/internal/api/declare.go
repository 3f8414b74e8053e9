package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// declaration is what an object that somebody wants comes to beside what is there.
type declaration struct {
	key string
	was object          // nil: nothing is there
	is  object          // as it will be
	raw json.RawMessage // what to record; nil: nothing, since the same is there
}

func (d *declaration) action() string {
	switch {
	case d.raw == nil:
		return "unchanged"
	case d.was == nil:
		return "created"
	}
	return "configured"
}

// changes is what to record, as Record takes it.
func (d *declaration) changes() []projection.Change {
	if d.raw == nil {
		return nil
	}
	return []projection.Change{{Kind: events.Declared, Key: d.key, Object: d.raw}}
}

// declare works out what wanted, which has been defaulted, comes to upon a state. wanted is not changed. The list is
// what is wrong with it there.
func declare(st *projection.State, wanted object, now time.Time) (*declaration, field.ErrorList, error) {
	d := &declaration{key: manifest.Key(wanted)}
	is, ok := wanted.DeepCopyObject().(object)
	if !ok {
		return nil, nil, fmt.Errorf("declare %s: a copy is of another type", d.key)
	}
	d.is = is
	shown, there := st.Lookup(d.key)
	if !there {
		d.is.SetUID("")
		d.is.SetGeneration(1)
		d.is.SetCreationTimestamp(metav1.NewTime(now.UTC().Truncate(time.Second)))
		if wrong := manifest.Validate(d.is, nil); len(wrong) > 0 {
			return nil, wrong, nil
		}
		return d, nil, d.encode(nil)
	}
	typ, _, _ := manifest.SplitKey(d.key)
	was, err := manifest.Decode(typ, shown.Version.Object)
	if err != nil {
		return nil, nil, err
	}
	was.SetUID(uidOf(shown.UID))
	d.was = was
	d.is.SetGeneration(was.GetGeneration())
	d.is.SetCreationTimestamp(was.GetCreationTimestamp())
	if wrong := manifest.Validate(d.is, was); len(wrong) > 0 {
		return nil, wrong, nil
	}
	if manifest.Same(d.is, was) {
		d.is = was
		return d, nil, nil
	}
	if !sameSpec(d.is, was) {
		d.is.SetGeneration(was.GetGeneration() + 1)
	}
	return d, nil, d.encode(shown.Version.Object)
}

// sameSpec reports whether two objects differ at most in their metadata.
func sameSpec(a, b object) bool {
	c, ok := a.DeepCopyObject().(object)
	if !ok {
		return false
	}
	c.SetLabels(b.GetLabels())
	c.SetAnnotations(b.GetAnnotations())
	return manifest.Same(c, b)
}

// encode gives the bytes to record in place of old. A pod template that says the same as the recorded one keeps its
// bytes: what runs is known by them, and an agent with other defaults must not roll out what nobody changed.
func (d *declaration) encode(old json.RawMessage) error {
	raw, err := manifest.Encode(d.is)
	if err != nil {
		return err
	}
	was, _ := d.was.(*appsv1.Deployment)
	is, _ := d.is.(*appsv1.Deployment)
	if was != nil && is != nil {
		swapped := is.DeepCopy()
		swapped.Spec.Template = was.Spec.Template
		from, to, ok1 := valueAt(raw, "spec", "template")
		oldFrom, oldTo, ok2 := valueAt(old, "spec", "template")
		if ok1 && ok2 && manifest.Same(swapped, is) {
			raw = bytes.Join([][]byte{raw[:from], old[oldFrom:oldTo], raw[to:]}, nil)
		}
	}
	if len(raw) > manifest.MaxObjectBytes {
		return refused(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge,
			fmt.Sprintf("%s: %d bytes as it would be recorded: at most %d are taken", d.key, len(raw), manifest.MaxObjectBytes))
	}
	d.raw = raw
	return nil
}

// valueAt finds a value within JSON by the keys that lead to it.
func valueAt(b []byte, path ...string) (from, to int, ok bool) {
	from, to = 0, len(b)
	for _, key := range path {
		if from, to, ok = member(b, from, to, key); !ok {
			return 0, 0, false
		}
	}
	return from, to, true
}

// member finds the value of one key of the JSON object that is at b[from:to].
func member(b []byte, from, to int, key string) (int, int, bool) {
	d := json.NewDecoder(bytes.NewReader(b[from:to]))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return 0, 0, false
	}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return 0, 0, false
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return 0, 0, false
		}
		if k == key {
			end := from + int(d.InputOffset())
			return end - len(v), end, true
		}
	}
	return 0, 0, false
}

// servicesTries is how often it is decided outside of the ledger anew because of other Services: each time one of those who ask was heard.
const servicesTries = 20

var errServicesMoved = errors.New("other Services were declared meanwhile")

// record commits what decide makes of the newest state. decide is asked outside of the ledger first, and within it
// only if one of the keys has changed meanwhile: so what takes time is done by many at once. Any other Service that has changed meanwhile may have taken what one
// asks for: then it is asked again, outside, as what Services have is known there of each state that others see. When decide wants no
// change, nothing is recorded and the receipt has no stamp. otherwise is the cause, unless the request gives one.
func (s *Server) record(q *request, otherwise string, keys []string,
	decide func(*projection.State) ([]projection.Change, error)) (r projection.Receipt, err error) {
	by := q.by(otherwise)
	var changes []projection.Change
	ofServices := slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(key, "service/") })
	for try := 0; ; try++ {
		before := s.Ledger.View().State
		changes, err = decide(before)
		if err != nil || len(changes) == 0 {
			r = projection.Receipt{State: before}
			if err == nil {
				r, err = s.unrecorded(before, decide)
			}
			q.unchanged(r.State, keys)
			if err == nil {
				q.warnOfConflicts(r.State, keys)
			}
			return r, err
		}
		r, err = s.Ledger.Record(q.Context(), by, func(st *projection.State) ([]projection.Change, error) {
			for _, key := range keys {
				was, ok1 := before.Lookup(key)
				is, ok2 := st.Lookup(key)
				if ok1 != ok2 || ok1 && (was.UID != is.UID || was.Stamp != is.Stamp) {
					return decide(st)
				}
			}
			switch {
			case !ofServices || sameServices(before, st):
				return changes, nil
			case try < servicesTries:
				return nil, errServicesMoved
			}
			return decide(st)
		})
		if !errors.Is(err, errServicesMoved) {
			break
		}
	}
	if err == nil && r.Stamp.IsZero() {
		r, err = s.unrecorded(r.State, decide)
	}
	if err == nil {
		q.warnOfConflicts(r.State, keys)
	}
	switch {
	case err == nil && r.Stamp.IsZero():
		q.unchanged(r.State, keys)
	case err == nil:
		q.recorded(r.Stamp.ID)
		for _, c := range changes[:min(len(changes), 10)] {
			s.log().Info("recorded", "key", c.Key, "deleted", c.Object == nil, "actor", by.Actor, "cause", by.Cause, "index", r.First)
		}
	}
	return r, err
}

// unrecorded is the receipt where decide wanted no change of a state: with that, or, where not all of it is on disk, with what is, since other events
// may yet get the indexes of the rest. If of that it wants one, it was content with what may be lost, and the full disk is the answer.
func (s *Server) unrecorded(st *projection.State, decide func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error) {
	disk := s.Ledger.View().Durable().State
	if disk.Index() >= st.Index() {
		return projection.Receipt{State: st}, nil
	}
	changes, err := decide(disk)
	if err == nil && len(changes) > 0 {
		err = events.ErrFull
	}
	return projection.Receipt{State: disk}, err
}

// decode reads the one object of a body, strictly or as fieldValidation says: the fields that the kind does not have are
// mistakes, or warnings of the answer. They are that also for who wants them ignored, as does everybody who has kubectl
// not validate: a replica that is spelled wrong must not be lost without a word.
func (q *request) decode(data []byte) (object, error) {
	mode := q.URL.Query().Get("fieldValidation")
	switch mode {
	case "", metav1.FieldValidationStrict, metav1.FieldValidationWarn, metav1.FieldValidationIgnore:
	default:
		return nil, badRequest("fieldValidation %q: want Strict, Warn or Ignore", mode)
	}
	o, err := manifest.DecodeStrict(data)
	if err == nil {
		return o, nil
	}
	var ms manifest.Mistakes
	if !errors.As(err, &ms) {
		return nil, err
	}
	oneLine := !bytes.ContainsRune(bytes.TrimSpace(data), '\n') // as clients write them, whatever the person's file has
	for i := range ms {
		if ms[i].Document = 0; oneLine {
			ms[i].Line = 0
		}
	}
	if mode != metav1.FieldValidationIgnore && mode != metav1.FieldValidationWarn {
		return nil, err
	}
	for _, m := range ms {
		if m.Type != manifest.CauseTypeUnknown {
			return nil, err
		}
	}
	if o, err = decodeLoose(data); err != nil {
		return nil, err
	}
	for _, m := range ms {
		q.w.Header().Add("Warning", fmt.Sprintf("299 - %q", plain(fmt.Sprintf("unknown field %q", m.Field), 200)))
	}
	return o, nil
}

// invalid is the answer to an object with those mistakes.
func invalid(o object, wrong field.ErrorList) error {
	m, _ := manifest.Of(o)
	return apierrors.NewInvalid(m.GroupVersionKind().GroupKind(), o.GetName(), wrong)
}

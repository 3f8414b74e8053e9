package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
)

func keys(t *testing.T, first ...byte) *Keys {
	t.Helper()
	var all [][]byte
	for _, b := range first {
		all = append(all, bytes.Repeat([]byte{b}, KeyBytes))
	}
	k, err := NewKeys(all...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func opaque(namespace, name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
		Annotations: map[string]string{"note": "kept", manifest.LastApplied: `{"stringData":{"password":"sesame"}}`}},
		Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"password": []byte("sesame"), "other": []byte("sesame"), "none": {}}}
}

func sealed(t *testing.T, k *Keys, s *corev1.Secret) *corev1.Secret {
	t.Helper()
	got, err := k.Seal(s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSeal_opensAgainAndIsTheSameEverywhere(t *testing.T) {
	s := opaque("shop", "db")
	got := sealed(t, keys(t, 1), s)
	for _, leak := range []string{"sesame", "c2VzYW1l", "password\":\"sesame"} {
		if strings.Contains(text(t, got), leak) || bytes.Contains(got.Data["password"], []byte("sesame")) {
			t.Errorf("%q stands in what was sealed: %s", leak, text(t, got))
		}
	}
	if again := sealed(t, keys(t, 1, 2), s); !reflect.DeepEqual(got, again) {
		t.Errorf("sealed again it is %s, want %s", text(t, again), text(t, got))
	}
	if bytes.Equal(got.Data["password"], got.Data["other"]) {
		t.Error("the same value under two keys is sealed by the same bytes, so it can be told that it is the same")
	}
	open, err := keys(t, 2, 1).Open(got)
	if err != nil || !reflect.DeepEqual(open, s) {
		t.Errorf("opened: %s, %v, want %s", text(t, open), err, text(t, s))
	}
	if got.Annotations["note"] != "kept" {
		t.Errorf("annotations %v", got.Annotations)
	}
}

// What was sealed for one place opens in no other, and with no byte changed.
func TestOpen_whereItWasSealedFor(t *testing.T) {
	k := keys(t, 1)
	s := sealed(t, k, opaque("shop", "db"))
	for what, change := range map[string]func(*corev1.Secret){
		"another namespace": func(s *corev1.Secret) { s.Namespace = "shop2" },
		"another name":      func(s *corev1.Secret) { s.Name = "d" },
		"another key":       func(s *corev1.Secret) { s.Data["other"] = s.Data["password"] },
		"the annotation": func(s *corev1.Secret) {
			v, _ := manifest.SealedIn(s.Data["password"])
			s.Annotations[manifest.LastApplied] = manifest.MarkSealedText(v)
		},
		"shortened":  func(s *corev1.Secret) { s.Data["other"] = s.Data["other"][:30] },
		"not sealed": func(s *corev1.Secret) { s.Data["other"] = []byte("sesame") },
	} {
		moved := s.DeepCopy()
		change(moved)
		if _, err := k.Open(moved); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: got %v, want an error without the value", what, err)
		}
	}
	v, _ := manifest.SealedIn(s.Data["password"])
	for i := range v {
		for bit := range 8 {
			bad := bytes.Clone(v)
			bad[i] ^= 1 << bit
			if _, err := k.open(place("shop", "db", "data/password"), bad); err == nil {
				t.Fatalf("with bit %d of byte %d changed it opens", bit, i)
			}
		}
	}
}

// What is sealed by the right key, and not as agents do, would be another sealing of the same value: then the same is not the same.
func TestOpen_onlyWhatIsSealedAsAgentsDo(t *testing.T) {
	k := keys(t, 1)
	one, at := k.all[0], place("shop", "db", "data/password")
	nonce := bytes.Repeat([]byte{7}, nonceBytes)
	b := one.aead.Seal(append(bytes.Clone(one.id[:]), nonce...), nonce, []byte("sesame"), at)
	if got, err := k.open(at, b); err == nil {
		t.Errorf("got %q", got)
	}
}

// Parts of a place cannot be taken for each other.
func TestPlace_isUnambiguous(t *testing.T) {
	if bytes.Equal(place("a", "bc", "d"), place("ab", "c", "d")) {
		t.Error("two places are one")
	}
}

func TestOpen_withoutTheKey(t *testing.T) {
	s := sealed(t, keys(t, 1), opaque("shop", "db"))
	other := keys(t, 2)
	_, err := other.Open(s)
	if !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), keys(t, 1).all[0].id.String()) {
		t.Errorf("got %v, want ErrNoKey with the key's id", err)
	}
	if got := other.Lacking(s); len(got) != 1 || got[0] != keys(t, 1).all[0].id {
		t.Errorf("lacking: got %v", got)
	}
	if got := keys(t, 2, 1).Lacking(s); got != nil {
		t.Errorf("lacking: got %v, want none", got)
	}
	if _, err := (*Keys)(nil).Open(s); !errors.Is(err, ErrNoKey) {
		t.Errorf("without any keys: got %v, want ErrNoKey", err)
	}
}

func TestSeal_nothingTwice(t *testing.T) {
	k := keys(t, 1)
	if _, err := k.Seal(sealed(t, k, opaque("shop", "db"))); err == nil || !strings.Contains(err.Error(), "is sealed already") {
		t.Errorf("got %v", err)
	}
	if _, err := k.Seal(&corev1.Secret{StringData: map[string]string{"a": "sesame"}}); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("stringData: got %v", err)
	}
}

func TestWithhold_tellsSizesAndNoValues(t *testing.T) {
	s := sealed(t, keys(t, 1), opaque("shop", "db"))
	got := Withhold(s, "why")
	if w := got.Annotations[manifest.Withheld]; w != "none: 0 bytes, other: 6 bytes, password: 6 bytes; why" {
		t.Errorf("got %q", w)
	}
	if _, ok := got.Annotations[manifest.LastApplied]; ok || len(got.Data) != 3 || len(got.Data["password"]) != 0 {
		t.Errorf("got %s", text(t, got))
	}
	if len(s.Data["password"]) == 0 {
		t.Error("the original was changed")
	}
	if leak := text(t, Withhold(opaque("a", "b"), "")); strings.Contains(leak, "sesame") || strings.Contains(leak, "c2VzYW1l") {
		t.Errorf("one that is not sealed is shown: %s", leak)
	}
	data, annotations := Tell(s)
	if leak := text(t, data) + text(t, annotations); strings.Contains(leak, "sesame") || !strings.Contains(data["password"], "6 bytes, sealed by key") {
		t.Errorf("got %s", leak)
	}
}

// A key is made when it is first needed, once, and nothing is sealed that its maker did not make durable.
func TestKeys_madeWhenFirstNeeded(t *testing.T) {
	made, failing := 0, true
	k := &Keys{Make: func() ([]byte, error) {
		if failing {
			return nil, errors.New("no room")
		}
		made++
		return bytes.Repeat([]byte{9}, KeyBytes), nil
	}}
	if _, err := k.Seal(opaque("a", "b")); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v", err)
	}
	failing = false
	s := sealed(t, k, opaque("a", "b"))
	sealed(t, k, opaque("a", "c"))
	if _, err := k.Open(s); err != nil || made != 1 {
		t.Errorf("made %d keys, %v", made, err)
	}
	if _, err := (&Keys{}).Seal(opaque("a", "b")); err == nil {
		t.Error("sealed without a key")
	}
	if _, err := NewKeys([]byte("short")); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("got %v", err)
	}
}

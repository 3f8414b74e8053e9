package secret

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// ledger is a real one on a real log; it ends with the test.
func ledger(t *testing.T) *projection.Ledger {
	t.Helper()
	log, err := events.Open(t.TempDir(), events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, log.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func declare(t *testing.T, l *projection.Ledger, key string, o manifest.Object) {
	t.Helper()
	c := projection.Change{Kind: events.Declared, Key: key}
	if o != nil {
		raw, err := manifest.Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		c.Object = raw
	}
	if _, err := l.Record(t.Context(), projection.By{Actor: "test"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{c}, nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestReader_certificatesOfTheNewestState(t *testing.T) {
	l, k := ledger(t), keys(t, 1)
	r := &Reader{View: l.View, Keys: k}
	if _, _, _, err := r.Secret("shop", "web"); !errors.Is(err, fs.ErrNotExist) || r.Version("shop", "web") != "" {
		t.Errorf("none: got %v", err)
	}
	pair := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": []byte("certificate"), "tls.key": []byte("key")}}
	declare(t, l, "secret/shop/web", sealed(t, k, pair))
	cert, key, version, err := r.Secret("shop", "web")
	if string(cert) != "certificate" || string(key) != "key" || version == "" || err != nil {
		t.Errorf("got %q, %q, %q, %v", cert, key, version, err)
	}
	pair.Data["tls.key"] = []byte("other")
	declare(t, l, "secret/shop/web", sealed(t, k, pair))
	_, key, now, err := r.Secret("shop", "web")
	if string(key) != "other" || now == version || now != r.Version("shop", "web") || err != nil {
		t.Errorf("changed: got %q, %q after %q, %v", key, now, version, err)
	}
	if _, _, _, err := (&Reader{View: l.View, Keys: keys(t, 2)}).Secret("shop", "web"); !errors.Is(err, ErrNoKey) {
		t.Errorf("without the key: got %v", err)
	}
	declare(t, l, "secret/shop/db", sealed(t, k, opaque("shop", "db")))
	if _, _, _, err := r.Secret("shop", "db"); !errors.Is(err, ErrMisfit) {
		t.Errorf("of a Secret that holds no certificate: got %v", err)
	}
	if all, err := r.Values("shop", "db"); err != nil || len(all) == 0 || string(all["password"]) != string(opaque("shop", "db").Data["password"]) {
		t.Errorf("its values: got %v, %v", all, err)
	}
	if _, err := r.Values("other", "db"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of another namespace: got %v", err)
	}
	if _, err := (&Reader{View: l.View, Keys: keys(t, 2)}).Values("shop", "db"); !errors.Is(err, ErrNoKey) {
		t.Errorf("without the key: got %v", err)
	}
	if got := keys(t, 2).Locked(l.View().State); len(got) != 2 || k.Locked(l.View().State) != nil {
		t.Errorf("locked: got %v", got)
	}
}

func TestReader_nextTellsWhichHaveChanged(t *testing.T) {
	l, k := ledger(t), keys(t, 1)
	r := &Reader{View: l.View, Keys: k}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	type told struct {
		names []string
		index uint64
		err   error
	}
	said := make(chan told, 1)
	next := func(after uint64) {
		go func() {
			names, index, err := r.Next(ctx, after)
			said <- told{names, index, err}
		}()
	}
	next(0)
	declare(t, l, "namespace/shop", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	declare(t, l, "secret/shop/db", sealed(t, k, opaque("shop", "db")))
	got := <-said
	if !slices.Equal(got.names, []string{"shop/db"}) || got.index != 2 || got.err != nil {
		t.Errorf("got %v", got)
	}
	declare(t, l, "secret/shop/db", nil)
	next(got.index)
	if got = <-said; !slices.Equal(got.names, []string{"shop/db"}) || got.index != 3 {
		t.Errorf("after its end: got %v", got)
	}
	next(77) // of another life of the log
	if got = <-said; got.names != nil || got.index != 3 || got.err != nil {
		t.Errorf("of a position that there is not: got %v, want that all may have changed", got)
	}
	cancel()
	next(got.index)
	if got = <-said; !errors.Is(got.err, context.Canceled) {
		t.Errorf("got %v", got)
	}
}

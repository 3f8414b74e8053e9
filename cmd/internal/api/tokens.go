package api

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// tokenPrefix tells people, and programs that look for secrets where there should be none, what a token is.
const tokenPrefix = "pswarm_"

// tokenRoutes are for the API's tokens, and for the one by which hosts join. Of a token, only a hash is recorded: all hosts
// know it by that, and its secret is told once, to who makes it.
func (s *Server) tokenRoutes(handle func(string, func(*request) error)) {
	handle("GET /swarm/v1/tokens", func(q *request) error {
		all := []Token{}
		for o := range s.Ledger.View().All(projection.APITokenType + "/") {
			var t projection.APIToken
			if err := json.Unmarshal(o.Version.Object, &t); err != nil {
				continue // of another version of the agent: it lets nobody in here
			}
			all = append(all, s.tokenOf(strings.TrimPrefix(o.Key, projection.APITokenType+"/"), t))
		}
		return q.json(http.StatusOK, all)
	})
	handle("POST /swarm/v1/tokens", s.createToken)
	handle("DELETE /swarm/v1/tokens/{name}", s.revokeToken)
	handle("POST /swarm/v1/join-token", s.joinToken)
}

func (s *Server) tokenOf(name string, t projection.APIToken) Token {
	is := Token{Name: name, Scope: t.Scope, Namespaces: t.Namespaces, Created: t.Created}
	if !t.Expires.IsZero() {
		is.Expires, is.Expired = &t.Expires, !s.now().Before(t.Expires)
	}
	return is
}

func tokenResource() schema.GroupResource { return schema.GroupResource{Resource: "tokens"} }

// tokenWish is the body by which a token is made.
type tokenWish struct {
	Name       string   `json:"name"`
	Scope      string   `json:"scope"`
	Namespaces []string `json:"namespaces"`
	TTL        string   `json:"ttl"` // a time span; "" and "0s": for ever
}

// strict reads JSON that may have no other fields.
func (q *request) strict(v any) error {
	data, err := q.body(64 << 10)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest("want JSON: %v", err)
	}
	return nil
}

// ttl reads a time span after which something ends; zero: never.
func ttl(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, badRequest("ttl %q: want a time span like 720h", plain(text, 50))
	}
	return d, nil
}

func (w *tokenWish) check() (time.Duration, error) {
	switch wrong := validation.IsDNS1123Subdomain(w.Name); {
	case len(wrong) > 0:
		return 0, badRequest("name %q: %s", plain(w.Name, 100), strings.Join(wrong, "; "))
	case !slices.Contains(scopes(), w.Scope):
		return 0, badRequest("scope %q: want read, write or admin", plain(w.Scope, 50))
	case w.Scope == ScopeAdmin && len(w.Namespaces) > 0:
		return 0, badRequest("an admin's token is for the whole cluster: leave the namespaces out, or make it one of scope write")
	}
	for _, ns := range w.Namespaces {
		if wrong := validation.IsDNS1123Label(ns); len(wrong) > 0 {
			return 0, badRequest("namespace %q: %s", plain(ns, 100), strings.Join(wrong, "; "))
		}
	}
	slices.Sort(w.Namespaces)
	w.Namespaces = slices.Compact(w.Namespaces)
	return ttl(w.TTL)
}

// createToken makes a token. Its secret is in the answer, and nowhere else.
func (s *Server) createToken(q *request) error {
	if err := q.writable(); err != nil {
		return err
	}
	var w tokenWish
	if err := q.strict(&w); err != nil {
		return err
	}
	life, err := w.check()
	if err != nil {
		return err
	}
	var b [32]byte
	rand.Read(b[:]) // never fails
	secret := tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	t := projection.APIToken{Hash: sha256.Sum256([]byte(secret)), Scope: w.Scope, Namespaces: w.Namespaces, Created: s.now().UTC().Truncate(time.Second)}
	if len(t.Namespaces) == 0 {
		t.Namespaces = nil
	}
	if life > 0 {
		t.Expires = t.Created.Add(life)
	}
	key := projection.APITokenKey(w.Name)
	_, err = s.record(q, "create token "+w.Name, []string{key}, func(st *projection.State) ([]projection.Change, error) {
		if _, ok := st.Lookup(key); ok {
			return nil, apierrors.NewAlreadyExists(tokenResource(), w.Name)
		}
		return []projection.Change{{Kind: events.Trust, Key: key, Object: projection.Encode(t)}}, nil
	})
	if err != nil {
		return err
	}
	return q.json(http.StatusCreated, NewToken{s.tokenOf(w.Name, t), secret})
}

// revokeToken ends a token for good: one of the same name that is made later is another one.
func (s *Server) revokeToken(q *request) error {
	if err := q.writable(); err != nil {
		return err
	}
	n := q.PathValue("name")
	key := projection.APITokenKey(n)
	_, err := s.within(q, "revoke token "+n, func(st *projection.State) ([]projection.Change, error) {
		if _, ok := st.Lookup(key); !ok {
			return nil, apierrors.NewNotFound(tokenResource(), n)
		}
		return []projection.Change{{Kind: events.Trust, Key: key}}, nil
	})
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, struct {
		Name string `json:"name"`
	}{n})
}

// joinToken gives the token by which hosts join.
func (s *Server) joinToken(q *request) error {
	if s.JoinToken == nil {
		return notServed("a join token")
	}
	var wish struct {
		Rotate bool   `json:"rotate"`
		TTL    string `json:"ttl"`
	}
	if err := q.strict(&wish); err != nil {
		return err
	}
	life, err := ttl(wish.TTL)
	if err == nil {
		err = q.writable()
	}
	if err != nil {
		return err
	}
	token, expires, err := s.JoinToken(q.Context(), q.by("join token"), wish.Rotate, life)
	if err != nil {
		return err
	}
	return q.json(http.StatusOK, JoinToken{token, expires})
}

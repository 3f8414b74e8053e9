package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Who may ask what, where the API listens beyond this host. On the loopback everybody on this host may do everything.

// The scopes, each of which includes those before it.
const (
	ScopeRead  = "read"  // see
	ScopeWrite = "write" // and change what is declared
	ScopeAdmin = "admin" // and hosts, tokens and whoever may join
)

// scopes in their order.
func scopes() []string { return []string{ScopeRead, ScopeWrite, ScopeAdmin} }

// caller is who asks.
type caller struct {
	name       string // "token:ci", "user:alice"
	token      string // key of the token; "" when it was a certificate
	hash       events.Hash
	ends       time.Time // of the certificate
	scope      string    // read, write, admin
	namespaces []string  // nil: all
}

// need is what a request takes.
type need struct {
	scope     string
	namespace string // in which it is enough to have it; "" for what is the cluster's
	anybody   bool   // whoever is known at all may
	body      bool   // the namespaces are those of the objects in the body: whoever reads it asks mayIn
}

// identify says who asks, by a token or a client certificate; the error is a 401.
func (s *Server) identify(r *http.Request) (*caller, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") || secret == "" {
			return nil, unauthorized("want Authorization: Bearer TOKEN")
		}
		return s.byToken(strings.TrimSpace(secret))
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || s.User == nil {
		return nil, unauthorized("a token (Authorization: Bearer …) or a client certificate is wanted")
	}
	cert := r.TLS.VerifiedChains[0][0]
	name, scope, err := s.User(cert)
	switch {
	case err != nil:
		return nil, unauthorized("the client certificate is refused: " + err.Error())
	case !slices.Contains(scopes(), scope) || name == "":
		return nil, unauthorized("the client certificate names nobody who may ask")
	}
	c := &caller{name: "user:" + plain(name, 100), ends: cert.NotAfter, scope: scope}
	if s.lapsed(c) { // TLS looked at it as the connection began
		return nil, unauthorized("the client certificate of " + c.name + " has expired")
	}
	return c, nil
}

// byToken finds the token with that secret. All are looked at, each in the same time.
func (s *Server) byToken(secret string) (*caller, error) {
	hash := sha256.Sum256([]byte(secret))
	var found *caller
	var expired bool
	for o := range s.Ledger.View().All(projection.APITokenType + "/") {
		var t projection.APIToken
		if json.Unmarshal(o.Version.Object, &t) != nil || subtle.ConstantTimeCompare(hash[:], t.Hash[:]) != 1 {
			continue
		}
		name := strings.TrimPrefix(o.Key, projection.APITokenType+"/")
		found = &caller{name: "token:" + name, token: o.Key, hash: t.Hash, scope: t.Scope, namespaces: t.Namespaces}
		expired = !t.Expires.IsZero() && !s.now().Before(t.Expires)
	}
	switch {
	case found == nil:
		return nil, unauthorized("the token is not known, or has been revoked")
	case expired:
		return nil, unauthorized(found.name + " has expired")
	}
	return found, nil
}

// lapsed reports whether the caller's token has been revoked since, or that or the certificate has expired.
func (s *Server) lapsed(c *caller) bool {
	if c.token == "" {
		return !s.now().Before(c.ends)
	}
	t, ok := projection.Read[projection.APIToken](s.Ledger.View().State, c.token)
	return !ok || t.Hash != c.hash || !t.Expires.IsZero() && !s.now().Before(t.Expires)
}

func unauthorized(why string) error {
	return refused(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized: "+why)
}

// has reports whether the caller has the scope, in all namespaces or in that one.
func (c *caller) has(scope, namespace string) bool {
	all := scopes()
	if slices.Index(all, c.scope) < slices.Index(all, scope) {
		return false
	}
	return c.namespaces == nil || namespace != "" && slices.Contains(c.namespaces, namespace)
}

// may checks that the caller has what the request takes; the error is a 403 as Kubernetes says it.
func (q *request) may(n need, what string, gr schema.GroupResource, name string) error {
	c := q.caller
	if c == nil || n.anybody || n.body && c.has(n.scope, firstOf(c.namespaces)) || c.has(n.scope, n.namespace) {
		return nil
	}
	where := " at the cluster scope"
	if n.namespace != "" {
		where = fmt.Sprintf(" in the namespace %q", n.namespace)
	}
	in, takes := "all namespaces", ""
	if c.namespaces != nil {
		in = "namespaces " + strings.Join(c.namespaces, ", ")
		if n.namespace == "" {
			takes = " in all namespaces"
		}
	}
	// As Kubernetes words it; kubectl shows it as a sentence.
	why := fmt.Sprintf("User %q cannot %s%s: it has scope %s in %s, and this takes scope %s%s", c.name, what, where, c.scope, in, n.scope, takes)
	return apierrors.NewForbidden(gr, name, errors.New(why))
}

// unconfined is what the caller may not declare of an object, because it reaches beyond the namespaces to which the caller is confined.
func (q *request) unconfined(o object) field.ErrorList {
	c := q.caller
	if c == nil || c.namespaces == nil {
		return nil
	}
	return manifest.Unconfined(o, fmt.Sprintf("%s, which has scope %s in namespaces %s only", c.name, c.scope, strings.Join(c.namespaces, ", ")))
}

func firstOf(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// permitted checks that the caller may ask this.
func (q *request) permitted() error {
	if t, ok := parsePath(q.URL); ok {
		return q.mayKubernetes(t)
	}
	return q.mayPath(needOf(q.Request))
}

// mayIn checks a change of one object of a manifest. namespace is the object's, or, of a Namespace, its name.
func (q *request) mayIn(r *resource, namespace, name string) error {
	what := fmt.Sprintf("apply resource %q in API group %q", r.plural, r.group)
	return q.may(need{scope: ScopeWrite, namespace: namespace}, what, r.gr(), name)
}

// mayKubernetes checks a request for a path of Kubernetes.
func (q *request) mayKubernetes(t target) error {
	n := need{scope: ScopeRead, namespace: t.namespace}
	verb := map[string]string{http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create", http.MethodPut: "update",
		http.MethodPatch: "patch", http.MethodDelete: "delete"}[q.Method]
	if verb != "get" {
		n.scope = ScopeWrite
	}
	switch {
	case truth(q.URL.Query().Get("watch")) && verb == "get":
		verb = "watch"
	case t.name.name == "" && verb == "get":
		verb = "list"
	}
	switch t.kind {
	case "Namespace":
		n.namespace = t.name.name
	case "Node":
		if n.scope == ScopeWrite {
			n.scope = ScopeAdmin
		}
	}
	if t.sub == "eviction" { // it drains the host
		n.scope, n.namespace = ScopeAdmin, ""
	}
	plural := t.plural
	if t.sub != "" {
		plural += "/" + t.sub
	}
	return q.may(n, fmt.Sprintf("%s resource %q in API group %q", verb, plural, t.group), t.gr(), t.name.name)
}

// mayPath checks a request for another path than Kubernetes' own.
func (q *request) mayPath(n need) error {
	return q.may(n, fmt.Sprintf("%s path %q", strings.ToLower(q.Method), q.URL.Path), schema.GroupResource{}, "")
}

// needOf is what a path takes that is not of an object of Kubernetes. What is not listed takes most.
func needOf(r *http.Request) need {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	path := r.URL.Path
	switch path {
	case "/healthz", "/livez", "/readyz", "/version", "/api", "/apis", "/api/v1", "/api/v1/health":
		return need{anybody: read, scope: ScopeAdmin}
	case "/api/v1/manifests":
		return need{body: true, scope: ScopeWrite}
	}
	switch {
	case strings.HasPrefix(path, "/apis/") && strings.Count(path, "/") <= 3 && read: // groups
		return need{anybody: true}
	case strings.HasPrefix(path, "/openapi/") && read:
		return need{anybody: true} // what is not served is to be told from what is not allowed
	case strings.HasPrefix(path, "/api/v1/manifests/"):
		return need{scope: ScopeWrite, namespace: r.PathValue("namespace")}
	case strings.HasPrefix(path, "/api/v1/deployments") && read, strings.HasPrefix(path, "/api/v1/services/") && read,
		(strings.HasPrefix(path, "/swarm/v1/services/") || strings.HasPrefix(path, "/swarm/v1/ingresses/")) && read:
		return need{scope: ScopeRead, namespace: r.PathValue("namespace")}
	case strings.HasPrefix(path, "/swarm/v1/tokens"), strings.HasPrefix(path, "/swarm/v1/join-token"):
		return need{scope: ScopeAdmin}
	case strings.HasPrefix(path, "/swarm/v1/orphans") && !read:
		return need{scope: ScopeWrite}
	case strings.HasPrefix(path, "/swarm/v1/forward/"): // what is behind it can be changed through it
		return need{scope: ScopeWrite, namespace: r.PathValue("namespace")}
	case strings.HasPrefix(path, "/swarm/v1/conflicts/") && !read:
		return need{body: true, scope: ScopeWrite}
	case path == "/swarm/v1/audit/verify", path == "/swarm/v1/audit/backup": // it changes nothing; what it is held to is in the body
		return need{scope: ScopeRead}
	case read: // state, events, metrics, conflicts, …: of all namespaces
		return need{scope: ScopeRead}
	}
	return need{scope: ScopeAdmin}
}

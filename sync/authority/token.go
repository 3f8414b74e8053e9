package authority

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

const (
	tokenPrefix = "PSWTKN-"
	tokenForm   = "1"
	idBytes     = 5
	secretBytes = 20

	// printToken is where tokens come from, for messages.
	printToken = "`podman-swarm-agent token` on any member prints one"

	// keepExpired is how long an expired token is kept, so that who presents it is told that it expired.
	keepExpired = 30 * day
)

// Token is what a host shows to join: PSWTKN-1-<digest of the authority's certificate>-<id>-<secret>. Who holds it can
// make itself a member; printed with fmt or slog it keeps its secret to itself. The zero Token is none.
type Token struct {
	authority events.Hash
	id        string
	secret    [secretBytes]byte
}

// ID names the token; it is no secret.
func (t Token) ID() string { return t.id }

// Authority is the digest of the certificate of the authority that the token is of.
func (t Token) Authority() events.Hash { return t.authority }

// Text is the whole token, secret included, as ParseToken reads it.
func (t Token) Text() string { return t.public() + encode(t.secret[:]) }

// String is the token without its secret.
func (t Token) String() string { return t.public() + "…" }

// GoString is String, so that %#v does not give the secret away either.
func (t Token) GoString() string { return t.String() }

func (t Token) public() string {
	return tokenPrefix + tokenForm + "-" + encode(t.authority[:]) + "-" + t.id + "-"
}

// hash is what the event log holds of the secret.
func (t Token) hash() events.Hash { return sha256.Sum256(t.secret[:]) }

// ParseToken reads the text of a token, and takes no other; white space around it does not matter. Whether the token
// is good for anything, only a member can say.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Token{}, errNoToken()
	}
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	form, rest, _ := strings.Cut(rest, "-")
	if ok && form != "" && form != tokenForm && strings.Trim(form, "0123456789") == "" {
		return Token{}, fmt.Errorf("the join token is of form %.9s, and this agent knows form %s: upgrade the agent", form, tokenForm)
	}
	parts := strings.Split(rest, "-")
	if !ok || form != tokenForm || len(parts) != 3 {
		return Token{}, fmt.Errorf("this is no join token: want %s%s-…-…-…; %s", tokenPrefix, tokenForm, printToken)
	}
	var t Token
	var id [idBytes]byte
	t.id = parts[1]
	if !decode(t.authority[:], parts[0]) || !decode(id[:], parts[1]) || !decode(t.secret[:], parts[2]) {
		return Token{}, errors.New("the join token is not whole, or a letter in it is wrong: copy it again; " + printToken)
	}
	return t, nil
}

func errNoToken() error { return errors.New("there is no join token: " + printToken) }

// letters are those of base32, small: one reads and selects them well.
func letters() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

func encode(b []byte) string { return letters().EncodeToString(b) }

// decode fills b from its only text form.
func decode(b []byte, text string) bool {
	if len(text) != letters().EncodedLen(len(b)) {
		return false
	}
	n, err := letters().Decode(b, []byte(text))
	return err == nil && n == len(b) && encode(b) == text // the decoder skips line ends, and bits that do not count
}

// NewTokenID draws the id of a new token. It is drawn before Ledger.Record, since what decides there is pure.
func NewTokenID() string {
	var b [idBytes]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return encode(b[:])
}

// Token is the token of that id. Its secret follows from the authority's key, so that every member can print it while
// the log holds only its hash.
func (a *Authority) Token(id string) (Token, error) {
	if !decode(make([]byte, idBytes), id) {
		return Token{}, fmt.Errorf("%.40q is not the id of a join token", id)
	}
	key, err := a.key.Bytes()
	if err != nil {
		return Token{}, fmt.Errorf("derive join token %s: %w", id, err)
	}
	digest := a.Digest()
	secret, err := hkdf.Key(sha256.New, key, digest[:], "podman-swarm join token 1 "+id, secretBytes)
	if err != nil {
		return Token{}, fmt.Errorf("derive join token %s: %w", id, err)
	}
	return Token{digest, id, [secretBytes]byte(secret)}, nil
}

// Derive gives n bytes that every member comes to by itself, and nobody else: HKDF-SHA256 of the authority's key for that purpose.
func (a *Authority) Derive(purpose string, n int) ([]byte, error) {
	key, err := a.key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("derive %s: %w", purpose, err)
	}
	digest := a.Digest()
	return hkdf.Key(sha256.New, key, digest[:], "podman-swarm "+purpose, n)
}

// CurrentToken is the token to print: of those that hold, the one that holds longest, until expires (zero: until it is
// rotated). It is false when none holds; then AddToken makes one.
func (a *Authority) CurrentToken(s *projection.State, now time.Time) (t Token, expires time.Time, ok bool) {
	for id, recorded := range tokens(s) {
		candidate, err := a.Token(id)
		if err != nil || candidate.hash() != recorded.Hash || expired(recorded, now) {
			continue
		}
		if !ok || longer(recorded.Expires, expires) || recorded.Expires.Equal(expires) && id < t.id {
			t, expires, ok = candidate, recorded.Expires, true
		}
	}
	return t, expires, ok
}

// AddToken is what to record so that the token of that id holds, until expires (zero: until it is rotated), beside
// those that hold already.
func (a *Authority) AddToken(s *projection.State, id string, expires, now time.Time) ([]projection.Change, error) {
	t, err := a.Token(id)
	if err != nil {
		return nil, err
	}
	changes := endTokens(s, func(other string, recorded projection.JoinToken) bool {
		return other != id && expired(recorded, now.Add(-keepExpired))
	})
	return append(changes, t.record(expires)), nil
}

// RotateTokens is what to record so that the token of that id holds, as AddToken has it, and no other.
func (a *Authority) RotateTokens(s *projection.State, id string, expires time.Time) ([]projection.Change, error) {
	t, err := a.Token(id)
	if err != nil {
		return nil, err
	}
	changes := endTokens(s, func(other string, _ projection.JoinToken) bool { return other != id })
	return append(changes, t.record(expires)), nil
}

// CheckToken finds out whether a presented token lets its bearer in, by this state and at this time. Each reason why
// not has its own words, but what a token's id says is told only to who knows its secret.
func (a *Authority) CheckToken(t Token, s *projection.State, now time.Time) error {
	if t.authority != a.Digest() {
		return a.otherCluster(t.authority)
	}
	ours, err := a.Token(t.id)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(ours.secret[:], t.secret[:]) != 1 {
		return fmt.Errorf("the secret in join token %s is wrong: copy the token again; %s", t.id, printToken)
	}
	recorded, ok := tokens(s)[t.id]
	switch hash := t.hash(); {
	case !ok:
		return fmt.Errorf("join token %s was rotated, or this host has not heard of it yet: %s", t.id, printToken)
	case subtle.ConstantTimeCompare(hash[:], recorded.Hash[:]) != 1:
		return fmt.Errorf("join token %s is not the one that was recorded under this id: %s", t.id, printToken)
	case expired(recorded, now):
		return fmt.Errorf("join token %s expired at %s: %s", t.id, recorded.Expires.UTC().Format(time.DateTime), printToken)
	}
	return nil
}

func (a *Authority) otherCluster(digest events.Hash) error {
	if digest == (events.Hash{}) {
		return errNoToken()
	}
	return fmt.Errorf("the join token is of another cluster (authority %.12s); cluster %q has %.12s: %s",
		digest, a.cluster, a.Digest(), printToken)
}

func (t Token) record(expires time.Time) projection.Change {
	recorded := projection.JoinToken{Hash: t.hash(), Expires: expires}
	if !expires.IsZero() {
		recorded.Expires = expires.UTC().Truncate(time.Second)
	}
	return projection.Change{Kind: events.Trust, Key: projection.JoinTokenKey(t.id), Object: projection.Encode(recorded)}
}

// tokens are the recorded ones by id. What cannot be read as one, or is no trust fact, lets nobody in.
func tokens(s *projection.State) map[string]projection.JoinToken {
	all := map[string]projection.JoinToken{}
	for o := range s.All(projection.JoinTokenKey("")) {
		var recorded projection.JoinToken
		if o.Kind == events.Trust && json.Unmarshal(o.Object, &recorded) == nil {
			all[strings.TrimPrefix(o.Key, projection.JoinTokenKey(""))] = recorded
		}
	}
	return all
}

// endTokens is what to record so that the chosen tokens are no more.
func endTokens(s *projection.State, chosen func(id string, recorded projection.JoinToken) bool) []projection.Change {
	var changes []projection.Change
	for o := range s.All(projection.JoinTokenKey("")) {
		var recorded projection.JoinToken
		json.Unmarshal(o.Object, &recorded) // what cannot be read is chosen, or not, by its id
		if chosen(strings.TrimPrefix(o.Key, projection.JoinTokenKey("")), recorded) {
			changes = append(changes, projection.Change{Kind: events.Trust, Key: o.Key})
		}
	}
	return changes
}

func expired(t projection.JoinToken, now time.Time) bool {
	return !t.Expires.IsZero() && !now.Before(t.Expires)
}

// longer reports whether what expires at a holds longer than what expires at b; zero is for ever.
func longer(a, b time.Time) bool {
	return !b.IsZero() && (a.IsZero() || a.After(b))
}

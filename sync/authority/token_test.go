package authority

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

func TestToken_textAndBack(t *testing.T) {
	a, _ := first(t, "blue", "a")
	token, err := a.Token(NewTokenID())
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseToken(" " + token.Text() + "\n")
	if err != nil || again != token {
		t.Errorf("got %v, %v", again, err)
	}
	if !strings.HasPrefix(token.Text(), "PSWTKN-1-") || strings.Count(token.Text(), "-") != 4 {
		t.Errorf("text %q", token.Text())
	}
	if again.Authority() != a.Digest() || again.ID() != token.ID() {
		t.Errorf("authority %v, id %q", again.Authority(), again.ID())
	}
}

// Every member prints the same token, from the authority alone; another authority another one for the same id.
func TestToken_followsFromTheAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	a, err := Create(dir, "blue", Options{Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir, Options{Node: "b"})
	if err != nil {
		t.Fatal(err)
	}
	other, _ := first(t, "blue", "a")
	id := NewTokenID()
	ours, _ := a.Token(id)
	theirs, _ := b.Token(id)
	foreign, _ := other.Token(id)
	if ours != theirs {
		t.Errorf("members disagree: %v %v", ours, theirs)
	}
	if ours.secret == foreign.secret {
		t.Error("another authority has the same secret")
	}
	if second, _ := a.Token(NewTokenID()); second.secret == ours.secret {
		t.Error("another id has the same secret")
	}
	for _, id := range []string{"", "x", strings.ToUpper(id), id + "a"} {
		if _, err := a.Token(id); err == nil {
			t.Errorf("id %q: taken", id)
		}
	}
}

func TestToken_keepsItsSecret(t *testing.T) {
	a, _ := first(t, "blue", "a")
	token, _ := a.Token(NewTokenID())
	secret := encode(token.secret[:])
	said := new(lines)
	said.log().Info("said", "token", token)
	slog.New(slog.NewJSONHandler(said, nil)).Info("said", "token", token)
	fmt.Fprintf(said, "%v %+v %#v %s", token, token, token, token)
	if s := said.String(); strings.Contains(s, secret) || strings.Contains(s, fmt.Sprint(token.secret)) || strings.Contains(s, fmt.Sprintf("%#v", token.secret)) || !strings.Contains(s, token.ID()) {
		t.Error(s)
	}
	if !strings.Contains(token.Text(), secret) {
		t.Error("the text lacks it")
	}
}

func TestParseToken_whatIsNone(t *testing.T) {
	a, _ := first(t, "blue", "a")
	token, _ := a.Token(NewTokenID())
	good := token.Text()
	for _, c := range []struct{ text, why string }{
		{"", "there is no join token"},
		{" \n", "there is no join token"},
		{"hello", "no join token"},
		{"SWMTKN-1-abc-def", "no join token"},
		{"PSWTKN-", "no join token"},
		{"PSWTKN-1-abc", "no join token"},
		{"PSWTKN-x-a-b-c", "no join token"},
		{strings.Replace(good, "-1-", "-2-", 1), "upgrade"},
		{good + "-x", "no join token"},
		{good[:len(good)-1], "copy it again"},
		{good + "a", "copy it again"},
		{strings.Replace(good, token.id, "", 1), "copy it again"},
		{strings.ToLower(good[:9]) + good[9:], "no join token"},
		{strings.ToUpper(good), "copy it again"},
		{good[:60] + string(good[60]+1) + good[61:], "copy it again"}, // a bit that does not count
		{good[:len(good)-3] + "\n" + good[len(good)-2:], "copy it again"},
	} {
		_, err := ParseToken(c.text)
		mustFail(t, err, c.why)
		if err != nil && len(c.text) > 40 && strings.Contains(err.Error(), good[len(good)-12:]) {
			t.Errorf("the error has the secret: %v", err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("PSWTKN-1-" + strings.Repeat("a", 52) + "-aaaaaaaa-" + strings.Repeat("b", 32))
	f.Add("PSWTKN-2-a-b-c")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		if token.Text() != strings.TrimSpace(text) {
			t.Errorf("%q was read as %q", text, token.Text())
		}
	})
}

func TestCheckToken(t *testing.T) {
	a, _ := first(t, "blue", "a")
	other, _ := first(t, "blue", "z")
	l := runningLedger(t)
	now := time.Now()
	forever := newToken(t, l, a.Authority, time.Time{})
	short := newToken(t, l, a.Authority, now.Add(time.Hour))
	foreign := newToken(t, l, other.Authority, time.Time{}) // recorded here, and yet not ours
	check := func(token Token, at time.Time) error { return a.CheckToken(token, l.View().State, at) }

	for _, token := range []Token{forever, short} {
		if err := check(token, now); err != nil {
			t.Error(err)
		}
	}
	if err := check(forever, now.Add(10*365*day)); err != nil {
		t.Error(err)
	}
	mustFail(t, check(short, now.Add(time.Hour)), short.ID(), "expired at")
	mustFail(t, check(foreign, now), "another cluster")
	foreign.authority = a.Digest()
	mustFail(t, check(foreign, now), "wrong")
	mustFail(t, check(Token{}, now), "there is no join token")
	wrong := forever
	wrong.secret[0] ^= 1
	mustFail(t, check(wrong, now), forever.ID(), "wrong")
	expired := short
	expired.secret[0] ^= 1 // a stranger is not told what the id says
	mustFail(t, check(expired, now.Add(time.Hour)), "wrong")
	unknown, _ := a.Token(NewTokenID())
	mustFail(t, check(unknown, now), unknown.ID(), "rotated")

	for key, change := range map[string]projection.Change{
		"not the one that was recorded": {Kind: events.Trust, Object: projection.Encode(projection.JoinToken{})},
		"rotated":                       {Kind: events.Declared, Object: projection.Encode(projection.JoinToken{Hash: unknown.hash()})}, // as a restore would
	} {
		change.Key = projection.JoinTokenKey(unknown.ID())
		record(t, l, func(*projection.State) ([]projection.Change, error) { return []projection.Change{change}, nil })
		mustFail(t, check(unknown, now), key)
		record(t, l, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Trust, Key: change.Key}}, nil
		})
	}
}

func TestRotateTokens_endsTheOthers(t *testing.T) {
	a, _ := first(t, "blue", "a")
	l := runningLedger(t)
	now := time.Now()
	old := []Token{newToken(t, l, a.Authority, time.Time{}), newToken(t, l, a.Authority, now.Add(time.Hour))}
	id := NewTokenID()
	for range 2 { // again for the same id changes nothing
		record(t, l, func(s *projection.State) ([]projection.Change, error) { return a.RotateTokens(s, id, time.Time{}) })
	}
	for _, token := range old {
		mustFail(t, a.CheckToken(token, l.View().State, now), "rotated")
	}
	token, expires, ok := a.CurrentToken(l.View().State, now)
	if !ok || token.ID() != id || !expires.IsZero() {
		t.Errorf("current is %v until %v, %v", token, expires, ok)
	}
	if err := a.CheckToken(token, l.View().State, now); err != nil {
		t.Error(err)
	}
	o, _ := l.View().Lookup(projection.JoinTokenKey(id))
	if strings.Contains(string(o.Object), encode(token.secret[:])) || o.Kind != events.Trust {
		t.Errorf("recorded as %s: %s", o.Kind, o.Object)
	}
}

func TestCurrentToken_holdsLongest(t *testing.T) {
	a, _ := first(t, "blue", "a")
	other, _ := first(t, "blue", "z")
	l := runningLedger(t)
	now := time.Now()
	if token, _, ok := a.CurrentToken(l.View().State, now); ok {
		t.Errorf("none was made, got %v", token)
	}
	newToken(t, l, other.Authority, time.Time{})
	hour := newToken(t, l, a.Authority, now.Add(time.Hour))
	longest := newToken(t, l, a.Authority, now.Add(2*time.Hour))
	newToken(t, l, a.Authority, now.Add(time.Minute))
	if token, expires, _ := a.CurrentToken(l.View().State, now); token != longest || expires.Sub(now).Round(time.Minute) != 2*time.Hour {
		t.Errorf("got %v until %v, want %v", token, expires, longest)
	}
	if _, _, ok := a.CurrentToken(l.View().State, now.Add(3*time.Hour)); ok {
		t.Error("one holds that expired")
	}
	forever := newToken(t, l, a.Authority, time.Time{})
	if token, _, _ := a.CurrentToken(l.View().State, now); token != forever {
		t.Errorf("got %v, want %v", token, forever)
	}
	id := NewTokenID()
	record(t, l, func(s *projection.State) ([]projection.Change, error) {
		return a.AddToken(s, id, time.Time{}, now.Add(time.Hour+keepExpired)) // a month later
	})
	mustFail(t, a.CheckToken(hour, l.View().State, now), "rotated")
	if err := a.CheckToken(longest, l.View().State, now); err != nil {
		t.Error(err)
	}
}

func TestRemoved(t *testing.T) {
	l := runningLedger(t)
	put := func(object string) {
		record(t, l, func(*projection.State) ([]projection.Change, error) {
			return []projection.Change{{Kind: events.Trust, Key: projection.MemberKey("b"), Object: []byte(object)}}, nil
		})
	}
	if err := Removed(l.View().State, "b"); err != nil {
		t.Errorf("nothing is recorded: %v", err)
	}
	put(`{}`)
	if err := Removed(l.View().State, "b"); err != nil {
		t.Error(err)
	}
	put(`{"removed":true}`)
	mustFail(t, Removed(l.View().State, "b"), "host b was removed from the cluster; to use its machine again, give its agent another --node-name and an empty --data-dir")
	put(`{"removed":true,"why":"sold"}`)
	mustFail(t, Removed(l.View().State, "b"), "host b was removed from the cluster: sold; to use its machine again")
	put(`{"removed":"yes"}`)
	mustFail(t, Removed(l.View().State, "b"), "cannot be read")
	if err := Removed(l.View().State, "a"); err != nil {
		t.Error(err)
	}
}

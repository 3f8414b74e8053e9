package authority

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/events"
)

// What agents of format 1 say to join, kept as text: agents of every later version must read it, and say it so that they are
// read. fromLater is what a later version might add.
const (
	format1Join = `{"op":"join","node":"b","instance":"join 1","version":"1",` +
		`"authority":"0101010101010101010101010101010101010101010101010101010101010101","token":"PSWTKN-1-x","csr":"AQI="}`
	format1Joined  = `{"addresses":["a:7946"],"certificate":"AQ==","authority":"Ag==","key":"Aw=="}`
	format1Refused = `{"error":"why not"}`
	fromLater      = `,"later":{"x":[1]}}`
)

func TestFormat1_joining(t *testing.T) {
	var authority events.Hash
	for i := range authority {
		authority[i] = 1
	}
	wantRequest := request{Op: opJoin, Node: "b", Instance: "join 1", Version: "1", Authority: authority, Token: "PSWTKN-1-x", CSR: []byte{1, 2}}
	if Protocol != "podman-swarm-join/1" || tokenPrefix+tokenForm != "PSWTKN-1" {
		t.Errorf("the talk is %s and tokens begin with %s: agents of format 1 know neither", Protocol, tokenPrefix+tokenForm)
	}
	for _, said := range []string{format1Join, strings.TrimSuffix(format1Join, "}") + fromLater} {
		if got, err := decodeRequest(strings.NewReader(said)); err != nil || !reflect.DeepEqual(got, wantRequest) {
			t.Errorf("%s: got %+v, %v", said, got, err)
		}
	}
	for text, want := range map[string]answer{format1Refused: {Error: "why not"},
		format1Joined: {Addresses: []string{"a:7946"}, Certificate: []byte{1}, Authority: []byte{2}, Key: []byte{3}}} {
		for _, said := range []string{text, strings.TrimSuffix(text, "}") + fromLater} {
			if got, err := decodeAnswer(strings.NewReader(said)); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v", said, got, err)
			}
		}
		says(t, want, text)
	}
	says(t, wantRequest, format1Join)
}

// says wants a message to be written with all that agents of format 1 wrote.
func says(t *testing.T, message any, then string) {
	t.Helper()
	b, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	var now, before map[string]any
	if err := json.Unmarshal(b, &now); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(then), &before); err != nil {
		t.Fatal(err)
	}
	for name := range before {
		if !reflect.DeepEqual(now[name], before[name]) {
			t.Errorf("%T says %s %v, in format 1 it was %v", message, name, now[name], before[name])
		}
	}
}

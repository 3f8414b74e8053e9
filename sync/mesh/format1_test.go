package mesh

import (
	"encoding/json"
	"fmt"
	"testing"
)

// What agents of format 1 say of where they are, kept as text: agents of every later version must read it, and say it so.
const format1Route = `{"node":"c","addr":"10.0.0.3:6222"}`

func TestFormat1_route(t *testing.T) {
	x, y := run(t, &Mesh{Node: "x"}), run(t, &Mesh{Node: "y"})
	told := make(chan string, 1)
	stop, err := x.Subscribe("swarm.1.test.route", func(_ string, data []byte) {
		select {
		case told <- string(data):
		default: // it says the same again each minute
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := x.AddPeers(y.Advertised()); err != nil {
		t.Fatal(err)
	}
	until(t, "x knows where y is", func() bool { return x.known.of("y") == y.Advertised() })
	until(t, "y says where it is on the subject of format 1", func() bool { return len(told) > 0 })
	if got, want := <-told, fmt.Sprintf(`{"node":"y","addr":%q}`, y.Advertised()); got != want {
		t.Errorf("y says %s, in format 1 it was %s", got, want)
	}
	for node, said := range map[string]string{"c": format1Route, "d": `{"node":"d","addr":"10.0.0.3:6222","later":{"x":[1]}}`} {
		if err := y.Publish("swarm.1.test.route", []byte(said)); err != nil {
			t.Fatal(err)
		}
		until(t, said+" is remembered", func() bool { return x.known.of(node) == "10.0.0.3:6222" })
	}
	want := whereabouts{Node: "c", Addr: "10.0.0.3:6222"}
	var got whereabouts
	if err := json.Unmarshal([]byte(format1Route), &got); err != nil || got != want {
		t.Errorf("%s is read as %+v, %v", format1Route, got, err)
	}
	if b, err := json.Marshal(want); err != nil || string(b) != format1Route {
		t.Errorf("%+v is said as %s, %v", want, b, err)
	}
}

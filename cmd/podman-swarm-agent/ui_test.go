package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// browser is a Chromium that is driven as W3C WebDriver says (https://www.w3.org/TR/webdriver2/).
type browser struct {
	t       *testing.T
	session string // URL of it
}

// chromium starts one. Set-up installs it: without it the test fails.
func chromium(t *testing.T) *browser {
	t.Helper()
	driver := exec.Command("chromedriver", "--port=0")
	out, err := driver.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := driver.Start(); err != nil {
		t.Fatalf("%v: integration/setup.sh tests installs it", err)
	}
	t.Cleanup(func() {
		_ = driver.Process.Kill() // it has closed its session, and ends the browser with it
		_ = driver.Wait()
	})
	b := &browser{t: t}
	lines := bufio.NewScanner(out)
	for b.session == "" && lines.Scan() {
		if _, port, ok := strings.Cut(lines.Text(), "started successfully on port "); ok {
			b.session = "http://127.0.0.1:" + strings.TrimSuffix(port, ".") + "/session"
		}
	}
	options := map[string]any{"args": []string{"--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,1600", "--user-data-dir=" + t.TempDir()}}
	var made struct{ SessionID string }
	b.do("POST", "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{"goog:chromeOptions": options,
		"goog:loggingPrefs": map[string]string{"browser": "ALL"}}}}, &made)
	b.session += "/" + made.SessionID
	t.Cleanup(func() { b.do("DELETE", "", nil, nil) })
	return b
}

// do asks the driver.
func (b *browser) do(method, path string, body, value any) {
	b.t.Helper()
	var raw bytes.Buffer
	if method == "POST" {
		if err := json.NewEncoder(&raw).Encode(body); err != nil {
			b.t.Fatal(err)
		}
	}
	r, err := http.NewRequest(method, b.session+path, &raw)
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := (&http.Client{Timeout: 2 * time.Minute}).Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	var a struct{ Value json.RawMessage }
	if err := json.NewDecoder(answer.Body).Decode(&a); err != nil || answer.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %s, %v: %s", method, path, answer.Status, err, a.Value)
	}
	if value != nil {
		if err := json.Unmarshal(a.Value, value); err != nil {
			b.t.Fatalf("%s: %v", a.Value, err)
		}
	}
}

// run gives what a function of JavaScript returns within the page, as JSON would have it.
func (b *browser) run(script string, args ...any) string {
	b.t.Helper()
	var value json.RawMessage
	b.do("POST", "/execute/sync", map[string]any{"script": script, "args": append([]any{}, args...)}, &value)
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

var screenshots = flag.String("screenshots", "", "folder for pictures of the page; none: they are only taken")

// picture takes one of the whole page.
func (b *browser) picture(name string) {
	b.t.Helper()
	var coded string
	b.do("GET", "/screenshot", nil, &coded)
	png, err := base64.StdEncoding.DecodeString(coded)
	if err != nil || !bytes.HasPrefix(png, []byte("\x89PNG")) {
		b.t.Fatalf("%v: no picture: %.80s", err, coded)
	}
	if *screenshots != "" {
		if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
}

// shows waits until what a selector finds has the text.
func (b *browser) shows(selector, want string) {
	b.t.Helper()
	var got string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got = b.run(`return document.querySelector(arguments[0])?.innerText ?? "nothing is there"`, selector); strings.Contains(got, want) {
			return
		}
	}
	b.t.Fatalf("%s shows %q, want %q; the page said: %s", selector, got, want, b.said())
}

// said is what the page wrote to the console: nothing, if all is well.
func (b *browser) said() string {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.do("POST", "/se/log", map[string]string{"type": "browser"}, &entries)
	var all []string
	for _, e := range entries {
		all = append(all, e.Level+" "+e.Message)
	}
	return strings.Join(all, "\n")
}

// press types keys at whatever has the focus.
func (b *browser) press(keys string) {
	b.t.Helper()
	var actions []map[string]string
	for _, k := range keys {
		actions = append(actions, map[string]string{"type": "keyDown", "value": string(k)}, map[string]string{"type": "keyUp", "value": string(k)})
	}
	b.do("POST", "/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keys", "actions": actions}}}, nil)
}

const left = "\ue012" // the arrow key, in WebDriver's words

// TestUI_inChromium looks at the page of an agent of two in a real browser: what it shows, that it follows, goes back in time by
// the keyboard, and that everything has a name for who cannot see it.
func TestUI_inChromium(t *testing.T) {
	a := newHost(t, "a", "--backup-interval=0", "--backup-increment-interval=0").start(t) // no backup but those that are asked for, as they are counted
	other := newHost(t, "b", "--join="+a.cluster, "--join-token="+a.token(t)).start(t)
	a.status(t, "two alive and agreeing", alive(2))
	a.ask(t, "POST", "/swarm/v1/backups", "", http.StatusCreated)
	deployment := func(name string, replicas int) string {
		return fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s}\nspec:\n  replicas: %d\n  selector: {matchLabels: {app: %[1]s}}\n"+
			"  template:\n    metadata: {labels: {app: %[1]s}}\n    spec: {containers: [{name: web, image: localhost/web}]}\n", name, replicas)
	}
	a.ask(t, "POST", "/api/v1/manifests", deployment("shop", 2), http.StatusOK)

	b := chromium(t)
	b.do("POST", "/url", map[string]string{"url": a.url + "/ui"}, nil)
	b.shows("#where", "on a")
	b.shows("#verdict", "2 of 2 hosts alive, all that are alive agree, 0 of 2 replicas run")
	b.shows("#hosts tbody", "b")
	b.shows("#deployments tbody", "default/shop")
	b.shows("#deployments tbody", "0/2")
	b.shows("#problems", "Podman cannot be reached") // and there is none here
	b.shows("#recovery", "Bounced")
	b.shows("#backups", ".json")
	b.shows("#events", "deployment/default/shop: created")
	b.shows("#events", "sight/b: hears all others") // as psctl events says it, without a click
	b.shows("#events", "backup/a: state-backup-")

	// What was found of a backup, and the focus, stay when the list is looked at again, and when there is one more.
	b.run(`const check = document.querySelector("#backups button"); check.focus(); check.click()`)
	b.shows("#backups", " whole")
	const kept = `return lookAtCards().then(() => [document.querySelectorAll("#backups li").length,
		[...document.querySelectorAll("#backups li")].find((li) => li.innerText.endsWith(" whole"))?.contains(document.activeElement) ?? "it is gone"])`
	if got := b.run(kept); got != "[1,true]" {
		t.Errorf("looked at again, there are %s", got)
	}
	a.ask(t, "POST", "/swarm/v1/backups", "", http.StatusCreated)
	if got := b.run(kept); got != "[2,true]" {
		t.Errorf("with one more, there are %s", got)
	}
	if got := b.run(`const was = page.newest; heard([{end: {reason: "TooSlow"}}]); return [page.newest === was, page.events.some((e) => e.end)]`); got != "[true,false]" {
		t.Errorf("the end of what is told was taken for an event: %s", got)
	}
	const aloud = `return ["at", "events-say"].map((id) => document.getElementById(id).getAttribute("role"))`
	if got := b.run(aloud); got != "[null,null]" {
		t.Errorf("what changes with each event is read aloud each time: %s", got)
	}

	if got := b.run(`return replica({name: "x", state: arguments[0]}).querySelector(".good")?.innerText ?? "not good"`, string(projection.Running)); got != "Running" {
		t.Errorf("a replica that runs is shown as %s", got)
	}

	// What another host declares appears by itself, and nothing of it is taken for HTML.
	other.ask(t, "POST", "/api/v1/manifests?cause=%3Cimg+id%3Devil+src%3Dx%3E", deployment("till", 0), http.StatusOK)
	b.shows("#deployments tbody", "default/till")
	b.shows("#events", "deployment/default/till")
	b.shows("#events", "<img id=evil src=x>")
	if got := b.run(`return String(document.querySelector("#evil"))`); got != "null" {
		t.Errorf("a cause became an element: %s", got)
	}

	// A filter, and the event itself.
	b.run(`const f = document.querySelector("#filters"); f.key.value = "till"; f.kind.value = "declared"; f.dispatchEvent(new Event("input"))`)
	b.shows("#events-say", "1 of the ")
	b.shows("#filtered", "1 of the ")
	if got := b.run(`return document.querySelector("#filtered").getAttribute("role")`); got != "status" {
		t.Errorf("what a filter finds is not read aloud: role %s", got)
	}
	b.run(`document.querySelector("#events summary").click()`)
	b.shows("#events pre", `"key": "deployment/default/till"`)

	// Back before that, by the keyboard alone, and to now again.
	b.run(`document.querySelector("#moment").focus()`)
	index := b.run(`return document.querySelector("#events li").value`)
	b.press(left)
	b.shows("#at", "As it was after event ")
	if got := b.run(aloud); got != `["status",null]` {
		t.Errorf("back in time, of the moment and the events these are read aloud: %s", got)
	}
	for deadline := time.Now().Add(time.Minute); b.run(`return String(document.querySelector("#deployments tbody").innerText.includes("till"))`) == "true"; {
		if time.Now().After(deadline) {
			t.Fatalf("at each earlier moment there is what event %s made", index)
		}
		b.press(left)
		b.run(`return document.querySelector("#at").innerText`)
		time.Sleep(200 * time.Millisecond) // the page waits a moment until who slides has come to rest
	}
	b.shows("#deployments tbody", "default/shop")
	b.run(`document.querySelector("#main").focus()`)
	b.press("n")
	b.shows("#at", "Now: ")
	if got := b.run(aloud); got != "[null,null]" {
		t.Errorf("now again, what changes with each event is read aloud each time: %s", got)
	}
	b.shows("#deployments tbody", "default/till")

	nameless := b.run(`return [...document.querySelectorAll("main button, main input, main select, main [tabindex='0']")].filter((e) =>
		e.offsetParent && !e.ariaLabel && !e.getAttribute("aria-labelledby") && !e.labels?.length && !e.innerText.trim()).map((e) => e.outerHTML)`)
	if nameless != "[]" {
		t.Errorf("these have no name for who cannot see them: %s", nameless)
	}
	if said := b.said(); said != "" {
		t.Errorf("the page wrote to the console:\n%s", said)
	}

	// An agent that does not answer is said to be away, and what comes after its return is shown.
	a.end(t)
	b.shows("#verdict", "The agent does not answer")
	a.start(t)
	a.status(t, "two alive and agreeing", alive(2))
	a.ask(t, "POST", "/api/v1/manifests", deployment("later", 0), http.StatusOK)
	b.shows("#deployments tbody", "default/later")
	b.shows("#verdict", "2 of 2 hosts alive")
	other.end(t)
	a.end(t)
}

// TestUI_whatAPersonReads looks at the page of one of three hosts: while they agree, while one is away, when two have changed the same thing, and
// after a recovery. With -screenshots FOLDER it leaves pictures there.
func TestUI_whatAPersonReads(t *testing.T) {
	const alone = "--recover-alone-after=1ms"
	hosts := []*host{newHost(t, "a").start(t)}
	a := hosts[0]
	token := a.token(t)
	for _, name := range []string{"b", "c"} {
		hosts = append(hosts, newHost(t, name, "--join="+a.cluster, "--join-token="+token).start(t))
	}
	a.status(t, "three alive and agreeing", alive(3))
	b := chromium(t)
	b.do("POST", "/url", map[string]string{"url": a.url + "/ui"}, nil)
	b.shows("#verdict", "3 of 3 hosts alive, all that are alive agree")
	for _, h := range hosts {
		b.shows("#hosts tbody", h.name)
	}
	b.picture("agreeing")

	c := hosts[2]
	c.end(t)
	b.shows("#verdict", "2 of 3 hosts alive")
	b.shows("#hosts tbody tr:nth-child(3)", "c")
	b.shows("#hosts tbody tr:nth-child(3)", "the agent of host c was stopped")
	b.picture("away")

	service := func(port int) string {
		return strings.Replace(svc("shop"), "port: 80", fmt.Sprint("port: ", port), 1)
	}
	a.ask(t, "POST", "/api/v1/manifests", service(81), http.StatusOK)
	b.shows("#events", "service/default/shop")
	a.end(t)
	hosts[1].end(t)
	c.start(t, alone)
	c.token(t) // it takes changes
	c.ask(t, "POST", "/api/v1/manifests", service(82), http.StatusOK)
	a.start(t)
	hosts[1].start(t)
	a.status(t, "three alive and agreeing", alive(3))
	b.shows("#verdict", "3 of 3 hosts alive, all that are alive agree")
	b.shows("#problems", "1 change lost against others that did not know of them")
	b.shows("#problems", "psctl conflicts")
	b.picture("conflict")

	var last projection.Recovery
	if err := json.Unmarshal([]byte(a.ask(t, "GET", "/swarm/v1/recovery", "", http.StatusOK)), &last); err != nil || last.Replayed == 0 {
		t.Fatalf("%v: %+v", err, last)
	}
	b.shows("#recovery", fmt.Sprintf("Events replayed\n%d\n", last.Replayed))
	b.shows("#recovery", "Bounced\n0")
	b.picture("recovery")
	if said := b.said(); strings.Contains(said, "TypeError") || strings.Contains(said, "ReferenceError") {
		t.Errorf("the page wrote to the console:\n%s", said)
	}
	for _, h := range hosts {
		h.end(t)
	}
}

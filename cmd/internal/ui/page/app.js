// The page asks the agent for what it shows, and changes nothing. All that comes from the agent is set as text, never as HTML.
// It is no module: of these browsers tell the agent that a page asks for them, which it refuses.
"use strict";

const $ = (id) => document.getElementById(id);

/** el makes an element of a tag, of properties, and of children that are elements or text. */
function el(tag, props = {}, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return e;
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** when is a time as people read it, with the exact one where they point. */
function when(text) {
  const t = new Date(text);
  return el("time", { dateTime: text, title: text }, clock.format(t));
}

/** span is about how long, in one unit. */
function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 120) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

const ago = (text) => span((Date.now() - new Date(text)) / 1000);

function bytes(n) {
  const unit = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < unit.length - 1; i++) n /= 1000;
  return `${i === 0 ? n : n.toFixed(1)} ${unit[i]}`;
}

// What is kept between two looks.
const page = {
  status: null, // of the agent, now
  problems: 0, // how many it has
  wanted: 0, // replicas, by what is declared now
  state: null, // what is shown: now, or at a moment
  at: null, // index of the event whose state is shown; null: now
  newest: 0, // index of the newest event that was heard of
  events: [], // the newest last
  oldest: 0, // index of the oldest that was asked for
  kinds: new Set(),
  backups: "", // the names of those that are shown
  lost: "", // why the agent cannot be asked
};

class Refused extends Error {}

/** ask gets a path, with the token if one was given. */
async function ask(path, more = {}) {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...more, headers, cache: "no-store" });
  if (answer.ok) return answer;
  let why = `${answer.status} ${answer.statusText}`;
  try {
    why = (await answer.json()).message || why;
  } catch { /* it is not of the API, and has no message */ }
  if (answer.status === 401 || answer.status === 403) throw new Refused(why);
  throw new Error(why);
}

const json = async (path) => (await ask(path)).json();

// The moment.

let showing = 0; // counts what was asked for, so that an answer that came late is not shown

async function showState() {
  const mine = ++showing;
  const path = page.at === null ? "/swarm/v1/state" : `/swarm/v1/state?at=${page.at}`;
  try {
    const state = await json(path);
    if (mine !== showing) return;
    page.state = state;
    renderState();
  } catch (e) {
    if (mine !== showing) return;
    if (e instanceof Refused) return login(e);
    if (page.at !== null) $("at").textContent = `Event ${page.at}: ${e.message}`;
    else lost(e);
  }
}

function travelTo(index) {
  const to = Math.min(Math.max(1, index), page.newest);
  page.at = to >= page.newest ? null : to;
  document.body.classList.toggle("past", page.at !== null);
  if (page.at !== null) $("at").setAttribute("role", "status"); // before it says anything, so that it is read aloud
  renderSlider();
  showState();
}

function renderSlider() {
  const s = $("moment");
  s.min = page.newest > 0 ? 1 : 0;
  s.max = page.newest;
  s.value = page.at ?? page.newest;
  s.setAttribute("aria-valuetext", page.at === null ? "now" : `event ${page.at} of ${page.newest}`);
  $("now").disabled = $("forth").disabled = page.at === null;
  $("back").disabled = (page.at ?? page.newest) <= 1;
}

// What is shown of a state.

function renderState() {
  const s = page.state;
  const at = $("at");
  if (page.at === null) {
    page.wanted = Object.values(s.deployments || {}).reduce((n, d) => n + d.desired_replicas, 0);
    renderVerdict();
    at.removeAttribute("role"); // it changes with each event: who cannot see it would be told without end
    at.replaceChildren(`Now: event ${s.index}, of `, when(s.last_modified), ".");
  } else {
    at.replaceChildren(el("strong", {}, `As it was after event ${page.at}`), ", of ", when(s.last_modified),
      `. psctl restore --at ${page.at} --dry-run shows what going back there would change.`);
  }
  renderHosts();
  renderDeployments();
}

/** hostsThen are the hosts as they are recorded in a state: what only listening tells is not known of the past. */
function hostsThen(state) {
  return Object.entries(state.facts || {}).filter(([key]) => key.startsWith("host/")).map(([key, fact]) => {
    const o = fact.object || {};
    return { host: key.slice("host/".length), podman: o.podman, version: o.version };
  });
}

function renderHosts() {
  const past = page.at !== null;
  const all = past ? hostsThen(page.state) : page.status?.hosts || [];
  const pods = Object.values(page.state?.pods || {});
  const rows = all.map((h) => {
    const here = pods.filter((p) => p.node === h.host);
    const running = here.filter((p) => p.state === "Running").length;
    const offset = h.clock_offset_seconds, trip = h.round_trip_seconds;
    return el("tr", {},
      el("th", { scope: "row" }, h.host, h.self ? el("span", { className: "dim" }, " (asked)") : ""),
      past ? el("td", { className: "dim" }, "not known of then") : el("td", {}, ...hostState(h)),
      el("td", {}, `${running}/${here.length}`),
      el("td", {}, ...agreement(h, past)),
      el("td", {}, h.lag_events || h.lag_seconds ? `${h.lag_events || "?"} (${span(h.lag_seconds)})` : h.self || past ? "" : "0"),
      el("td", {}, offset === undefined ? "" : (offset < 0 ? "−" : "+") + span(Math.abs(offset))),
      el("td", {}, trip === undefined ? "" : span(trip)),
      el("td", {}, h.podman || el("span", { className: "bad" }, "none")),
      el("td", {}, h.version || ""));
  });
  $("hosts").tBodies[0].replaceChildren(...rows);
}

function hostState(h) {
  const words = [];
  const good = h.state === "alive" && h.ready && !h.readonly;
  words.push(el("span", { className: good ? "good" : "bad" }, h.state + (h.since ? ` for ${ago(h.since)}` : "")));
  if (h.state === "alive" && !h.ready) words.push(", not ready");
  if (h.draining) words.push(", draining");
  else if (h.cordoned) words.push(", cordoned");
  if (h.readonly) words.push(`, read-only: ${h.readonly}`);
  if (h.why) words.push(el("div", { className: "dim" }, h.why));
  if (h.stuck) words.push(el("div", { className: "warn" }, h.stuck));
  return words;
}

function agreement(h, past) {
  if (past || h.self || !h.digest) return [""];
  if (h.digest === "agrees") return [el("span", { className: "good" }, h.agrees_since ? `since ${ago(h.agrees_since)} ago` : "yes")];
  return [el("span", { className: h.digest === "unknown" ? "dim" : "bad" }, h.digest)];
}

const mostRows = 200;

function renderDeployments() {
  const find = $("find").value.trim().toLowerCase();
  const all = Object.entries(page.state?.deployments || {});
  const found = all.filter(([key, d]) => !find || key.toLowerCase().includes(find) || d.pods.some((p) => p.node.toLowerCase().includes(find)));
  const rows = found.slice(0, mostRows).map(([key, d]) => {
    const running = d.pods.filter((p) => p.state === "Running").length;
    const enough = running >= d.desired_replicas;
    return el("tr", {},
      el("th", { scope: "row" }, key),
      el("td", { className: enough ? "good" : "bad" }, `${running}/${d.desired_replicas}`),
      el("td", {}, el("ul", { className: "plain replicas" }, ...d.pods.map(replica))));
  });
  if (found.length > mostRows) {
    rows.push(el("tr", {}, el("td", { colSpan: 3, className: "dim" }, `and ${found.length - mostRows} more: find fewer`)));
  }
  if (found.length === 0) {
    rows.push(el("tr", {}, el("td", { colSpan: 3, className: "dim" }, all.length ? "none of that name" : "none: psctl apply -f FILE makes one")));
  }
  $("deployments").tBodies[0].replaceChildren(...rows);
  $("deployments-count").textContent = all.length ? `(${all.length})` : "";
}

function replica(p) {
  const running = p.state === "Running";
  const text = [p.name, el("span", { className: "dim" }, ` on ${p.node || "no host"} `), el("span", { className: running ? "good" : "bad" }, p.state || "not known")];
  if (p.restarts) text.push(`, restarted ${p.restarts}×`);
  if (p.reason || p.message) text.push(el("span", { className: "dim" }, ` ${[p.reason, p.message].filter(Boolean).join(": ")}`));
  return el("li", { title: p.container ? `container ${p.container}` : "" }, ...text);
}

// How the agent is, now.

function renderStatus() {
  const st = page.status;
  $("where").textContent = `on ${st.host}${st.cluster ? `, cluster ${st.cluster}` : ""}, ${st.version}`;
  document.title = `${st.host} · Podman Swarm`;
  const problems = (st.problems || []).map((p) => [`${p.what}: ${p.why}`, p.do]);
  const say = (text, what) => { if (text) problems.push([`${what}: ${text}`]); };
  say(st.recovering, "This host recovers");
  say(st.readonly, "Nothing can be recorded here");
  say(st.podman, "Podman cannot be reached");
  say(st.snapshot_error, "state.json is not written");
  say(st.backup_error, "No backup was made");
  say(st.orphans_error, "Orphans are not known");
  for (const r of st.refused || []) problems.push([`${r.key} of the old state.json could not be declared: ${r.why}`, "Declare it yourself; psctl status -o json has all that was said of it"]);
  const pod = (n, not) => problems.push([`Pod ${n.pod} ${not}${n.host ? ` on ${n.host}` : ""}: ${n.why}`]);
  for (const n of st.not_running || []) pod(n, "does not run");
  for (const n of st.not_moved || []) pod(n, "is not moved, and runs");
  if (st.conflicts) problems.push([`${st.conflicts} ${st.conflicts === 1 ? "change" : "changes"} lost against others that did not know of them`, "psctl conflicts"]);
  if (st.orphans) problems.push([`${st.orphans} ${st.orphans === 1 ? "container" : "containers"} of ours that nothing explains run on`, "psctl orphans"]);
  $("problems").hidden = problems.length === 0;
  $("problems").querySelector("ul").replaceChildren(...problems.map(([text, todo]) =>
    el("li", {}, text, todo ? el("div", { className: "dim" }, todo) : "")));
  page.problems = problems.length;
  renderVerdict();
}

function renderVerdict() {
  const v = $("verdict"), st = page.status, problems = page.problems;
  if (page.lost) {
    v.className = "bad";
    v.textContent = `The agent does not answer (${page.lost}). What is shown is what it said last.`;
    return;
  }
  const hosts = (st.hosts || []).filter((h) => h.state !== "removed"), alive = hosts.filter((h) => h.state === "alive").length;
  const parts = [];
  if (hosts.length > 1) {
    parts.push(`${alive} of ${hosts.length} hosts alive`);
    parts.push(st.agree_since ? "all that are alive agree" : "they do not all agree yet");
  }
  parts.push(`${st.running} of ${page.wanted} replicas run`);
  parts.push(problems ? `${problems} ${problems === 1 ? "thing needs" : "things need"} a look` : "nothing needs a look");
  const text = `${parts.join(", ")}.`;
  v.className = problems || alive < hosts.length ? "warn" : "good";
  if (v.textContent !== text) v.textContent = text; // so that it is read aloud when it changes, and only then
}

function renderRecovery(r) {
  const rows = [];
  const row = (name, ...value) => rows.push(el("dt", {}, name), el("dd", {}, ...value));
  row("Began", when(r.started));
  row("Took", r.done ? span((new Date(r.done) - new Date(r.started)) / 1000) : "goes on");
  row("Events replayed", String(r.replayed));
  row("Left running", String(r.adopted));
  row("Started again", String(r.started_again));
  row("Made anew", String(r.created));
  row("Removed", String(r.removed));
  row("Failed", el("span", { className: r.failed ? "bad" : "" }, String(r.failed)));
  row("Bounced", el("span", { className: r.bounced ? "bad" : "good" }, String(r.bounced)));
  $("recovery").replaceChildren(...rows);
}

const mostBackups = 8;

function renderBackups(all) {
  all.reverse(); // they come in the order in which they were made, those of a clock that was ahead before all others
  $("backups-say").textContent = all.length ? `${all.length}, the newest from ${ago(all[0].made)} ago.` : "There is none.";
  const shown = all.slice(0, mostBackups), names = shown.map((b) => b.name).join("\n");
  if (names === page.backups) return; // so that what has been said of them, and the focus, stay
  page.backups = names;
  const before = new Map([...$("backups").children].map((li) => [li.dataset.name, li]));
  const rows = shown.map((b) => before.get(b.name) || backup(b)); // of a name there is one, and it does not change
  const focused = document.activeElement;
  $("backups").replaceChildren(...rows);
  if (focused !== document.activeElement && $("backups").contains(focused)) focused.focus();
}

function backup(b) {
  const said = el("span", { role: "status" });
  const check = el("button", { type: "button" }, "Verify");
  check.setAttribute("aria-label", `Verify ${b.name}`);
  check.addEventListener("click", async () => {
    said.className = "dim";
    said.textContent = " reading it…";
    try {
      const v = await json(`/swarm/v1/backups/${encodeURIComponent(b.name)}/verify`);
      said.className = v.damage ? "bad" : "good";
      said.textContent = v.damage ? ` ${v.damage}` : v.unopened ? " its bytes are whole; it is sealed, and cannot be opened here" : " whole";
    } catch (e) {
      said.className = "bad";
      said.textContent = ` ${e.message}`;
    }
  });
  const row = el("li", {}, check, ` ${b.name} `, el("span", { className: "dim" }, bytes(b.bytes)), said);
  row.dataset.name = b.name;
  return row;
}

// Events.

const mostEvents = 500; // that are shown, and ten times as many are kept

function matches(e) {
  const f = new FormData($("filters"));
  const has = (field, text) => !text || (field || "").toLowerCase().includes(text.trim().toLowerCase());
  return (!f.get("kind") || e.kind === f.get("kind")) && has(e.key, f.get("key")) && has(e.node, f.get("node")) && has(e.actor, f.get("actor"));
}

function line(e) {
  const what = [e.key, e.summary].filter(Boolean).join(": ");
  const who = [e.node && `by ${e.node}`, e.actor, e.cause].filter(Boolean).join(", ");
  const all = el("details", {}, el("summary", {}, el("span", { className: "index dim" }, String(e.index)), when(e.at), ` ${what} `, el("span", { className: "dim" }, who)));
  all.addEventListener("toggle", () => {
    if (!all.open || all.children.length > 1) return;
    const go = el("button", { type: "button" }, `Show the state after event ${e.index}`);
    go.addEventListener("click", () => { travelTo(e.index); $("travel").scrollIntoView({ block: "nearest" }); });
    all.append(el("pre", {}, JSON.stringify(e, null, 2)), go);
  });
  return el("li", { value: e.index }, all);
}

function renderEvents() {
  const found = page.events.filter(matches);
  $("events").replaceChildren(...found.slice(-mostEvents).reverse().map(line));
  sayEvents(found.length);
}

function sayEvents(found) {
  const of = page.events.length;
  $("events-say").textContent = `${found} of the ${of} events from ${page.oldest} to ${page.newest}${found > mostEvents ? `; the newest ${mostEvents} are shown` : ""}.`;
  $("older").hidden = page.oldest <= 1;
}

/** tellEvents has said aloud what somebody has asked for; of what comes by itself only the text changes. */
function tellEvents() {
  $("filtered").textContent = $("events-say").textContent;
}

function noteKind(kind) {
  if (!kind || page.kinds.has(kind)) return;
  page.kinds.add(kind);
  $("filters").kind.append(el("option", { value: kind }, kind));
}

/** heard takes new events. */
function heard(all) {
  for (const e of all) {
    if (e.end) continue; // why the agent says no more for now: it is asked again
    noteKind(e.kind);
    page.events.push(e);
    page.newest = Math.max(page.newest, e.index);
  }
  page.events.splice(0, Math.max(0, page.events.length - 10 * mostEvents));
  if (page.events.length) page.oldest = page.events[0].index;
  renderSlider();
  if (!$("filters").live.checked) return;
  const list = $("events");
  const fresh = all.filter((e) => !e.end && matches(e)).slice(-mostEvents).map((e) => Object.assign(line(e), { className: "new" }));
  list.prepend(...fresh.reverse());
  while (list.children.length > mostEvents) list.lastChild.remove();
  sayEvents(page.events.filter(matches).length);
}

/** lines calls fn with the events of an answer, piece by piece as they come; fn returns false to have enough. */
async function lines(path, fn) {
  const stop = new AbortController();
  const answer = await ask(path, { signal: stop.signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const all = (rest + value).split("\n");
    rest = all.pop();
    if (fn(all.filter(Boolean).map((l) => JSON.parse(l))) === false) {
      stop.abort();
      return;
    }
  }
}

/** follow reads the log from near its end on, for ever. */
async function follow() {
  for (let wait = 500; ; wait = Math.min(2 * wait, 8000)) {
    try {
      await lines(`/swarm/v1/events?summary=true&follow=true&after=${page.newest}`, (all) => {
        wait = 500;
        heard(all);
        if (all.length) soon();
      });
    } catch (e) {
      if (e instanceof Refused) return login(e);
      lost(e);
    }
    await new Promise((r) => setTimeout(r, wait));
  }
}

$("older").addEventListener("click", async () => {
  const before = page.oldest, from = Math.max(0, before - 1 - mostEvents);
  const more = [];
  $("older").disabled = true;
  try {
    await lines(`/swarm/v1/events?summary=true&after=${from}`, (all) => {
      more.push(...all.filter((e) => e.index < before));
      return all.length === 0 || all[all.length - 1].index < before - 1;
    });
    more.forEach((e) => noteKind(e.kind));
    page.events.unshift(...more);
    page.oldest = from + 1;
    renderEvents();
  } catch (e) {
    $("events-say").textContent = e.message;
  }
  tellEvents();
  $("older").disabled = false;
});

// When to look again.

let due = 0; // a timer
let took = 0; // how long the newest look took, in ms

/** soon looks at the state anew, but so that looking takes a tenth of the time at most. */
function soon() {
  if (due || page.at !== null) return;
  due = setTimeout(async () => {
    due = 0;
    const began = performance.now();
    await Promise.all([look(), page.at === null ? showState() : null]);
    took = performance.now() - began;
  }, Math.max(300, 10 * took));
}

function lost(e) {
  page.lost = e.message || String(e);
  if (page.status) renderVerdict();
  else $("verdict").textContent = `The agent does not answer (${page.lost}).`;
}

/** look asks how the agent is. */
async function look() {
  try {
    page.status = await json("/swarm/v1/status");
    if (page.lost) lookAtCards(); // it has started again
    page.lost = "";
    if (page.status.index < page.newest) page.newest = page.status.index; // its log was put back
    renderStatus();
    if (page.state && page.at === null) renderHosts();
  } catch (e) {
    if (e instanceof Refused) return login(e);
    lost(e);
  }
}

async function lookAtCards() {
  await Promise.all([json("/swarm/v1/recovery").then(renderRecovery), json("/swarm/v1/backups").then(renderBackups)]).catch(() => {});
}

/** every calls fn again and again while somebody looks. */
function every(ms, fn) {
  setInterval(() => { if (!document.hidden) fn(); }, ms);
}

function login(e) {
  $("main").hidden = true;
  $("login").hidden = false;
  $("refused").textContent = sessionStorage.getItem("token") ? e.message : "";
  $("verdict").textContent = "";
  $("token").focus();
}

$("login").addEventListener("submit", (e) => {
  e.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim()); // until the tab is closed
  location.reload();
});

let sliding = 0;
$("moment").addEventListener("input", () => {
  clearTimeout(sliding);
  const to = Number($("moment").value);
  sliding = setTimeout(() => travelTo(to), 120);
});
$("now").addEventListener("click", () => travelTo(page.newest));
$("back").addEventListener("click", () => travelTo((page.at ?? page.newest) - 1));
$("forth").addEventListener("click", () => travelTo((page.at ?? page.newest) + 1));
$("find").addEventListener("input", renderDeployments);
$("filters").addEventListener("input", () => {
  renderEvents();
  tellEvents();
});
$("filters").addEventListener("submit", (e) => e.preventDefault());
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input:not([type=range],[type=checkbox]), select")) return;
  const button = { ",": "back", ".": "forth", n: "now", "/": "" }[e.key];
  if (button) $(button).click();
  if (button === "") {
    e.preventDefault();
    $("find").focus();
  }
});

async function start() {
  await look();
  if (!page.status) {
    if ($("login").hidden) setTimeout(start, 2000);
    return;
  }
  $("main").hidden = false;
  page.newest = Math.max(0, page.status.index - 200);
  page.oldest = page.newest + 1;
  await Promise.all([showState(), lookAtCards()]);
  follow();
  every(5000, look);
  every(30000, lookAtCards);
}

start();

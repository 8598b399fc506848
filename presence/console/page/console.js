"use strict";
// The page shows what the API says. Everything that comes from it is written as text,
// never as markup.

const $ = (id) => document.getElementById(id);
const keyName = "token";
const quiet = 40000; // ms: the server says something every 15 s
let token = "";
try { token = sessionStorage.getItem(keyName) || ""; } catch { /* asked for each time */ }

// element makes one: element("td", {class: "x"}, "text", child).
function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) e.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) e.setAttribute(key, value);
  }
  for (const child of children) if (child !== null && child !== undefined) e.append(child);
  return e;
}

class Failure extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

async function call(path, options) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = "Bearer " + token;
  const answer = await fetch(path, { headers, cache: "no-store", ...options });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Failure(answer.status, body.error || "the server answers " + answer.status);
}
const get = async (path, signal) => (await call(path, { signal })).json();

// time shows a moment, without the date where that is today.
function time(s) {
  if (!s || s.startsWith("0001")) return "";
  const at = new Date(s), today = at.toDateString() === new Date().toDateString();
  return element("time", { datetime: s, title: s }, today ? at.toLocaleTimeString() : at.toLocaleString([], { dateStyle: "short", timeStyle: "medium" }));
}
const statuses = ["available", "busy", "away", "other", "unavailable", "signed out", "unknown"];
const status = (s, text) => element("span", { class: "status", "data-status": s }, text || s);
const number = (n) => n.toLocaleString();
// address shows a URI: without the scheme that most have, and broken behind its @ if it must be.
const address = (uri) => element("span", { title: uri }, ...uri.replace(/^sip:/, "").split(/(?<=@)/).flatMap((s, i) => i ? [element("wbr"), s] : [s]));
const userLink = (entity, text) => element("a", { href: "#/users/" + encodeURIComponent(entity) }, text || address(entity));

// table draws rows: columns are [heading, cell of row, optional: left out where no row has it].
function table(caption, columns, rows, decorate) {
  if (!rows.length) return element("p", { class: "faint" }, "none");
  columns = columns.filter(([, cell, optional]) => !optional || rows.some(cell));
  const head = element("tr", null, ...columns.map(([name]) => element("th", { scope: "col" }, name)));
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr", null, ...columns.map(([name, cell], i) =>
      element(i ? "td" : "th", i ? { "data-label": name } : { scope: "row" }, cell(row))));
    if (decorate) decorate(line, row);
    body.append(line);
  }
  return element("table", null, element("caption", null, caption), element("thead", null, head), body);
}

const part = (name, content) => element("section", null, element("h2", null, name), content);
const heading = (text) => element("h1", { tabindex: "-1" }, text);

function pager(p, go) {
  const back = element("button", { type: "button", disabled: p.offset === 0 }, "Previous");
  const on = element("button", { type: "button", disabled: p.offset + p.items.length >= p.total }, "Next");
  back.onclick = () => go(Math.max(0, p.offset - p.limit));
  on.onclick = () => go(p.offset + p.limit);
  const to = p.offset + p.items.length;
  return element("div", { class: "pager" }, back, on, element("span", { class: "faint" }, p.total ? `${number(p.offset + 1)} to ${number(to)} of ${number(p.total)}` : "none"));
}

// The views. Each has open(), which draws it, and may have changed(event).

const users = {
  query: "", status: "", offset: 0, rows: new Map(),
  open() {
    this.list = element("div");
    this.counts = element("div");
    const search = element("input", { type: "search", id: "search", value: this.query, placeholder: "name, address, number or note", autocomplete: "off" });
    const choice = element("select", null, ...["", ...statuses].map((s) =>
      element("option", { value: s, selected: s === this.status }, s || "all")));
    let typing;
    search.oninput = () => { clearTimeout(typing); typing = setTimeout(() => { this.query = search.value; this.offset = 0; refresh(); }, 200); };
    choice.onchange = () => { this.status = choice.value; this.offset = 0; refresh(); };
    return [heading("Users"), this.counts, element("div", { class: "tools", role: "search" },
      element("label", null, "Search", search), element("label", null, "Status", choice)), this.list];
  },
  async load(signal) {
    const p = new URLSearchParams({ limit: 50, offset: this.offset });
    if (this.query) p.set("q", this.query);
    if (this.status) p.set("status", this.status);
    const [page, sum] = await Promise.all([get("v1/users?" + p, signal), get("v1/summary", signal)]);
    $("nodes").hidden = !sum.nodes;
    const count = (n, name) => element("li", null, element("b", null, number(n)), " " + name);
    this.counts.replaceChildren(
      element("ul", { class: "counts", "aria-label": "Users by status" }, ...statuses.filter((s) => sum.statuses[s]).map((s) =>
        element("li", null, status(s, `${number(sum.statuses[s])} ${s}`)))),
      element("ul", { class: "counts", "aria-label": "What the server holds" }, count(sum.clients, "clients"), count(sum.publications, "publications"),
        count(sum.subscriptions, "subscriptions"), count(sum.watches, `watched addresses of at most ${number(sum.max_watches)}`)));
    this.rows.clear();
    const t = table("Users", [
      ["User", (u) => u.entity ? userLink(u.entity, u.name || u.entity) : u.name || u.id], ["Status", (u) => status(u.status)], ["Note", (u) => u.note],
      ["Since", (u) => time(u.since)], ["Changes by itself", (u) => time(u.next_change)], ["Watchers", (u) => String(u.watchers || "")], ["Address", (u) => u.entity && address(u.entity)],
    ], page.items, (line, u) => this.rows.set(u.entity, line));
    t.classList.add("people");
    this.list.replaceChildren(t, pager(page, (offset) => { this.offset = offset; refresh(); }));
  },
  // changed writes one change into its row, if that is in sight.
  changed(e) {
    const line = this.rows.get(e.entity);
    if (line) {
      const [, state, note, since] = line.children; // these columns are always there
      state.replaceChildren(status(e.status));
      note.textContent = e.note;
      since.replaceChildren(time(e.timestamp));
      line.classList.remove("fresh");
      void line.offsetWidth;
      line.classList.add("fresh");
    }
    soon(2000); // when it changes next, and whether it belongs here
  },
};

function user(entity) {
  return {
    open() { this.body = element("div"); return [element("p", null, element("a", { href: "#/users" }, "← All users")), heading(entity), this.body]; },
    async load(signal) {
      const u = await get("v1/users/" + encodeURIComponent(entity), signal);
      this.entity = u.entity;
      document.querySelector("#view h1").textContent = u.display_name || u.entity;
      document.title = (u.display_name || u.entity) + " – Presence";
      const x = u.explain, p = u.presence;
      const next = x.next_change ? element("span", null, "changes by itself at ", time(x.next_change)) : element("span", null, "stays until somebody says otherwise");
      const parts = [
        element("div", { class: "now" }, status(x.status), element("span", null, x.note),
          element("span", { class: "faint" }, x.rule ? `by the rule “${x.rule}”; ` : "", next),
          element("span", { class: "faint" }, [u.entity, u.account, u.mail, ...(u.tel || []).map((t) => "tel:" + t)].filter(Boolean).join(" · "))),
        element("h2", null, "Why"),
        table("What every source says", [
          ["Source", (s) => s.source], ["Says", (s) => s.value], ["Result", (s) => s.won ? "won" : s.counts ? "lost" : "does not count"],
          ["Said by", (s) => s.owner, true], ["Age", (s) => s.age, true], ["Holds for", (s) => s.lifetime, true],
        ], x.sources, (line, s) => s.won && line.classList.add("won")),
        element("div", { class: "beside" },
          part("Lines", table("Lines", [["Line", (d) => d.dn], ["State", (d) => d.state], ["Forwarded to", (d) => d.forward, true]], p.devices)),
          part("Other presence system", table("Other presence system", [
            ["Status", (e) => e.status], ["Text", (e) => e.freeText, true], ["Forwarded to", (e) => e.fwdDestination, true], ["Telephone", (e) => e.telephoneEvent, true],
          ], p.external ? [p.external] : [])),
          part("Appointments", table("Appointments", [
            ["From", (a) => time(a.from)], ["To", (a) => time(a.end)], ["State", (a) => a.state],
            ["Subject", (a) => a.private ? "private" : a.subject, true], ["Place", (a) => a.private ? "" : a.location, true],
          ], u.appointments)),
          part("Timeline", table("Last changes", [["When", (m) => time(m.timestamp)], ["Status", (m) => status(m.status)], ["Note", (m) => m.note, true]], u.timeline))),
        element("h2", null, "Clients"), clientTable(u.clients),
        element("h2", null, "Watchers"), subscriptionTable(u.watchers, true),
        element("h2", null, "Publications"), publicationTable(u.publications),
      ];
      this.body.replaceChildren(...parts);
    },
    changed(e) { if (e.entity === this.entity) soon(100); },
  };
}

const services = (c) => ["audio", "video", "message"].filter((s) => c[s]).join(", ");
const clientTable = (rows) => table("Clients", [
  ["Contact", (c) => c.contact], ["Account", (c) => c.account], ["User", (c) => c.entity ? userLink(c.entity, c.user) : c.user], ["Software", (c) => c.user_agent],
  ["Since", (c) => time(c.since)], ["Services", services],
], rows);
const several = (list) => {
  const box = element("span");
  list.slice(0, 3).forEach((entity, i) => box.append(i ? ", " : "", userLink(entity)));
  if (list.length > 3) box.append(` and ${list.length - 3} more`);
  return box;
};
const lastNotify = (s) => s.notified ? element("span", { class: /^2/.test(s.answer) ? "" : "bad" }, s.answer + ", ", time(s.notified)) : "";
const subscriptionTable = (rows, ofOne) => table("Subscriptions", [
  ["Watcher", (s) => element("span", null, address(s.watcher), ofOne && s.own ? " (own)" : "")], ["Account", (s) => s.account, true], ["Event", (s) => s.event],
  ...ofOne ? [] : [["Watches", (s) => several(s.resources || [])]],
  ["Flow", (s) => s.flow], ["Last NOTIFY", lastNotify, true], ["Under way", (s) => String(s.under_way || ""), true], ["Until", (s) => time(s.expires)],
], rows);
const publicationTable = (rows) => table("Publications", [
  ["User", (p) => p.entity ? userLink(p.entity, p.presentity) : p.presentity], ["Status", (p) => p.status], ["Note", (p) => p.note, true], ["From", (p) => p.owner],
  ["Received", (p) => time(p.received)], ["Until", (p) => time(p.expires)],
], rows);

const nodeTable = (rows) => table("Nodes", [
  ["Name", (n) => n.name + (n.this ? " (this one)" : "")], ["State", (n) => element("span", { class: n.state === "alive" ? "" : "bad" }, n.state)],
  ["Subscriptions", (n) => number(n.dialogs)], ["Heard of", (n) => n.renewed + " ago"], ["May be silent for", (n) => n.lease], ["ID", (n) => n.id],
], rows);

function listing(name, path, draw) {
  return {
    offset: 0,
    open() { this.list = element("div"); return [heading(name), this.list]; },
    async load(signal) {
      const page = await get(`${path}?limit=50&offset=${this.offset}`, signal);
      this.list.replaceChildren(draw(page.items), pager(page, (offset) => { this.offset = offset; refresh(); }));
    },
    changed() { soon(2000); },
  };
}

const views = {
  users,
  subscriptions: listing("Subscriptions", "v1/subscriptions", subscriptionTable),
  clients: listing("Clients", "v1/clients", clientTable),
  publications: listing("Publications", "v1/publications", publicationTable),
  nodes: listing("Nodes", "v1/nodes", (rows) => { soon(2000); return nodeTable(rows); }), // no event tells of them
};

let view = null, loading = null, again = null, due = 0;

// refresh loads the view; an older load that is still under way is given up.
async function refresh() {
  clearTimeout(again);
  again = null;
  if (loading) loading.abort();
  const mine = loading = new AbortController();
  try {
    await view.load(mine.signal);
    if (!mine.signal.aborted) document.body.dataset.loaded = location.hash || "#/users";
  } catch (err) {
    if (mine.signal.aborted) return;
    if (err.status === 401) { signIn(); return; }
    const text = err instanceof Failure ? err.message : "The server cannot be reached.";
    let box = $("problem");
    if (!box) { box = element("p", { id: "problem", class: "banner", role: "alert" }); $("view").prepend(box); }
    box.textContent = text;
    return;
  } finally {
    if (loading === mine) loading = null;
  }
  if ($("problem")) $("problem").remove();
}

// soon loads the view again once, however many changes ask for it meanwhile.
function soon(ms) {
  const at = Date.now() + ms;
  if (again && due <= at) return;
  clearTimeout(again);
  due = at;
  again = setTimeout(() => document.hidden ? soon(1000) : refresh(), ms);
}

function route(moved) {
  const [, name, entity] = (location.hash || "#/users").split("/");
  view = name === "users" && entity ? user(decodeURIComponent(entity)) : views[name] || users;
  document.title = "Presence";
  for (const a of document.querySelectorAll("nav a")) {
    if (a.getAttribute("href") === "#/" + (name || "users")) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  $("view").replaceChildren(...view.open());
  if (moved) { document.querySelector("#view h1").focus(); window.scrollTo(0, 0); }
  refresh();
}

function signIn() {
  $("login").hidden = false;
  $("view").hidden = true;
  $("refused").hidden = !token;
  $("token").focus();
}

$("login").onsubmit = async (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  try {
    await get("v1/summary");
  } catch (err) {
    if (err.status === 401) { $("refused").hidden = false; return; }
  }
  try { sessionStorage.setItem(keyName, token); } catch { /* until it is closed */ }
  $("login").hidden = true;
  $("view").hidden = false;
  start();
};

function streamIs(state, text) {
  $("stream").dataset.state = state;
  $("stream").textContent = text;
  const lost = state === "lost";
  if (lost) $("lost").textContent = "The connection to the server is lost. What is below may be old. It is tried again by itself.";
  $("lost").hidden = !lost;
}

let listening = false;

// listen reads the events for as long as the page is open.
async function listen() {
  if (listening) return;
  listening = true;
  for (let wait = 1000, first = true; ; wait = Math.min(wait * 2, 30000)) {
    const stop = new AbortController();
    let watchdog = setTimeout(() => stop.abort(), quiet);
    try {
      const answer = await call("v1/events", { signal: stop.signal });
      streamIs("live", "live");
      wait = 1000;
      if (!first) refresh(); // what changed meanwhile
      first = false;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => stop.abort(), quiet);
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const data = block.split("\n").find((line) => line.startsWith("data: "));
          if (data && view.changed) view.changed(JSON.parse(data.slice(6)));
        }
      }
    } catch (err) {
      if (err.status === 401) { clearTimeout(watchdog); listening = false; signIn(); return; }
      first = false;
    }
    clearTimeout(watchdog);
    streamIs("lost", "connection lost");
    await new Promise((done) => setTimeout(done, wait * (0.75 + Math.random() / 2)));
  }
}

function start() {
  route(false);
  listen();
}

window.addEventListener("hashchange", () => route(true));
start();

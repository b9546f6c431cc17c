// Keeps a page up to date: asks for the same page again, and puts what changed of its live parts in
// place, so that focus, selection and what is open stay. Without it every page works all the same.
"use strict";

const every = Number(document.body.dataset.refresh ?? -1);
const changes = document.body.dataset.changes;
const GAP = every > 0 ? 250 : 1_000; // ms between two looks; the latter also ask the provider
const LATE = 10_000;
const AGAIN = 3_000;
const MARKED = 4_000;
const marked = new WeakMap();

let asking = false;
let wanted = false;
let last = 0;
let source = null;

if (every >= 0) {
  listen();
  if (every > 0) setInterval(() => document.hidden || refresh(), every);
  document.addEventListener("visibilitychange", () => (document.hidden ? deafen() : (listen(), refresh())));
  // A page that comes back from the browser's memory is as old as it looks.
  addEventListener("pageshow", (event) => event.persisted && refresh());
  addEventListener("pagehide", deafen);
}
for (const lines of document.querySelectorAll(".lines")) addCopy(lines);

function listen() {
  if (source || !changes) return;
  source = new EventSource(changes);
  source.onopen = () => say("on", "Live");
  source.onmessage = refresh;
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) return;
    deafen();
    setTimeout(() => document.hidden || listen(), AGAIN);
  };
}

function deafen() {
  source?.close();
  source = null;
}

/** Looks now, or once the last look is over and its time has passed. */
async function refresh() {
  if (asking) {
    wanted = true;
    return;
  }
  asking = true;
  wanted = false;
  await new Promise((soon) => setTimeout(soon, Math.max(0, last + GAP - performance.now())));
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(LATE), cache: "no-store" });
    if (answer.redirected && new URL(answer.url).pathname === "/login") return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = part.id && page.getElementById(part.id);
      if (fresh) morph(part, fresh);
    }
    say("on", "Live");
  } catch {
    say("off", "usertap does not answer; trying again");
    setTimeout(() => document.hidden || refresh(), AGAIN);
  }
  last = performance.now();
  asking = false;
  if (wanted) refresh();
}

/** A screen reader hears it once, when it changes. */
function say(how, text) {
  const state = document.getElementById("state");
  if (!state || state.dataset.how === how) return;
  state.dataset.how = how;
  state.className = `state ${how}`;
  document.getElementById("state-text").textContent = text;
}

/** Makes `have` like `want`, with as few changes as will do. */
function morph(have, want) {
  if (have.isEqualNode(want)) return;
  if (have.nodeType !== Node.ELEMENT_NODE) {
    have.data = want.data;
    return;
  }
  const isAnother = have.dataset.mark !== want.dataset?.mark;
  for (const { name } of [...have.attributes]) {
    if (!want.hasAttribute(name) && !keeps(have, name)) have.removeAttribute(name);
  }
  for (const { name, value } of want.attributes) {
    if (have.getAttribute(name) !== value && !keeps(have, name)) have.setAttribute(name, value);
  }
  morphChildren(have, want);
  if (isAnother) mark(have);
}

/** What belongs to the reader, not to the server. */
function keeps(element, name) {
  return (name === "open" && element.nodeName === "DETAILS") || (name === "class" && element.classList.contains("changed"));
}

function morphChildren(have, want) {
  const known = new Map([...have.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = have.firstChild;
  for (const child of want.childNodes) {
    const same = child.id ? known.get(child.id) : fits(at, child) ? at : null;
    if (!same) {
      const made = document.importNode(child, true);
      have.insertBefore(made, at);
      if (made.nodeName === "TR" && made.id) mark(made);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else have.insertBefore(same, at);
    morph(same, child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function fits(node, want) {
  return node && !node.id && node.nodeName === want.nodeName;
}

/** Shows for a moment that a row is another than it was. */
function mark(row) {
  row.classList.remove("changed");
  void row.offsetWidth; // the same animation begins anew
  row.classList.add("changed");
  // Not at the animation's end: where motion is not wanted there is none.
  clearTimeout(marked.get(row));
  marked.set(row, setTimeout(() => row.classList.remove("changed"), MARKED));
}

function addCopy(lines) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${lines.querySelector("figcaption").textContent}`);
  button.addEventListener("click", async () => {
    const text = lines.querySelector("code").textContent;
    button.textContent = (await copied(text, lines)) ? "Copied" : "Selected: copy it";
    setTimeout(() => (button.textContent = "Copy"), 2_000);
  });
  lines.querySelector("figcaption").append(button);
}

/** Where the browser gives no clipboard (plain http beyond this machine), the text is selected. */
async function copied(text, lines) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(lines.querySelector("code"));
    return false;
  }
}

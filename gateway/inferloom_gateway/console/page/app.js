// Puts the page together: views, the switch of the theme, the key, and the keyboard.
import { key, keyHelps } from "./api.js";
import { dialog, field, h, say } from "./dom.js";
import { keysView } from "./keys.js";
import { Live } from "./live.js";
import { meshView } from "./mesh.js";
import { playgroundView } from "./playground.js";
import { requestsView } from "./requests.js";

const $ = (id) => document.getElementById(id);
const NAMES = ["mesh", "playground", "requests", "keys"];
const STATES = { live: "Live", connecting: "Connecting", away: "Reconnecting", refused: "Not shown" };

const live = new Live();
const views = {
  mesh: { show: meshView($("mesh"), live) },
  playground: playgroundView($("playground")),
  requests: requestsView($("requests"), live),
  keys: keysView($("keys")),
};
let current = "";

function route() {
  const [, name, rest] = location.hash.match(/^#\/(\w+)(?:\/(.*))?$/) ?? [];
  const wanted = NAMES.includes(name) ? name : "mesh";
  const moved = wanted !== current;
  current = wanted;
  for (const each of NAMES) $(each).hidden = each !== wanted;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === wanted) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${wanted[0].toUpperCase()}${wanted.slice(1)} – Inferloom console`;
  if (wanted === "requests") views.requests.open(rest ? decoded(rest) : "", Boolean(rest));
  if (moved) {
    window.scrollTo(0, 0);
    views[wanted].show();
  }
  notice();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function notice() {
  const shown = live.state === "refused" && ["mesh", "requests"].includes(current);
  $("notice").hidden = !shown;
  const how = keyHelps(live.status) ? " Press Key to show one that has the endpoint “console”." : "";
  if (shown) say($("notice"), live.why + how);
}

let models = "";
let drawn = false;

live.listen(() => {
  $("link").dataset.state = live.state;
  say($("link").querySelector(".said"), STATES[live.state]);
  $("link").title = live.why;
  const named = live.rows("models").filter(([, row]) => row.usable).map(([name]) => name).sort().join("\n");
  if (named !== models && current === "playground") views.playground.show();
  models = named;
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(() => {
    drawn = false;
    notice();
    if (current === "mesh" || current === "requests") views[current].show();
  });
});

function theme() {
  const words = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
  say($("theme"), words[window.inferloomTheme.chosen()]);
}

function askKey() {
  const text = h("input", { type: "password", autocomplete: "off", value: key.get() });
  const forget = h("button", { type: "button" }, "Forget it");
  const wrong = h("p", { class: "why", role: "alert" });
  const form = h("form", {}, field("API key", text, "It is kept for as long as this tab is open, and goes to this gateway only."), wrong,
    h("div", { class: "actions" }, forget, h("button", { type: "submit", class: "main" }, "Use it")));
  const box = dialog("API key", form);
  const use = (value) => {
    // A browser sends no others in a header.
    if (/[^\x21-\x7e]/.test(value.trim())) return say(wrong, "No key has spaces, or letters and signs beyond ASCII: is all of it the key?");
    key.set(value.trim());
    box.close();
    live.start();
    views[current].show();
  };
  forget.addEventListener("click", () => use(""));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    use(text.value);
  });
}

const SHORTCUTS = [
  ["1 2 3 4", "Mesh, playground, requests, keys"],
  ["/", "To the view's first field: filter, or message"],
  ["n", "New conversation"],
  ["t", "Theme: system, light, dark"],
  ["k", "API key"],
  ["?", "This list"],
  ["Esc", "Close, or stop an answer"],
  ["Enter", "Send a message (Shift+Enter: a new line)"],
];

function help() {
  const close = h("button", { type: "button", class: "main" }, "Close");
  const box = dialog("Keyboard", h("dl", { class: "shortcuts" }, ...SHORTCUTS.map(([keys, what]) =>
    h("div", {}, h("dt", {}, ...keys.split(" ").map((each) => h("kbd", {}, each))), h("dd", {}, what)))), h("div", { class: "actions" }, close));
  close.addEventListener("click", () => box.close());
}

const ACTIONS = {
  "/": () => views[current].focus?.(),
  n: () => ((location.hash = "#/playground"), views.playground.restart()),
  t: () => (window.inferloomTheme.next(), theme()),
  k: askKey,
  "?": help,
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && current === "playground" && !document.querySelector("dialog")) views.playground.stop();
  const typing = event.target.closest("input, textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const view = NAMES[Number(event.key) - 1];
  const action = view ? () => (location.hash = `#/${view}`) : ACTIONS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

$("theme").addEventListener("click", ACTIONS.t);
$("use-key").addEventListener("click", askKey);
$("help").addEventListener("click", help);
window.addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => (document.hidden ? live.stop() : live.start()));

theme();
route();
live.start();

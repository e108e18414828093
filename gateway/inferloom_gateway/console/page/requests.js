// The inspector: requests that run and that ended lately, and one's story.
import { ask } from "./api.js";
import { Keyed, field, h, say } from "./dom.js";
import { count, moment, seconds } from "./format.js";
import { REQUEST_STATES, pill, setPill, table } from "./parts.js";
import { storyOf } from "./story.js";

function line() {
  const link = h("a");
  const cells = Array.from({ length: 8 }, (_, at) => h("td", { class: [4, 5, 6].includes(at) ? "num" : "" }));
  const state = pill("idle", "");
  cells[1].append(state);
  const node = h("tr", {}, h("th", { scope: "row", class: "id" }, link), ...cells);
  return {
    node,
    update(row) {
      say(link, row.id);
      link.href = `#/requests/${encodeURIComponent(row.id)}`;
      setPill(state, REQUEST_STATES[row.state] ?? ["idle", row.state]);
      say(cells[0], moment(row.began));
      say(cells[2], row.method === "generate" ? row.model : `${row.model} (${row.method})`);
      say(cells[3], row.worker || "–");
      say(cells[4], count(row.tokens));
      say(cells[5], seconds(row.first));
      say(cells[6], seconds(row.ended));
      const trouble = [
        row.moves && `moved ${row.moves === 1 ? "once" : `${row.moves} times`}`,
        !row.moves && row.tries > 1 && `${row.tries} attempts`,
        row.error && row.error.toLowerCase().replaceAll("_", " "),
      ];
      say(cells[7], trouble.filter(Boolean).join(", "));
    },
  };
}

const fits = (row, text) =>
  [row.id, row.model, row.worker, row.tenant, row.caller, row.error, row.method].some((each) =>
    String(each ?? "").toLowerCase().includes(text),
  );

export function requestsView(section, live) {
  const filter = h("input", { type: "search", placeholder: "name, model, worker, tenant", autocomplete: "off" });
  const which = h("select", {}, ...[["", "all"], ["running", "running"], ["done", "done"], ["failed", "failed"],
    ["cancelled", "left by their callers"], ["trouble", "moved or tried again"]].map(([value, text]) => h("option", { value }, text)));
  const body = h("tbody");
  const none = h("p", { class: "empty" });
  const story = h("div", { class: "card story", tabindex: "-1" });
  const find = h("button", { type: "submit" }, "Open by name");
  const form = h("form", { class: "filters", role: "search" }, field("Show requests with", filter), field("that are", which), find);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (filter.value.trim()) location.hash = `#/requests/${encodeURIComponent(filter.value.trim())}`;
  });
  section.append(
    h("h1", { class: "hidden" }, "Requests"),
    form,
    h(
      "div",
      { class: "columns requests" },
      h("div", { class: "wide", id: "requests-table" },
        table("Requests, the newest first", [["Request"], ["Came"], ["State"], ["Model"], ["Worker"], ["Tokens", "num"],
          ["First token", "num"], ["In all", "num"], ["Trouble"]], body),
        none),
      h("div", { class: "side", id: "story" }, story),
    ),
  );
  const keyed = new Keyed(body, line);

  function show() {
    const text = filter.value.trim().toLowerCase();
    const rows = live.rows("requests")
      .filter(([, row]) => !text || fits(row, text))
      .filter(([, row]) => !which.value || row.state === which.value || (which.value === "trouble" && (row.moves || row.tries > 1)))
      .sort(([, a], [, b]) => b.began - a.began);
    keyed.show(rows);
    none.hidden = rows.length > 0;
    say(none, text || which.value ? "No request of late is like that. “Open by name” asks all gateways." : "No requests yet.");
  }

  // Whether somebody marks a part of the story, such as to copy it.
  function chosen() {
    const marked = getSelection();
    return !marked.isCollapsed && story.contains(marked.anchorNode);
  }

  let opened = "";
  const controls = () => [...story.querySelectorAll("a, button")];

  async function open(id, focus = true) {
    opened = id;
    section.classList.toggle("opened", Boolean(id));
    if (!id) {
      story.replaceChildren(h("p", { class: "empty" }, "Choose a request to see its story."));
      return;
    }
    let shown;
    let running = false;
    try {
      const found = await ask(`/console/data/request?id=${encodeURIComponent(id)}`);
      shown = storyOf(found);
      running = found.records[0].state === "running";
    } catch (failure) {
      if (!focus && failure.status === 0) return; // a gateway that is away for a moment; the next look is in a second
      shown = [h("h2", {}, id), h("p", { class: "why", role: "alert" }, failure.message)];
    }
    if (opened !== id) return;
    story.dataset.running = String(running);
    const at = controls().indexOf(document.activeElement);
    story.replaceChildren(...shown);
    if (focus) story.focus({ preventScroll: false });
    else if (at >= 0) controls()[at]?.focus({ preventScroll: true }); // told anew each second, it takes nobody's place away
  }

  // A request that hangs changes nothing which would be told by itself.
  let asking = false;
  async function again() {
    const runs = opened && story.dataset.running === "true";
    if (asking || !runs || section.hidden || document.hidden || chosen()) return;
    asking = true;
    await open(opened, false);
    asking = false;
  }

  setInterval(again, 1000);
  filter.addEventListener("input", show);
  which.addEventListener("change", show);
  open("");
  return { show, open, focus: () => filter.focus() };
}

// The view of the mesh: figures, workers, models, gateways and registries, and what happened lately.
import { Keyed, fill, h, mark, say } from "./dom.js";
import { bytes, count, moment, plural, rate, seconds } from "./format.js";
import { happened } from "./happenings.js";
import { setPill, table } from "./parts.js";
import { Spark } from "./spark.js";

const STATES = {
  ready: ["good", "Ready"],
  starting: ["busy", "Loading"],
  draining: ["warn", "Draining"],
  suspect: ["warn", "Lease overdue"],
  unreachable: ["bad", "Unreachable"],
  ejected: ["warn", "Left alone"],
};

function figure(label, spark) {
  const value = h("dd", {}, "–");
  const more = h("dd", { class: "more" }, "\u00a0");
  const node = h("div", { class: "figure" }, h("dt", {}, label), value, more, spark?.node);
  return { node, show: (text, said = "") => (say(value, text), say(more, said || "\u00a0")) };
}

function meter(label) {
  const value = h("span", { class: "num" });
  const bar = h("span", { class: "bar", "aria-hidden": "true" });
  const node = h("div", { class: "meter" }, h("span", { class: "muted" }, label), value, bar);
  return { node, show: (text, share) => (say(value, text), fill(bar, share)) };
}

function worker() {
  const name = h("h3");
  const state = h("span");
  const models = h("p", { class: "models" });
  const load = meter("Running");
  const cache = meter("KV cache");
  const speed = h("span", { class: "num" });
  const waiting = h("span", { class: "num" });
  const where = h("p", { class: "foot muted" });
  const why = h("p", { class: "why" });
  const node = h(
    "li",
    { class: "card worker" },
    h("div", { class: "head" }, name, state),
    models,
    load.node,
    cache.node,
    h("div", { class: "pair" }, h("div", {}, h("span", { class: "muted" }, "Tokens/s"), speed),
      h("div", {}, h("span", { class: "muted" }, "Waiting"), waiting)),
    where,
    why,
  );
  return {
    node,
    update(row) {
      say(name, row.id);
      setPill(state, STATES[row.state] ?? ["idle", row.state]);
      const loading = row.loading.map((each) => `${each} (loading)`);
      say(models, [...row.models, ...loading].join(", ") || "no models");
      load.show(`${count(row.running)} of ${count(row.capacity)}`, row.running / Math.max(1, row.capacity));
      cache.show(
        row.kv_total ? `${Math.round((100 * row.kv_used) / row.kv_total)} % of ${count(row.kv_total)}` : "–",
        row.kv_total ? row.kv_used / row.kv_total : 0,
      );
      say(speed, rate(row.tps));
      say(waiting, count(row.waiting));
      say(where, [row.address, row.zone && `zone ${row.zone}`, `epoch ${row.epoch}`].filter(Boolean).join(" · "));
      say(why, row.why);
      why.hidden = !row.why;
    },
  };
}

function gateway() {
  const name = h("th", { scope: "row" });
  const state = h("span");
  const cells = Array.from({ length: 5 }, () => h("td", { class: "num" }));
  const node = h("tr", {}, name, h("td", {}, state), ...cells);
  return {
    node,
    update(row) {
      say(name, `${row.gateway} · ${row.pid}`);
      setPill(state, row.ready ? ["good", "Ready"] : ["warn", row.why || "Not ready"]);
      [count(row.running), count(row.waiting), rate(row.rps), rate(row.tps), bytes(row.resident)].forEach((text, at) =>
        say(cells[at], text),
      );
    },
  };
}

function registry() {
  const name = h("th", { scope: "row" });
  const state = h("span");
  const why = h("td", { class: "muted" });
  const node = h("tr", {}, name, h("td", {}, state), why);
  return {
    node,
    update(row) {
      say(name, row.address);
      setPill(state, row.trouble ? ["bad", "In trouble"] : row.followed ? ["good", "Followed"] : ["idle", "Stands by"]);
      say(why, row.trouble || (row.followed ? `by ${plural(row.followed, "process", "processes")}` : ""));
    },
  };
}

function model() {
  const name = h("th", { scope: "row" });
  const workers = h("td", { class: "num" });
  const cells = Array.from({ length: 5 }, () => h("td", { class: "num" }));
  const note = h("td", { class: "muted" });
  const node = h("tr", {}, name, workers, ...cells, note);
  return {
    node,
    update(row) {
      say(name, row.id);
      say(workers, `${count(row.usable)} of ${count(row.workers)}`);
      [count(row.running), rate(row.rps), rate(row.tps), seconds(row.first), seconds(row.gap)].forEach((text, at) =>
        say(cells[at], text),
      );
      say(
        note,
        [
          row.parent && `adapter of ${row.parent}`,
          row.alias_of && `another name of ${row.alias_of}`,
          row.differing && "workers compute differently",
        ]
          .filter(Boolean)
          .join(", "),
      );
    },
  };
}

function event() {
  const at = h("time", { class: "num muted" });
  const mood = h("span", { class: "mood", "aria-hidden": "true" });
  const text = h("span");
  const link = h("a", { class: "small-link" }, "story");
  const node = h("li", {}, at, mood, h("span", {}, text, " ", link));
  return {
    node,
    update(row) {
      const [kind, said] = happened(row);
      say(at, moment(row.at));
      mark(mood, "class", `mood ${kind}`);
      say(text, said);
      link.hidden = !row.request;
      if (row.request) link.href = `#/requests/${encodeURIComponent(row.request)}`;
    },
  };
}

export function meshView(section, live) {
  const spark = new Spark();
  const figures = {
    workers: figure("Workers ready"),
    running: figure("Running"),
    waiting: figure("Waiting"),
    tokens: figure("Tokens/s", spark),
    requests: figure("Requests/s"),
    first: figure("First token"),
    gap: figure("Between tokens"),
  };
  const cards = h("ul", { class: "cards" });
  const none = h("p", { class: "empty" });
  const missing = h("p", { class: "why", role: "status" });
  const [models, gateways, registries] = [h("tbody"), h("tbody"), h("tbody")];
  const feed = h("ol", { class: "feed" });
  const quiet = h("p", { class: "empty" }, "Nothing yet.");
  section.append(
    h("h1", { class: "hidden" }, "Mesh"),
    h("dl", { class: "figures" }, ...Object.values(figures).map((each) => each.node)),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "wide" },
        h("h2", {}, "Workers"),
        cards,
        none,
        h("h2", {}, "Models"),
        table("Models", [["Model"], ["Workers", "num"], ["Running", "num"], ["Requests/s", "num"], ["Tokens/s", "num"],
          ["First token", "num"], ["Per token", "num"], [""]], models),
        h("h2", {}, "Gateways"),
        table("Gateways", [["Gateway · process"], ["State"], ["Running", "num"], ["Waiting", "num"], ["Requests/s", "num"],
          ["Tokens/s", "num"], ["Memory", "num"]], gateways),
        missing,
        h("h2", {}, "Registries"),
        table("Registries", [["Registry"], ["State"], [""]], registries),
      ),
      h("div", { class: "side" }, h("h2", {}, "What happened"), h("div", { class: "card" }, feed, quiet)),
    ),
  );
  const keyed = {
    workers: new Keyed(cards, worker),
    models: new Keyed(models, model),
    processes: new Keyed(gateways, gateway),
    registries: new Keyed(registries, registry),
    happenings: new Keyed(feed, event),
  };
  const byName = ([a], [b]) => a.localeCompare(b, "en", { numeric: true });

  setInterval(() => live.state === "live" && spark.add(live.picture.mesh?.now?.tps ?? 0), 1000);

  return function show() {
    const now = live.picture.mesh?.now;
    for (const name of ["workers", "models", "processes", "registries"]) keyed[name].show(live.rows(name).sort(byName));
    const events = live.rows("happenings").sort(([, a], [, b]) => b.at - a.at);
    keyed.happenings.show(events.slice(0, 60));
    quiet.hidden = events.length > 0;
    const workers = live.rows("workers").map(([, row]) => row);
    const ready = workers.filter((row) => row.state === "ready").length;
    none.hidden = workers.length > 0;
    say(none, live.state === "live" ? "No worker has registered. Start one: inferloom worker --model NAME" : "");
    const silent = now?.unanswered ?? [];
    missing.hidden = !silent.length;
    say(missing, silent.length ? `No answer of ${silent.join(", ")}.` : "");
    if (!now) {
      for (const each of Object.values(figures)) each.show("–");
      return;
    }
    const troubled = workers.length - ready;
    figures.workers.show(`${ready} of ${workers.length}`, troubled ? `${troubled} not ready` : "");
    figures.running.show(count(now.running), `${plural(live.rows("processes").length, "gateway process", "gateway processes")}`);
    figures.waiting.show(count(now.waiting), now.waiting_here ? `${count(now.waiting_here)} at the gateways` : "");
    figures.tokens.show(rate(now.tps));
    figures.requests.show(rate(now.rps), now.fps ? `${rate(now.fps)} failed` : "");
    figures.first.show(seconds(now.first), now.first_p95 ? `p95 ${seconds(now.first_p95)}` : "");
    figures.gap.show(seconds(now.gap), now.gap_p95 ? `p95 ${seconds(now.gap_p95)}` : "");
  };
}

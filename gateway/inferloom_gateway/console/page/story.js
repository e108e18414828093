// One request's story: facts, a line of time, and each attempt.
import { copyButton, h } from "./dom.js";
import { count, date, moment, seconds } from "./format.js";
import { REQUEST_STATES, pill } from "./parts.js";

function facts(pairs) {
  return h("dl", { class: "facts" }, ...pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// A row of the line of time: what it is, and from when to when.
function span(kind, label, from, to, whole) {
  const bar = h("span", { class: `span ${kind}`, "aria-hidden": "true" });
  bar.style.setProperty("--from", `${(100 * from) / whole}%`);
  bar.style.setProperty("--long", `${Math.max(0.6, (100 * (to - from)) / whole)}%`);
  return h("div", { class: "time-row" }, h("span", { class: "time-label" }, label), h("span", { class: "track" }, bar),
    h("span", { class: "num" }, seconds(to - from)));
}

function timeline(record) {
  const whole = Math.max(record.ended ?? 0, record.age ?? 0, record.first ?? 0, ...record.attempts.map((a) => a.ended ?? a.began), 1e-4);
  const rows = [];
  const asked = record.attempts[0]?.began;
  if (asked > 0.0005) rows.push(span("gate", record.lined_up === null ? "At the gateway" : "In the gateway's line", 0, asked, whole));
  record.attempts.forEach((attempt, at) => {
    const kind = attempt.why ? "lost" : "attempt";
    rows.push(span(kind, attempt.worker, attempt.began, attempt.ended ?? whole, whole));
    const last = at === record.attempts.length - 1;
    if (!last || attempt.accepted === null) return;
    // What the worker measured, placed where it must have been: the queue from its acceptance on.
    let from = attempt.accepted;
    for (const [name, label, long] of [["queue", "queue", record.queue_s], ["prefill", "prefill", record.prefill_s], ["decode", "decode", record.decode_s]]) {
      if (!long) continue;
      rows.push(span(`phase ${name}`, label, Math.min(from, whole), Math.min(from + long, whole), whole));
      from += long;
    }
  });
  return rows.length ? h("div", { class: "times", role: "group", "aria-label": "Line of time" }, ...rows) : null;
}

function attempt(each, at) {
  const rest = each.candidates.length
    ? h("p", { class: "muted" }, `The router saw ${each.candidates.map((one) => `${one.worker} (load ${one.load})`).join(", ")}.`)
    : null;
  return h("li", {},
    h("p", {}, h("strong", {}, each.worker), ` at ${seconds(each.began)}`, each.again ? ", after another had failed" : "",
      each.accepted === null ? ", not accepted" : `, accepted after ${seconds(each.accepted - each.began)}`,
      each.ended === null ? ", runs" : `, over after ${seconds(each.ended - each.began)}`),
    each.why ? h("p", { class: "why" }, [each.why.reason, each.why.message].filter(Boolean).join(": ")) : null,
    rest);
}

function one(record) {
  const [kind, said] = REQUEST_STATES[record.state] ?? ["idle", record.state];
  const speed = record.decode_s && record.tokens > 1 ? `${((record.tokens - 1) / record.decode_s).toFixed(1)} a second` : "";
  return [
    h("div", { class: "head" }, h("h2", { class: "id" }, record.id), pill(kind, said)),
    h("p", { class: "actions" }, copyButton(() => record.id), h("a", { href: "#/requests", class: "button small" }, "Close")),
    record.why ? h("p", { class: "why" }, [record.why.reason, record.why.message].filter(Boolean).join(": ")) : null,
    facts([
      ["Model", record.model],
      ["Asked for", record.method],
      ["Came", `${date(record.began)} ${moment(record.began)}`],
      ["Gateway", record.gateway],
      ["Caller", record.caller],
      ["Key", record.key_id],
      ["Tenant", record.tenant],
      ["Prompt", `${count(record.prompt)} tokens${record.cached ? `, ${count(record.cached)} cached` : ""}`],
      ["Answer", record.method === "generate" ? `${count(record.tokens)} tokens${speed ? `, ${speed}` : ""}` : ""],
      ["First token", seconds(record.first)],
      ["In all", record.ended === null ? `runs, for ${seconds(record.age)} now` : seconds(record.ended)],
      ["Queue", seconds(record.queue_s)],
      ["Prefill", seconds(record.prefill_s)],
      ["Decode", seconds(record.decode_s)],
      ["Computed by", record.compute_hash ? record.compute_hash.slice(0, 12) : ""],
    ]),
    timeline(record),
    record.moves_told.length
      ? h("div", {}, h("h3", {}, "Moves"), h("ul", { class: "plain" }, ...record.moves_told.map((move) =>
          h("li", {}, `${move.from || "its worker"} → ${move.to || "another"} behind token ${count(move.tokens)}${move.reason ? `: ${move.reason.toLowerCase().replaceAll("_", " ")}` : ""}`))))
      : null,
    h("h3", {}, record.attempts.length === 1 ? "Attempt" : "Attempts"),
    record.attempts.length ? h("ol", { class: "attempts" }, ...record.attempts.map(attempt)) : h("p", { class: "empty" }, "No worker was asked."),
  ].filter(Boolean);
}

// The elements of an answer's records, which may be several: callers choose names.
export function storyOf(found) {
  const shown = found.records.flatMap((record, at) => [...(at ? [h("hr")] : []), ...one(record)]);
  if (found.unanswered.length) {
    shown.push(h("p", { class: "why" }, `Did not answer, and may know more: ${found.unanswered.join(", ")}.`));
  }
  return shown;
}

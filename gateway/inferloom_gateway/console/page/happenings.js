// What happened, in a sentence, and its mood.
import { plural } from "./format.js";

const WORDS = {
  WORKER_CAME: ["busy", (e) => `${e.worker} registered`],
  WORKER_LEFT: ["bad", (e) => `${e.worker} is gone`],
  WORKER_READY: ["good", (e) => `${e.worker} takes requests`],
  WORKER_DRAINING: ["warn", (e) => `${e.worker} drains`],
  LEASE_SUSPECT: ["warn", (e) => `${e.worker} has not renewed its lease`],
  LEASE_GOOD: ["good", (e) => `${e.worker} has a good lease again`],
  WORKER_UNREACHABLE: ["bad", (e) => `The way to ${e.worker} is lost`],
  WORKER_REACHABLE: ["good", (e) => `${e.worker} answers again`],
  WORKER_EJECTED: ["warn", (e) => `${what(e)} is left alone for a while`],
  WORKER_BACK: ["good", (e) => `${what(e)} gets requests again`],
  MODEL_CAME: ["busy", (e) => `${e.worker} holds ${e.model}`],
  MODEL_LEFT: ["warn", (e) => `${e.worker} holds ${e.model} no more`],
  REQUEST_MOVED: ["warn", (e) => moved(e)],
  REQUEST_RETRIED: ["warn", (e) => `${requests(e)} tried at ${e.to_worker || "another worker"} after ${e.worker}`],
  REQUEST_FAILED: ["bad", (e) => `${requests(e)} failed`],
  REGISTRY_LOST: ["bad", () => "The registry is gone; the last set of workers is kept"],
  REGISTRY_BACK: ["good", () => "The registry is back"],
  REGISTRY_FROZEN: ["warn", () => "The registry has lost its store; the workers stay as they were"],
  REGISTRY_THAWED: ["good", () => "The registry has its store again"],
};

const what = (e) => (e.model ? `${e.model} at ${e.worker}` : e.worker);

const requests = (e) => (e.count > 1 ? plural(e.count, "request") : "A request");

function moved(e) {
  const way = e.to_worker ? `from ${e.worker} to ${e.to_worker}` : `away from ${e.worker}`;
  const after = e.count > 1 || !e.tokens ? "" : ` behind token ${e.tokens}`;
  return `${requests(e)} moved ${way}${after}`;
}

// [mood, sentence] of one happening.
export function happened(row) {
  const [mood, words] = WORDS[row.kind] ?? ["idle", () => row.kind];
  const why = row.reason ? ` (${row.reason.toLowerCase().replaceAll("_", " ")})` : "";
  const often = row.count > 1 && !row.kind.startsWith("REQUEST") ? `, ${row.count} times` : "";
  return [row.kind === "WORKER_LEFT" && row.reason === "deregistered" ? "warn" : mood, `${words(row)}${why}${often}`];
}

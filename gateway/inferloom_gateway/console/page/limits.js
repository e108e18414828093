// Limits: how they read, and the form that changes those of a key, a tenant or a model.
import { ask as send } from "./api.js";
import { field, h, say } from "./dom.js";
import { ask, number, numeric } from "./form.js";
import { count } from "./format.js";

const UNITS = { requests_per_minute: "requests/min", tokens_per_minute: "tokens/min", concurrent: "at once" };
const LABELS = { requests_per_minute: "Requests a minute", tokens_per_minute: "Tokens a minute", concurrent: "At once" };
const COUNTED = {
  key: "Requests with this key count here, and in the limits of their tenant and model too.",
  tenant: "All keys of the tenant count together.",
  model: "All callers of the model count together.",
};
const PATH = "/console/data/keys/limits";

export function limits(held) {
  const said = Object.entries(UNITS).filter(([name]) => held[name] !== null).map(([name, unit]) => `${count(held[name])}\u00a0${unit}`);
  return said.join(", ") || "none";
}

// Controls by the limits' names, and their labelled fields.
export function limitControls(held = {}) {
  const controls = Object.fromEntries(Object.keys(LABELS).map((name) => [name, numeric(held[name], "no limit")]));
  return { controls, fields: Object.entries(LABELS).map(([name, label]) => field(label, controls[name])) };
}

export function limitValues(controls) {
  return Object.fromEntries(Object.keys(LABELS).map((name) => [name, number(controls[name])]));
}

// `row`: { kind, name, limits, share }, or null for limits of a tenant or model that has none yet.
export function askLimits(row, done) {
  const { controls, fields } = limitControls(row?.limits);
  const kind = h("select", {}, h("option", { value: "tenant" }, "tenant"), h("option", { value: "model" }, "model"));
  const name = h("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  const share = numeric(row?.share === 1 ? null : row?.share, "1", { inputmode: "decimal" });
  const shared = field("Share", share, "A tenant's part of busy workers, in relation to others.");
  const what = () => row?.kind ?? kind.value;
  const who = () => row?.name ?? name.value.trim();
  const counted = h("span");
  const judge = () => {
    shared.hidden = what() !== "tenant";
    say(counted, COUNTED[what()]);
  };
  kind.addEventListener("change", judge);
  judge();
  const whose = row ? [] : [h("div", { class: "grid2" }, field("For", kind), field("Name", name, "* and ? stand for any."))];
  const note = h("p", { class: "muted" }, counted, " An empty field is no limit. Gateways go by a change within five seconds.");
  const lift = h("button", { type: "button", class: "danger" }, "Remove");
  const form = ask(row ? `Limits of ${row.kind} ${row.name}` : "New limits", {
    controls: { ...controls, name, share },
    content: [...whose, h("div", { class: "grid2" }, ...fields, shared), note],
    submit: "Save",
    more: row && row.kind !== "key" ? [lift] : [],
    send: async () => {
      const body = { kind: what(), name: who(), ...limitValues(controls) };
      if (what() === "tenant") body.share = number(share);
      await send(PATH, { method: "PUT", body });
      done(`The limits of ${what()} ${who()} are changed.`);
    },
  });
  lift.addEventListener("click", () =>
    form.run(async () => {
      await send(`${PATH}?${new URLSearchParams({ kind: what(), name: who() })}`, { method: "DELETE" });
      done(`${what()} ${who()} has no limits any more.`);
    }),
  );
}

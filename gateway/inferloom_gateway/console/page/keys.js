// Keys and limits: what there is, what was used, new ones, changes, and taking some back.
import { ask, keyHelps } from "./api.js";
import { Keyed, copyButton, dialog, field, h, say } from "./dom.js";
import { ask as askForm, listed, number, numeric } from "./form.js";
import { count, date } from "./format.js";
import { askLimits, limitControls, limitValues, limits } from "./limits.js";
import { pill, setPill, table } from "./parts.js";

const STATES = { active: ["good", "Active"], expired: ["idle", "Expired"], revoked: ["bad", "Revoked"] };

const FIRST_KEY = `inferloom keys create --keys keys.db --endpoint console --endpoint keys --endpoint chat --endpoint models
inferloom up --keys keys.db`;

export function keysView(section) {
  const body = h("tbody");
  const policies = h("tbody");
  const making = h("button", { type: "button", class: "main" }, "New key");
  const everything = h("input", { type: "checkbox" });
  const limiting = h("button", { type: "button" }, "New limits");
  const why = h("p", { class: "empty", role: "status" });
  const scopes = h("span");
  const some = h(
    "div",
    { hidden: true },
    h("div", { class: "filters" }, making, h("label", {}, everything, " with revoked and expired ones")),
    table("Keys", [["Key"], ["Tenant"], ["Name"], ["State"], ["Made"], ["Ends"], ["Models"], ["Endpoints"], ["Limits"],
      ["Requests", "num"], ["Tokens", "num"], [""]], body),
    h("p", { class: "muted" }, "Requests and tokens (of prompts + answers) are those of the last 30 days. ", scopes),
    h("h2", {}, "Limits of tenants and models"),
    h("div", { class: "filters" }, limiting),
    table("Limits of tenants and models", [["For"], ["Name"], ["Limits"], ["Share", "num"], [""]], policies),
  );
  const none = h(
    "div",
    { hidden: true },
    h("p", { class: "empty" }, "This gateway asks for no keys: everybody who reaches it may call. To have it ask, make a key that opens this page too, and start it with the file:"),
    h("pre", { tabindex: "0", role: "region", "aria-label": "Commands" }, FIRST_KEY),
  );
  section.append(h("h1", { class: "hidden" }, "Keys and limits"), why, none, some);
  let held = null;

  function line() {
    const cells = Array.from({ length: 10 }, (_, at) => h("td", { class: at > 7 ? "num" : at > 4 ? "wraps" : "" }));
    const state = pill("idle", "");
    cells[2].append(state);
    const name = h("th", { scope: "row", class: "id" });
    const revoke = h("button", { type: "button", class: "small" }, "Revoke");
    const limiting = h("button", { type: "button", class: "small" }, "Limits");
    const node = h("tr", {}, name, ...cells, h("td", { class: "doing" }, limiting, revoke));
    return {
      node,
      update(key) {
        say(name, key.id);
        revoke.setAttribute("aria-label", `Revoke ${key.id}`);
        limiting.setAttribute("aria-label", `Limits of ${key.id}`);
        limiting.hidden = revoke.hidden = key.state !== "active";
        limiting.onclick = () => askLimits({ kind: "key", name: key.id, limits: key.limits }, show);
        revoke.onclick = () => askRevoke(key);
        const used = key.used ?? { requests: 0, prompt_tokens: 0, completion_tokens: 0 };
        const texts = [key.tenant, key.name || "–", null, date(key.created), date(key.expires), key.models.join(", ").replace(/^\*$/, "all"),
          key.endpoints.join(", ") || "default", limits(key.limits), count(used.requests), `${count(used.prompt_tokens)} + ${count(used.completion_tokens)}`];
        texts.forEach((text, at) => text !== null && say(cells[at], text));
        setPill(state, STATES[key.state]);
      },
    };
  }

  function policy() {
    const cells = Array.from({ length: 4 }, (_, at) => h("td", { class: at === 3 ? "num" : "" }));
    const change = h("button", { type: "button", class: "small" }, "Change");
    return {
      node: h("tr", {}, ...cells, h("td", { class: "doing" }, change)),
      update(row) {
        change.setAttribute("aria-label", `Change the limits of ${row.kind} ${row.name}`);
        change.onclick = () => askLimits(row, show);
        [row.kind, row.name, limits(row.limits), row.kind === "tenant" ? String(row.share) : "–"].forEach((text, at) => say(cells[at], text));
      },
    };
  }

  const keyed = { keys: new Keyed(body, line), policies: new Keyed(policies, policy) };

  async function show(done = "") {
    try {
      held = await ask("/console/data/keys");
    } catch (failure) {
      some.hidden = none.hidden = true;
      const how = keyHelps(failure.status) ? " Press Key to show one that has the endpoint “keys”." : "";
      say(why, failure.message + how);
      return;
    }
    some.hidden = !held.on;
    none.hidden = held.on;
    if (!held.on) {
      say(why, "");
      return;
    }
    // Gateways of the version before do not tell.
    say(scopes, held.named_only ? `Default endpoints are all but ${held.named_only.join(", ")}.` : "");
    const shown = held.keys.filter((key) => everything.checked || key.state === "active");
    keyed.keys.show(shown.map((key) => [key.id, key]));
    keyed.policies.show(held.policies.map((row) => [`${row.kind} ${row.name}`, row]));
    const most = held.count > held.keys.length ? `The newest ${held.keys.length} of ${held.count} keys.` : "";
    say(why, [done, shown.length ? most : "No keys are active."].filter(Boolean).join(" "));
  }

  function askRevoke(key) {
    const revoke = h("button", { type: "button", class: "danger" }, "Revoke it");
    const close = h("button", { type: "button" }, "Keep it");
    const failed = h("p", { class: "why", role: "alert" });
    const box = dialog(`Revoke ${key.id}?`, h("p", {}, `Whoever uses this key of tenant ${key.tenant} is refused within five seconds, for good.`), failed,
      h("div", { class: "actions" }, close, revoke));
    close.addEventListener("click", () => box.close());
    revoke.addEventListener("click", async () => {
      try {
        await ask(`/console/data/keys/${encodeURIComponent(key.id)}`, { method: "DELETE" });
        box.close();
        show();
      } catch (failure) {
        say(failed, failure.message);
      }
    });
  }

  function askNew() {
    const limited = limitControls();
    const controls = {
      tenant: h("input", { type: "text", value: "default", maxlength: "64" }),
      name: h("input", { type: "text", maxlength: "200" }),
      models: h("input", { type: "text", placeholder: "all" }),
      endpoints: h("input", { type: "text", placeholder: "all but those that must be named" }),
      expires_in_s: numeric(null, "never", { inputmode: "decimal" }),
      ...limited.controls,
    };
    const ends = () => {
      const days = number(controls.expires_in_s);
      return typeof days === "number" ? days * 86400 : days;
    };
    askForm("New key", {
      controls,
      content: [
        h("div", { class: "grid2" }, field("Tenant", controls.tenant), field("Name", controls.name)),
        field("Models", controls.models, "Names or patterns such as chat-*, with commas."),
        field("Endpoints", controls.endpoints, `With commas, of: ${held.scopes.join(", ")}.`),
        h("div", { class: "grid2" }, field("Ends after days", controls.expires_in_s), ...limited.fields),
      ],
      submit: "Make it",
      send: async () => {
        const made = await ask("/console/data/keys", {
          method: "POST",
          body: {
            tenant: controls.tenant.value.trim(),
            name: controls.name.value,
            models: listed(controls.models),
            endpoints: listed(controls.endpoints),
            expires_in_s: ends(),
            limits: limitValues(controls),
          },
        });
        show();
        tell(made);
      },
    });
  }

  function tell(made) {
    const close = h("button", { type: "button", class: "main" }, "I have kept it");
    const box = dialog("The new key", h("p", {}, `This is key ${made.id} of tenant ${made.tenant}. It is shown only now: only its hash is kept.`),
      h("pre", { tabindex: "0", class: "secret" }, made.key), h("div", { class: "actions" }, copyButton(() => made.key), close));
    close.addEventListener("click", () => box.close());
  }

  making.addEventListener("click", askNew);
  limiting.addEventListener("click", () => askLimits(null, show));
  everything.addEventListener("change", () => show());
  return { show: () => show(), focus: () => (some.hidden ? null : making.focus()) };
}

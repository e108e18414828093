// The playground: a conversation with a model, its parameters, and the same request for elsewhere.
import { ask, events, send } from "./api.js";
import { Bubble } from "./bubble.js";
import { field, h, say } from "./dom.js";
import { Examples } from "./examples.js";
import { count, rate, seconds } from "./format.js";
import { Parameters } from "./parameters.js";

export function playgroundView(section) {
  const model = h("select");
  const log = h("div", { class: "talk", role: "log", "aria-label": "Conversation", tabindex: "0" });
  const empty = h("p", { class: "empty" }, "Say something. Enter sends, Shift+Enter begins a line.");
  const text = h("textarea", { rows: "2", placeholder: "Message", "aria-label": "Message" });
  const submit = h("button", { type: "submit", class: "main" }, "Send");
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  const fresh = h("button", { type: "button" }, "New conversation");
  const status = h("p", { class: "muted status", role: "status" });
  const form = h("form", { class: "say" }, text, h("div", { class: "actions" }, submit, stop, fresh, status));
  const parameters = new Parameters(() => examples.refresh());
  const turns = []; // { message, bubble }
  let running = null;
  let asking = null; // the models that can be called

  function body() {
    const draft = text.value.trim();
    const said = turns.map((turn) => turn.message).filter(Boolean);
    const messages = [...parameters.system(), ...said];
    if (draft || !said.length) messages.push({ role: "user", content: draft || "Hello!" });
    return { model: model.value, messages, ...parameters.values() };
  }

  const examples = new Examples(body);

  function bubble(role) {
    empty.hidden = true;
    const made = new Bubble(role, (call, result) => {
      turns.push({ message: { role: "tool", tool_call_id: call.id, content: result }, bubble: null });
      if (!waiting().length) run();
    });
    log.append(made.node);
    return made;
  }

  // Calls of the last turn that nobody has answered yet.
  function waiting() {
    const at = turns.findLastIndex((turn) => turn.message?.tool_calls);
    const answered = new Set(turns.slice(at + 1).map((turn) => turn.message?.tool_call_id));
    return (turns[at]?.message.tool_calls ?? []).filter((call) => !answered.has(call.id));
  }

  async function run() {
    const answer = bubble("assistant");
    const began = performance.now();
    const mine = (running = new AbortController());
    busy(true);
    let first = null;
    let usage = null;
    let failed = false;
    try {
      await asking; // who types at once is quicker than the first list of models
      if (running !== mine) return;
      const asked = { ...body(), messages: [...parameters.system(), ...turns.map((turn) => turn.message).filter(Boolean)] };
      if (asked.stream) asked.stream_options = { include_usage: true };
      const got = await send("/v1/chat/completions", { method: "POST", body: asked, signal: mine.signal });
      answer.from(got.headers);
      if (asked.stream) {
        for await (const { data } of events(got)) {
          if (data === "[DONE]") break;
          const chunk = JSON.parse(data);
          if (chunk.error) throw new Error(chunk.error.message);
          usage = chunk.usage ?? usage;
          for (const choice of chunk.choices ?? []) {
            first ??= performance.now();
            answer.add(choice);
          }
          follow();
        }
      } else {
        const whole = await got.json();
        usage = whole.usage;
        for (const choice of whole.choices) answer.take(choice);
      }
    } catch (failure) {
      failed = true;
      answer.fail(failure.name === "AbortError" ? "Stopped." : failure.message);
    }
    if (running !== mine) return; // another conversation has begun
    const message = answer.end();
    if (message) turns.push({ message, bubble: answer });
    else if (failed) takeBack();
    answer.stats([
      first && `first token ${seconds((first - began) / 1000)}`,
      `${seconds((performance.now() - began) / 1000)} in all`,
      usage && `${count(usage.prompt_tokens)} + ${count(usage.completion_tokens)} tokens`,
      usage && first && usage.completion_tokens > 1 && `${rate((usage.completion_tokens - 1) / ((performance.now() - first) / 1000))} tokens/s`,
    ]);
    running = null;
    busy(false);
    follow();
    examples.refresh();
  }

  // A question without any answer is not part of the conversation: two in a row are more than some templates take.
  function takeBack() {
    if (turns.at(-1)?.message.role !== "user") return;
    const { message } = turns.pop();
    text.value ||= message.content;
  }

  function busy(on) {
    submit.disabled = on;
    stop.hidden = !on;
    say(status, on ? "Answering…" : "");
    log.setAttribute("aria-busy", String(on));
  }

  function follow() {
    log.scrollTop = log.scrollHeight;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const said = text.value.trim();
    const problem = parameters.problem();
    if (problem) say(status, problem);
    if (running || !said || problem) return;
    for (const call of waiting()) turns.push({ message: { role: "tool", tool_call_id: call.id, content: "" }, bubble: null });
    bubble("user").text(said);
    turns.push({ message: { role: "user", content: said }, bubble: null });
    text.value = "";
    run();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  text.addEventListener("input", () => examples.refresh());
  model.addEventListener("change", () => examples.refresh());
  stop.addEventListener("click", () => running?.abort());
  fresh.addEventListener("click", restart);

  function restart() {
    running?.abort();
    running = null;
    busy(false);
    turns.length = 0;
    log.replaceChildren(empty);
    empty.hidden = false;
    examples.refresh();
    text.focus();
  }

  log.append(empty);
  section.append(
    h("h1", { class: "hidden" }, "Playground"),
    h(
      "div",
      { class: "columns play" },
      h("div", { class: "wide" }, field("Model", model), log, form, examples.node),
      h("div", { class: "side" }, parameters.node),
    ),
  );

  // Asks anew which models can be called: those that the key opens.
  async function models() {
    try {
      const { data } = await ask("/v1/models");
      const before = model.value;
      const names = data.map((each) => each.id);
      const chats = data.filter((each) => (each.capabilities ?? ["chat"]).includes("chat")).map((each) => each.id);
      const offered = chats.length ? chats : names;
      if (offered.join("\n") !== [...model.options].map((each) => each.value).join("\n")) {
        model.replaceChildren(...offered.map((name) => h("option", { value: name }, name)));
        if (offered.includes(before)) model.value = before;
        examples.refresh();
      }
      if (!running || !offered.length) say(status, offered.length ? "" : "No model can be called now.");
    } catch (failure) {
      say(status, failure.message);
    }
  }

  const show = () => (asking = models());

  return { show, focus: () => text.focus(), stop: () => running?.abort(), restart };
}

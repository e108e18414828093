// One turn of a conversation, while it is said and afterwards.
import { h, say } from "./dom.js";

const ROLES = { user: "You", assistant: "Model" };

export class Bubble {
  // `answered(call, result)` is told what a person says that a call of a tool came to.
  constructor(role, answered) {
    this.answered = answered;
    this.content = "";
    this.reasoning = "";
    this.calls = [];
    this.reason = "";
    this.body = h("p", { class: "said" });
    this.thought = h("p", { class: "said muted" });
    this.thinking = h("details", { hidden: true }, h("summary", {}, "Reasoning"), this.thought);
    this.tools = h("div");
    this.why = h("p", { class: "why", role: "alert", hidden: true });
    this.foot = h("p", { class: "foot muted num" });
    this.node = h("article", { class: `turn ${role}` }, h("h3", {}, ROLES[role] ?? role), this.thinking, this.body,
      this.tools, this.why, this.foot);
  }

  text(said) {
    this.content = said;
    say(this.body, said);
  }

  // Notes who answered, and under which name.
  from(headers) {
    this.request = headers.get("x-request-id");
    this.worker = headers.get("x-inferloom-worker");
  }

  // A part of a streamed answer.
  add({ delta = {}, finish_reason: reason }) {
    this.say(delta.content, delta.reasoning_content ?? delta.reasoning);
    for (const part of delta.tool_calls ?? []) {
      const call = (this.calls[part.index ?? 0] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
      if (part.id) call.id = part.id;
      call.function.name += part.function?.name ?? "";
      call.function.arguments += part.function?.arguments ?? "";
    }
    if (delta.tool_calls) this.show();
    this.reason = reason ?? this.reason;
  }

  // A whole answer.
  take({ message, finish_reason: reason }) {
    this.say(message.content, message.reasoning_content ?? message.reasoning);
    this.calls = message.tool_calls ?? [];
    this.show();
    this.reason = reason;
  }

  say(content, reasoning) {
    if (content) {
      this.content += content;
      this.body.append(content);
    }
    if (reasoning) {
      this.reasoning += reasoning;
      this.thinking.hidden = false;
      this.thought.append(reasoning);
    }
  }

  show() {
    this.tools.replaceChildren(
      ...this.calls.map((call) => h("div", { class: "call" }, h("p", {}, "Calls ", h("code", {}, call.function?.name ?? call.custom?.name ?? "")),
        h("pre", { tabindex: "0" }, call.function?.arguments ?? call.custom?.input ?? ""))),
    );
  }

  fail(message) {
    say(this.why, message);
    this.why.hidden = false;
  }

  // Ends the turn: the message that it is in the conversation, or null for nothing.
  end() {
    this.calls = this.calls.filter(Boolean);
    [...this.tools.children].forEach((box, at) => box.append(this.answerForm(this.calls[at])));
    if (!this.content && !this.calls.length) return null;
    const message = { role: "assistant", content: this.content || null };
    if (this.calls.length) message.tool_calls = this.calls;
    return message;
  }

  answerForm(call) {
    const result = h("input", { type: "text", "aria-label": `Result of ${call.function?.name ?? "the call"}`, placeholder: "Its result" });
    const form = h("form", { class: "actions" }, result, h("button", { type: "submit", class: "small" }, "Give back"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.replaceWith(h("p", { class: "muted" }, "→ ", result.value));
      this.answered(call, result.value);
    });
    return form;
  }

  stats(parts) {
    const said = [this.worker, ...parts, this.reason === "length" && "cut at the limit of tokens"].filter(Boolean);
    this.foot.append(said.join(" · "));
    if (this.request) this.foot.append(" · ", h("a", { href: `#/requests/${encodeURIComponent(this.request)}` }, "story"));
  }
}

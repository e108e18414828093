// The parameters of a request in the playground.
import { field, h, say } from "./dom.js";

const TOOLS = `[{"type": "function", "function": {
  "name": "get_weather",
  "parameters": {"type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"]}}}]`;

const SCHEMA = `{"type": "object",
  "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
  "required": ["name", "age"], "additionalProperties": false}`;

const number = (props) => h("input", { type: "number", inputmode: "decimal", ...props });

export class Parameters {
  constructor(changed) {
    this.prompt = h("textarea", { rows: "2" });
    this.numbers = {
      temperature: number({ min: "0", max: "2", step: "0.1" }),
      top_p: number({ min: "0", max: "1", step: "0.05" }),
      max_tokens: number({ min: "1", step: "1", value: "256" }),
      seed: number({ step: "1" }),
    };
    this.streams = h("input", { type: "checkbox", checked: true });
    this.tools = h("textarea", { rows: "6", class: "code", spellcheck: "false" });
    this.choice = h("select", {}, ...["auto", "required", "none"].map((each) => h("option", { value: each }, each)));
    this.schema = h("textarea", { rows: "6", class: "code", spellcheck: "false" });
    this.more = h("textarea", { rows: "3", class: "code", spellcheck: "false", placeholder: '{"top_k": 20}' });
    this.wrong = h("p", { class: "why", role: "status", hidden: true });
    const example = (control, text, label) => {
      const button = h("button", { type: "button", class: "small" }, label);
      button.addEventListener("click", () => {
        control.value = control.value.trim() ? "" : text;
        control.dispatchEvent(new Event("input", { bubbles: true }));
      });
      return button;
    };
    this.node = h(
      "form",
      { class: "card parameters", "aria-label": "Parameters" },
      h("h2", {}, "Parameters"),
      field("System prompt", this.prompt),
      h("div", { class: "grid2" },
        field("Temperature", this.numbers.temperature),
        field("Top p", this.numbers.top_p),
        field("Most tokens", this.numbers.max_tokens),
        field("Seed", this.numbers.seed)),
      h("p", { class: "check" }, h("label", {}, this.streams, " Stream the answer")),
      h("details", {}, h("summary", {}, "Tools"), field("Tools, as JSON", this.tools), field("Tool choice", this.choice),
        example(this.tools, TOOLS, "Example, or none")),
      h("details", {}, h("summary", {}, "Schema of the answer"), field("JSON Schema", this.schema), example(this.schema, SCHEMA, "Example, or none")),
      h("details", {}, h("summary", {}, "More"), field("Any other fields, as JSON", this.more, "They go into the request as they are.")),
      this.wrong,
    );
    this.node.addEventListener("submit", (event) => event.preventDefault());
    this.node.addEventListener("input", () => {
      const problem = this.problem();
      say(this.wrong, problem);
      this.wrong.hidden = !problem;
      changed();
    });
  }

  system() {
    const said = this.prompt.value.trim();
    return said ? [{ role: "system", content: said }] : [];
  }

  // What is wrong with what was written; empty: nothing.
  problem() {
    for (const [label, control, fits] of [
      ["Tools", this.tools, Array.isArray],
      ["The schema", this.schema, isObject],
      ["The other fields", this.more, isObject],
    ]) {
      if (!control.value.trim()) continue;
      const value = parsed(control.value);
      if (value === undefined) return `${label}: this is not JSON.`;
      if (!fits(value)) return `${label}: a JSON ${fits === isObject ? "object" : "array"} is expected.`;
    }
    return "";
  }

  // The fields that were given, besides the conversation.
  values() {
    const made = {};
    for (const [name, control] of Object.entries(this.numbers)) {
      if (control.value !== "" && Number.isFinite(control.valueAsNumber)) made[name] = control.valueAsNumber;
    }
    const tools = parsed(this.tools.value);
    if (Array.isArray(tools) && tools.length) Object.assign(made, { tools, tool_choice: this.choice.value });
    const schema = parsed(this.schema.value);
    if (isObject(schema)) made.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
    if (this.streams.checked) made.stream = true;
    const more = parsed(this.more.value);
    return isObject(more) ? { ...made, ...more } : made;
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

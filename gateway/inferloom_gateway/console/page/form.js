// A form in a dialog, whose values the gateway judges: what is wrong stands beside its field, in the gateway's words.
import { dialog, h, say } from "./dom.js";

let named = 0;

// A number as JSON has it; what is none goes as it was typed, for the gateway to say so. Empty: null.
export function number(control) {
  const typed = control.value.trim();
  if (typed === "") return null;
  return /^-?\d{1,15}(\.\d+)?$/.test(typed) ? Number(typed) : typed;
}

export function listed(control) {
  return control.value.split(",").map((each) => each.trim()).filter(Boolean);
}

// Text and not type="number", whose value is empty where it cannot be read: that would mean no limit.
export function numeric(value, placeholder, props = {}) {
  const shown = value === null || value === undefined ? "" : String(value);
  return h("input", { type: "text", inputmode: "numeric", autocomplete: "off", value: shown, placeholder, ...props });
}

// `controls` by the names that the gateway has for them; `send` does it, and throws what is refused.
export function ask(title, { controls, content, submit, more = [], send }) {
  const failed = h("p", { class: "why", role: "alert" });
  const cancel = h("button", { type: "button" }, "Cancel");
  const main = h("button", { type: "submit", class: "main" }, submit);
  const form = h("form", { novalidate: true }, ...content, failed, h("div", { class: "actions" }, ...more, cancel, main));
  const box = dialog(title, form);
  const marks = new Map();

  function clear() {
    say(failed, "");
    for (const [control, note] of marks) {
      note.remove();
      control.removeAttribute("aria-invalid");
      const others = (control.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== note.id);
      if (others.length) control.setAttribute("aria-describedby", others.join(" "));
      else control.removeAttribute("aria-describedby");
    }
    marks.clear();
  }

  function tell(failure) {
    const control = controls[failure.param?.split(".").pop().replace(/\[\d+\]$/, "")];
    if (!control?.isConnected || control.closest("[hidden]")) return say(failed, failure.message);
    const note = h("small", { class: "why", id: `why${++named}` }, failure.message);
    control.after(note);
    control.setAttribute("aria-invalid", "true");
    const described = [control.getAttribute("aria-describedby"), note.id].filter(Boolean);
    control.setAttribute("aria-describedby", described.join(" "));
    marks.set(control, note);
    control.focus();
  }

  async function run(work) {
    clear();
    main.disabled = true;
    try {
      await work();
      box.close();
    } catch (failure) {
      tell(failure);
    } finally {
      main.disabled = false;
    }
  }

  cancel.addEventListener("click", () => box.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(send);
  });
  return { box, run };
}

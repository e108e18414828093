// What several views show alike.
import { h, mark, say } from "./dom.js";

export const REQUEST_STATES = {
  running: ["busy", "Running"],
  done: ["good", "Done"],
  failed: ["bad", "Failed"],
  cancelled: ["idle", "Left"],
};

export function pill(kind, text) {
  return h("span", { class: `pill ${kind}` }, text);
}

export function setPill(node, [kind, text]) {
  mark(node, "class", `pill ${kind}`);
  say(node, text);
}

// A table that scrolls by itself where the page is narrow. `head` has [text, class].
export function table(caption, head, body) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, ...head.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)))),
      body,
    ),
  );
}

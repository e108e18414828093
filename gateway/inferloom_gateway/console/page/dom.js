// Makes and changes elements. Text is only ever text: nothing here, or anywhere, makes markup of a string.

export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    else if (name === "class") node.className = value;
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

// Sets a text where it is another, so that what did not change is not painted again.
export function say(node, text) {
  const said = String(text);
  if (node.textContent !== said) node.textContent = said;
}

export function mark(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

export function fill(node, share) {
  node.style.setProperty("--share", `${Math.max(0, Math.min(1, share || 0)) * 100}%`);
}

// Keeps a parent's children like a list: `make(row)` gives { node, update(row) } once for each key.
export class Keyed {
  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
    this.parts = new Map();
  }

  show(rows) {
    const wanted = new Set(rows.map(([key]) => key));
    for (const [key, part] of this.parts) {
      if (!wanted.has(key)) {
        part.node.remove();
        this.parts.delete(key);
      }
    }
    let at = this.parent.firstChild;
    for (const [key, row] of rows) {
      let part = this.parts.get(key);
      if (!part) {
        part = this.make(row, key);
        this.parts.set(key, part);
      }
      part.update(row);
      if (part.node === at) at = at.nextSibling;
      else this.parent.insertBefore(part.node, at);
    }
  }
}

let names = 0;

// A labelled control.
export function field(label, control, hint) {
  control.id ||= `f${++names}`;
  const said = hint ? h("small", { id: `${control.id}-hint` }, hint) : null;
  if (said) control.setAttribute("aria-describedby", said.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, said);
}

export function dialog(title, ...content) {
  const heading = h("h2", {}, title);
  const node = h("dialog", { "aria-label": title }, heading, ...content);
  node.addEventListener("close", () => node.remove());
  document.body.append(node);
  node.showModal();
  return node;
}

export function copyButton(text) {
  const button = h("button", { type: "button", class: "small" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      say(button, "Copied");
    } catch {
      say(button, "Select and copy"); // browsers give the clipboard to pages of https and of this machine only
    }
    setTimeout(() => say(button, "Copy"), 1500);
  });
  return button;
}

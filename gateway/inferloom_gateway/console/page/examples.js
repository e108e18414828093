// The playground's request as one would send it from elsewhere.
import { ask, key } from "./api.js";
import { copyButton, h, say } from "./dom.js";
import { curl, grpcurl, python } from "./snippets.js";

const KINDS = { curl: "curl", python: "Python", grpcurl: "grpcurl" };

export class Examples {
  // `body()` gives the request of /v1/chat/completions.
  constructor(body) {
    this.body = body;
    this.kind = "curl";
    this.code = h("pre", { tabindex: "0", role: "tabpanel", id: "snippet", "aria-label": "The request" });
    this.tabs = Object.entries(KINDS).map(([kind, label]) =>
      h("button", { type: "button", role: "tab", id: `tab-${kind}`, "data-kind": kind, "aria-controls": "snippet" }, label));
    const list = h("div", { role: "tablist", "aria-label": "The same request in" }, ...this.tabs);
    list.addEventListener("click", (event) => event.target.dataset.kind && this.choose(event.target.dataset.kind));
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const at = this.tabs.findIndex((tab) => tab.dataset.kind === this.kind);
      const next = this.tabs[(at + step + this.tabs.length) % this.tabs.length];
      this.choose(next.dataset.kind);
      next.focus();
    });
    this.node = h("div", { class: "card examples" }, h("div", { class: "head" }, h("h2", {}, "This request as"), list,
      copyButton(() => this.code.textContent)), this.code);
    this.choose("curl");
  }

  choose(kind) {
    this.kind = kind;
    for (const tab of this.tabs) {
      tab.setAttribute("aria-selected", String(tab.dataset.kind === kind));
      tab.tabIndex = tab.dataset.kind === kind ? 0 : -1;
    }
    this.refresh(0);
  }

  // Writes it anew, a moment after the last change.
  refresh(wait = 250) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.write(), wait);
  }

  async write() {
    const kind = this.kind;
    const body = this.body();
    const keyed = Boolean(key.get());
    if (kind !== "grpcurl") {
      say(this.code, kind === "curl" ? curl(body, location.origin, keyed) : python(body, location.origin, keyed));
      return;
    }
    try {
      const made = await ask("/console/data/contract", { method: "POST", body });
      if (this.kind === kind) say(this.code, grpcurl(made.request, made.grpc, location, keyed));
    } catch (failure) {
      if (this.kind === kind) say(this.code, `# ${failure.message}`);
    }
  }
}

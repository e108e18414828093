// Asks the gateway. The key, where there is one, lives as long as the tab.

const KEY = "inferloom-key";

export const key = {
  get: () => {
    try {
      return sessionStorage.getItem(KEY) || "";
    } catch {
      return held;
    }
  },
  set: (text) => {
    held = text;
    try {
      if (text) sessionStorage.setItem(KEY, text);
      else sessionStorage.removeItem(KEY);
    } catch {
      // it holds for this page
    }
  },
};

let held = "";

export class Refused extends Error {
  constructor(message, status, { code, param } = {}) {
    super(message);
    this.status = status;
    this.code = code ?? "";
    this.param = param ?? ""; // the field that is wrong
  }
}

// Whether another key could open what was refused: a gateway that asks for none refuses for other reasons.
export function keyHelps(status) {
  return status === 401 || (status === 403 && key.get() !== "");
}

export function headers(more = {}) {
  const shown = key.get();
  return shown ? { ...more, authorization: `Bearer ${shown}` } : more;
}

// One answer whose status is good. Throws Refused in the gateway's own words.
export async function send(path, { method = "GET", body, signal, more } = {}) {
  const asked = { method, signal, headers: headers(more), cache: "no-store" };
  if (body !== undefined) {
    asked.body = typeof body === "string" ? body : JSON.stringify(body);
    asked.headers = { ...asked.headers, "content-type": "application/json" };
  }
  let answer;
  try {
    answer = await fetch(path, asked);
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new Refused("The gateway does not answer.", 0);
  }
  if (answer.ok) return answer;
  let error = {};
  try {
    error = (await answer.json()).error ?? {};
  } catch {
    // whatever stands between here and the gateway has words of its own
  }
  throw new Refused(error.message || `The gateway answered ${answer.status}.`, answer.status, error);
}

export async function ask(path, options) {
  return (await send(path, options)).json();
}

// The events of a stream, as { event, data }; `heard` is called whenever something has come, comments too.
export async function* events(answer, heard = () => {}) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = "message";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { event, data: data.join("\n") };
          event = "message";
          data = [];
        } else if (line.startsWith("data: ")) data.push(line.slice(6));
        else if (line.startsWith("event: ")) event = line.slice(7);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

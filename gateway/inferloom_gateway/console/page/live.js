// The picture of the mesh, kept like the gateway's: whole once, then what changed.
import { Refused, events, send } from "./api.js";

const MOST_WAIT_S = 10;
const SILENT_S = 40; // what lives says something every 15 s

// The signal of one try. It ends with another, and where nothing is heard: a machine that is gone, or a network, says no more.
class Watch {
  constructor(other) {
    const own = new AbortController();
    other.addEventListener("abort", () => own.abort(), { signal: own.signal });
    this.signal = own.signal;
    this.silent = false;
    this.end = () => {
      clearTimeout(this.timer);
      own.abort();
    };
    this.heard();
  }

  heard() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.silent = true;
      this.end();
    }, SILENT_S * 1000);
  }
}

export class Live {
  constructor() {
    this.picture = {};
    this.state = "connecting"; // live, away, refused
    this.why = "";
    this.status = 0; // of the answer that refused
    this.listeners = new Set();
    this.stopped = null;
  }

  rows(section) {
    return Object.entries(this.picture[section] ?? {});
  }

  listen(call) {
    this.listeners.add(call);
  }

  // Connects anew, such as with another key.
  start() {
    this.stopped?.abort();
    const stop = (this.stopped = new AbortController());
    this.run(stop.signal);
  }

  stop() {
    this.stopped?.abort();
    this.stopped = null;
  }

  async run(signal) {
    let wait = 0.5;
    while (!signal.aborted) {
      const watch = new Watch(signal);
      try {
        const answer = await send("/console/data/live", { signal: watch.signal });
        wait = 0.5;
        for await (const { event, data } of events(answer, () => watch.heard())) this.take(event, JSON.parse(data));
        this.become("away", "The gateway ended the connection.");
      } catch (failure) {
        if (signal.aborted) return;
        this.status = failure instanceof Refused ? failure.status : 0;
        const refused = [401, 403, 404].includes(this.status);
        if (refused) this.picture = {};
        this.become(refused ? "refused" : "away", watch.silent ? "The gateway fell silent." : failure.message);
        if (refused) return;
      } finally {
        watch.end();
      }
      await new Promise((go) => setTimeout(go, wait * 1000));
      wait = Math.min(MOST_WAIT_S, wait * 1.6);
    }
  }

  take(event, data) {
    if (event === "whole") this.picture = data;
    else if (event === "change") this.change(data);
    else return;
    this.become("live", "");
  }

  change(data) {
    for (const [section, rows] of Object.entries(data)) {
      const held = (this.picture[section] ??= {});
      for (const [name, row] of Object.entries(rows)) {
        if (row === null) delete held[name];
        else held[name] = row;
      }
    }
  }

  become(state, why) {
    this.state = state;
    this.why = why;
    for (const call of this.listeners) call(this);
  }
}

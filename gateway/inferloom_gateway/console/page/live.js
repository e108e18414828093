// The picture of the mesh, kept like the gateway's: whole once, then what changed.
import { Refused, events, send } from "./api.js";

const MOST_WAIT_S = 10;

export class Live {
  constructor() {
    this.picture = {};
    this.state = "connecting"; // live, away, refused
    this.why = "";
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
      try {
        const answer = await send("/console/data/live", { signal });
        wait = 0.5;
        for await (const { event, data } of events(answer)) this.take(event, JSON.parse(data));
        this.become("away", "The gateway ended the connection.");
      } catch (failure) {
        if (signal.aborted) return;
        const refused = failure instanceof Refused && [401, 403, 404].includes(failure.status);
        if (refused) this.picture = {};
        this.become(refused ? "refused" : "away", failure.message);
        if (refused) return;
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

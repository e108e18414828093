// A line of the last two minutes, drawn without axes: the number beside it says how much.
import { svg } from "./dom.js";

const KEPT = 120;
const LEAST = 30; // seconds that its width stands for at first
const WIDTH = 120;
const HEIGHT = 28;

export class Spark {
  constructor() {
    this.values = [];
    this.line = svg("polyline", { class: "spark-line", points: "" });
    this.area = svg("polygon", { class: "spark-area", points: "" });
    this.node = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "spark" },
      this.area,
      this.line,
    );
  }

  // Takes the value of this second.
  add(value) {
    this.values.push(value);
    if (this.values.length > KEPT) this.values.shift();
    const most = Math.max(1e-9, ...this.values);
    const width = Math.max(LEAST, this.values.length);
    const step = WIDTH / (width - 1);
    const first = width - this.values.length;
    const points = this.values.map(
      (each, at) => `${((first + at) * step).toFixed(1)},${(HEIGHT - 2 - (each / most) * (HEIGHT - 5)).toFixed(1)}`,
    );
    this.line.setAttribute("points", points.join(" "));
    this.area.setAttribute("points", `${(first * step).toFixed(1)},${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`);
  }
}

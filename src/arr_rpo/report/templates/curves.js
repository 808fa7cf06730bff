// Curves: a line per arm (mean over runs, with the range between them) or per run, switchable, read by pointer or keyboard.
(() => {
  if (!report.curves.metrics.length) return;
  const hidden = new Set();
  let strong = null; // the arm under the pointer in the legend
  let at = null; // x of the cursor
  const box = byId("chart"), tip = byId("tip"), select = byId("metric");
  const margin = { left: 52, right: 14, top: 12, bottom: 40 };

  const metric = () => report.curves.metrics.find((m) => m.key === select.value);
  const axis = () => chosen("axis");
  const lines = () => report.curves.lines[select.value].filter((line) => !hidden.has(line.arm));

  // Everything a line shows on the chosen axis: [x, y] of each of its runs, and the mean with its range.
  function parts(line) {
    const runs = line.runs.filter((run) => run.x[axis()]).map((run) => ({ run: run.run, short: run.short, x: run.x[axis()], y: run.y }));
    return { arm: line.arm, runs, band: line.bands[axis()] };
  }

  function draw() {
    const shown = lines().map(parts), perRun = chosen("show") === "runs";
    const points = shown.flatMap((p) => (perRun ? p.runs.map((r) => [r.x, r.y]) : p.band ? [[p.band.x, p.band.low], [p.band.x, p.band.high]] : []));
    const xs = points.flatMap(([x]) => x), ys = points.flatMap(([, y]) => y);
    clear(box);
    legend();
    tableOf(shown);
    if (!xs.length) {
      box.append(element("p", { class: "note" }, "Nothing to draw: no run logged this measure against this axis, or every arm is switched off."));
      return tip.replaceChildren();
    }
    const width = Math.max(280, box.clientWidth), height = Math.round(Math.min(400, Math.max(240, width * 0.5)));
    const ticksY = ticks(...spread(Math.min(...ys), Math.max(...ys)), 5), ticksX = ticks(0, Math.max(...xs), width < 500 ? 4 : 7);
    const x0 = 0, x1 = Math.max(...xs) || 1, y0 = Math.min(ticksY[0], ...ys), y1 = Math.max(ticksY.at(-1), ...ys);
    const px = (x) => margin.left + ((x - x0) / (x1 - x0)) * (width - margin.left - margin.right);
    const py = (y) => height - margin.bottom - ((y - y0) / (y1 - y0)) * (height - margin.top - margin.bottom);
    const label = `${metric().label} against ${axisLabel()}, ${shown.length} arms. Left and right arrow keys read values.`;
    const svg = shape("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "application", tabindex: 0, "aria-label": label });
    for (const y of ticksY) {
      svg.append(shape("line", { class: "axis", x1: margin.left, x2: width - margin.right, y1: py(y), y2: py(y) }));
      svg.append(shape("text", { x: margin.left - 8, y: py(y) + 4, "text-anchor": "end" }, number(y)));
    }
    for (const x of ticksX.filter((x) => x <= x1)) svg.append(shape("text", { x: px(x), y: height - margin.bottom + 18, "text-anchor": "middle" }, number(x)));
    svg.append(shape("text", { x: (margin.left + width - margin.right) / 2, y: height - 4, "text-anchor": "middle" }, axisLabel()));
    for (const part of shown) svg.append(...(perRun ? thin(part, px, py) : mean(part, px, py)));
    svg.append(shape("line", { class: "cursor", id: "cursor", y1: margin.top, y2: height - margin.bottom, visibility: "hidden" }));
    const read = (x) => readAt(x, shown, px, width, perRun);
    svg.addEventListener("pointermove", (event) => read(x0 + ((event.clientX - svg.getBoundingClientRect().left) * width / svg.clientWidth - margin.left) / (width - margin.left - margin.right) * (x1 - x0)));
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own: back and forth
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      const stops = [...new Set(shown.flatMap((part) => stopsOf(part, perRun)))].sort((a, b) => a - b);
      const here = at === null ? (step > 0 ? -1 : stops.length) : stops.findIndex((x) => x >= at);
      read(stops[Math.min(stops.length - 1, Math.max(0, here + step))]);
    });
    box.append(svg);
  }

  const stopsOf = (part, perRun) => (part.band && !perRun ? part.band.x : part.runs.flatMap((run) => run.x));
  const axisLabel = () => report.curves.axes.find(([key]) => key === axis())[1];
  const faded = (arm) => (strong !== null && !hidden.has(strong) && strong !== arm ? " faded" : "");
  const path = (x, y, px, py) => x.map((value, i) => `${i ? "L" : "M"}${px(value).toFixed(1)} ${py(y[i]).toFixed(1)}`).join("");

  function stroke(node, arm) {
    node.style.stroke = `var(--c${report.arms[arm].colour})`;
    if (DASHES[report.arms[arm].dash]) node.setAttribute("stroke-dasharray", DASHES[report.arms[arm].dash]);
    return node;
  }

  function mean({ arm, band }, px, py) {
    if (!band) return [];
    const area = path(band.x, band.high, px, py) + path([...band.x].reverse(), [...band.low].reverse(), px, py).replace("M", "L") + "Z";
    const filledArea = shape("path", { class: `band${faded(arm)}`, d: area });
    filledArea.style.fill = `var(--c${report.arms[arm].colour})`;
    return [filledArea, stroke(shape("path", { class: `line${faded(arm)}`, "data-arm": arm, d: path(band.x, band.mean, px, py) }), arm)];
  }

  function thin({ arm, runs }, px, py) {
    return runs.map((run) => stroke(shape("path", { class: `thin${faded(arm)}`, "data-arm": arm, d: path(run.x, run.y, px, py) }, shape("title", {}, `${report.arms[arm].name}, ${run.run}`)), arm));
  }

  // The value of a piecewise linear curve, or null outside of it.
  function valueAt(x, y, where) {
    if (!x.length || where < x[0] || where > x.at(-1)) return null;
    const right = Math.max(1, x.findIndex((value) => value >= where));
    if (x.length === 1) return y[0];
    const share = (where - x[right - 1]) / (x[right] - x[right - 1] || 1);
    return y[right - 1] + share * (y[right] - y[right - 1]);
  }

  function readAt(where, shown, px, width, perRun) {
    const stops = shown.flatMap((part) => stopsOf(part, perRun));
    at = stops.reduce((best, x) => (Math.abs(x - where) < Math.abs(best - where) ? x : best));
    const cursor = byId("cursor");
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, px(at));
    cursor.setAttribute("visibility", "visible");
    const drawn = (p) => (perRun ? p.runs : p.band ? [{ x: p.band.x, y: p.band.mean }] : []);
    const values = shown
      .map((p) => ({ arm: p.arm, read: drawn(p).map((run) => ({ short: run.short, value: valueAt(run.x, run.y, at) })).filter((r) => r.value !== null) }))
      .filter((v) => v.read.length)
      .sort((a, b) => average(b.read) - average(a.read));
    clear(tip).append(element("strong", {}, `${axisLabel()}: ${number(at)}`));
    for (const v of values) tip.append(element("div", {}, swatch(v.arm), report.arms[v.arm].name, element("b", {}, v.read.map((r) => (perRun ? `${r.short}: ` : "") + number(r.value)).join(" · "))));
    const left = px(at) * (box.clientWidth / width);
    tip.style.left = left > box.clientWidth / 2 ? "auto" : `${left + 12}px`;
    tip.style.right = left > box.clientWidth / 2 ? `${box.clientWidth - left + 12}px` : "auto";
  }

  const average = (read) => read.reduce((sum, r) => sum + r.value, 0) / read.length;

  function hide() {
    at = null;
    tip.replaceChildren();
    byId("cursor")?.setAttribute("visibility", "hidden");
  }

  function spread(low, high) {
    return low === high ? [low - 0.5, high + 0.5] : [low, high];
  }

  // About `count` round values that cover low to high.
  function ticks(low, high, count) {
    const raw = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw);
    const first = Math.floor(low / step), found = [];
    for (let i = first; i * step < high + step; i++) found.push(Number((i * step).toPrecision(12)));
    return found;
  }

  function legend() {
    if (byId("legend").childElementCount) return;
    for (const arm of report.arms.keys()) {
      const button = element("button", { type: "button", "aria-pressed": "true" }, swatch(arm), report.arms[arm].name);
      button.addEventListener("click", () => {
        if (!hidden.delete(arm)) hidden.add(arm);
        button.setAttribute("aria-pressed", String(!hidden.has(arm)));
        draw();
      });
      for (const [event, value] of [["pointerenter", arm], ["pointerleave", null], ["focus", arm], ["blur", null]])
        button.addEventListener(event, () => { strong = value; draw(); });
      byId("legend").append(element("li", {}, button));
    }
  }

  // The same values for those who do not see the drawing: up to nine places on the axis, a column each.
  function tableOf(shown) {
    const stops = [...new Set(shown.flatMap((p) => (p.band ? p.band.x : [])))].sort((a, b) => a - b);
    const picked = stops.length <= 9 ? stops : [...Array(9).keys()].map((i) => stops[Math.round((i * (stops.length - 1)) / 8)]);
    const head = element("tr", {}, element("th", { scope: "col" }, "arm"), ...picked.map((x) => element("th", { scope: "col", class: "number" }, number(x))));
    const rows = shown.map((p) =>
      element("tr", {}, element("th", { scope: "row" }, report.arms[p.arm].name), ...picked.map((x) => {
        const [value, low, high] = ["mean", "low", "high"].map((key) => (p.band ? valueAt(p.band.x, p.band[key], x) : null));
        return element("td", { class: "number" }, number(value), value === null || low === high ? null : element("span", { class: "range" }, `${number(low)} to ${number(high)}`));
      })));
    const caption = element("caption", {}, element("span", {}, `${metric().label} against ${axisLabel()}: mean over runs, lowest to highest run`));
    clear(byId("curve-table")).append(element("table", {}, caption, element("thead", {}, head), element("tbody", {}, ...rows)));
  }

  for (const control of document.querySelectorAll("#curves select, #curves input")) control.addEventListener("change", () => { at = null; draw(); });
  let width = 0;
  new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; draw(); } }).observe(box);
})();

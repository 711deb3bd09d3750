// The curves of a race: a line for the median over the seeds, a band from the least to the greatest.

const COLOURS = 7;
const lineColour = (place) => colour(`start-${place % COLOURS}`);
const bandColour = (place) => lineColour(place).replace("rgb(", "rgba(").replace(")", ", 0.16)");

// All starts on the steps of all, null where one has no value: what uPlot wants.
function aligned(curves) {
  const steps = [...new Set(curves.flatMap((curve) => curve.steps))].sort((one, other) => one - other);
  const columns = [];
  for (const curve of curves) {
    const at = new Map(curve.steps.map((step, place) => [step, place]));
    for (const name of ["median", "low", "high"]) columns.push(steps.map((step) => (at.has(step) ? curve[name][at.get(step)] : null)));
  }
  return { steps, columns };
}

function raceChart(host, panel, hidden, onCursor) {
  const { steps, columns } = aligned(panel.curves);
  const drawn = panel.logarithmic ? columns.map((column) => column.map((value) => (isNumber(value) && value > 0 ? Math.log10(value) : null))) : columns;
  const grid = { stroke: colour("chart-grid"), width: 1 };
  const axis = { stroke: colour("quiet"), grid, ticks: { ...grid, size: 5 }, font: "12px system-ui" };
  const labelled = panel.logarithmic ? (tick) => digits(10 ** tick) : (tick) => digits(tick);
  const series = [{}];
  const bands = [];
  panel.curves.forEach((curve, place) => {
    const show = !hidden.has(curve.start);
    series.push({ show, label: curve.start, stroke: lineColour(place), width: 2, points: { show: false }, spanGaps: true });
    for (let edge = 0; edge < 2; edge += 1) series.push({ show, stroke: "transparent", width: 0, points: { show: false }, spanGaps: true });
    bands.push({ series: [3 * place + 3, 3 * place + 2], fill: bandColour(place) });
  });
  const target = (plot) => {
    if (!isNumber(panel.target)) return;
    const at = plot.valToPos(panel.logarithmic ? Math.log10(panel.target) : panel.target, "y", true);
    if (at < plot.bbox.top || at > plot.bbox.top + plot.bbox.height) return;
    const pen = plot.ctx;
    pen.save();
    pen.strokeStyle = colour("quiet");
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.moveTo(plot.bbox.left, at);
    pen.lineTo(plot.bbox.left + plot.bbox.width, at);
    pen.stroke();
    pen.restore();
  };
  const width = onPaper.matches ? Math.min(660, host.clientWidth || 660) : host.clientWidth;
  return new uPlot(
    {
      width: Math.max(200, width),
      height: 300,
      padding: [10, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "race", setSeries: false } },
      scales: { x: { time: false }, y: {} },
      axes: [
        { ...axis, size: 34, values: (_, ticks) => ticks.map(whole) },
        { ...axis, size: 58, values: (_, ticks) => ticks.map(labelled) },
      ],
      series,
      bands,
      hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx)], draw: [target] },
    },
    [steps, ...drawn],
    host,
  );
}

function racePanel(panel, hidden) {
  const { steps, columns } = aligned(panel.curves);
  const state = { plot: null, place: steps.length - 1 };
  const host = make("div", { class: "plot", tabindex: "0", role: "slider", "aria-orientation": "horizontal", "aria-label": panel.title });
  const readout = make("p", { class: "readout" });
  const said = (place) => panel.curves.filter((curve) => !hidden.has(curve.start)).map((curve) => [curve.start, columns[3 * panel.curves.indexOf(curve)][place]]);

  function point(place) {
    if (place === null || place === undefined || place < 0 || place >= steps.length) return;
    state.place = place;
    const parts = said(place).flatMap(([start, value]) => [" · ", start, " ", make("b", null, digits(value))]);
    readout.replaceChildren(`step ${whole(steps[place])}`, ...parts);
    host.setAttribute("aria-valuenow", String(steps[place]));
    host.setAttribute("aria-valuetext", `step ${steps[place]}: ${said(place).map(([start, value]) => `${start} ${digits(value)}`).join(", ")}`);
  }

  function draw() {
    if (state.plot) state.plot.destroy();
    host.setAttribute("aria-valuemin", String(steps[0] || 0));
    host.setAttribute("aria-valuemax", String(steps[steps.length - 1] || 0));
    state.plot = raceChart(host, panel, hidden, point);
    point(state.place);
  }

  const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
  host.addEventListener("keydown", (event) => {
    const goal = event.key === "Home" ? 0 : event.key === "End" ? steps.length - 1 : event.key in moves ? state.place + moves[event.key] : null;
    if (goal === null) return;
    point(Math.max(0, Math.min(steps.length - 1, goal)));
    state.plot.setCursor({ left: state.plot.valToPos(steps[state.place], "x"), top: 10 });
    event.preventDefault();
  });
  new ResizeObserver(() => {
    if (!onPaper.matches && state.plot && host.clientWidth && Math.abs(host.clientWidth - state.plot.width) > 1) {
      state.plot.setSize({ width: Math.max(200, host.clientWidth), height: 300 });
    }
  }).observe(host);
  const element = make("figure", { class: "card chart" }, make("div", { class: "chart-head" }, make("h3", null, panel.title)), host, readout);
  return { element, draw };
}

function buildCurves(section) {
  const hidden = new Set();
  const panels = page.panels.map((panel) => racePanel(panel, hidden));
  const starts = page.panels[0].curves.map((curve, place) => {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(curve.start);
      else hidden.add(curve.start);
      for (const panel of panels) panel.draw();
    });
    return make("label", { class: "choice" }, box, make("span", { class: `swatch s${place % COLOURS}`, "aria-hidden": "true" }), curve.start);
  });
  section.append(make("div", { class: "controls" }, ...starts), make("div", { class: "charts" }, ...panels.map((panel) => panel.element)));
  for (const panel of panels) themed(panel.draw);
}

function offerCommand() {
  for (const pre of document.querySelectorAll(".how pre")) {
    const button = make("button", { type: "button", class: "copy" }, "Copy");
    button.addEventListener("click", () => copyOf(pre, button));
    pre.after(button);
  }
}

startTheme();
offerCommand();
if (byId("curves")) buildCurves(byId("curves"));
performance.mark("interactive");
performance.mark("complete");

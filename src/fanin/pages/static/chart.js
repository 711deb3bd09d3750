// Quantities through depth: measured, predicted, before. Drawn by uPlot; readable as a slider and as a table.

const field = (...path) => (layer) => path.reduce((value, key) => (value === null || value === undefined ? null : value[key]), layer);
const share = (part) => (layer) => ratio(layer[part], layer.units);
const none = () => null;

// name, measured, predicted, logarithmic
const FORWARD = [
  ["second moment E[h²]", field("forward", "second"), field("expected_forward"), true],
  ["measured ÷ predicted", (layer) => ratio(field("forward", "second")(layer), layer.expected_forward), (layer) => (isNumber(layer.expected_forward) ? 1 : null), true],
  ["std", field("forward", "std"), none, true],
  ["mean", field("forward", "mean"), none, false],
  ["largest |h|", field("forward", "max_abs"), none, true],
  ["share of zeros", field("forward", "zeros"), none, false],
  ["dead units", share("dead"), none, false],
  ["saturated units", share("saturated"), none, false],
  ["correlation between inputs", field("correlation"), none, false],
  ["effective rank", field("effective_rank"), none, false],
  ["attention entropy", field("entropy"), none, false],
  ["error in bf16", field("precision"), none, true],
];
const BACKWARD = [
  ["second moment E[g²]", field("gradient", "second"), field("expected_gradient"), true],
  ["measured ÷ predicted", (layer) => ratio(field("gradient", "second")(layer), layer.expected_gradient), (layer) => (isNumber(layer.expected_gradient) ? 1 : null), true],
  ["std", field("gradient", "std"), none, true],
  ["largest |g|", field("gradient", "max_abs"), none, true],
  ["largest singular value of the Jacobian", field("jacobian", "largest"), none, true],
  ["smallest singular value of the Jacobian", field("jacobian", "smallest"), none, true],
];

const BLOCKS = [
  ["largest singular value of the Jacobian", field("largest"), none, true],
  ["smallest singular value of the Jacobian", field("smallest"), none, true],
];

const isIll = (layer) => Boolean(layer.verdict) && layer.verdict !== "healthy";

const offered = (quantities, layers) => quantities.filter(([, seen]) => layers.some((layer) => isNumber(seen(layer))));

// Logarithms are taken here, not by uPlot: its logarithmic scale does not reach down to 1e−30, where gradients end up.
function drawable(values, logarithmic) {
  if (!logarithmic) return values.map((value) => (isNumber(value) ? value : null));
  return values.map((value) => (isNumber(value) && value > 0 ? Math.log10(value) : null));
}

function columnsOf(layers, [, seen, told, logarithmic]) {
  const measured = layers.map(seen);
  return {
    places: layers.map((layer) => layer.place + 1),
    measured,
    predicted: layers.map(told),
    before: layers.map((layer) => (layer.before ? seen(layer.before) : null)),
    drawn: (values) => drawable(values, logarithmic),
  };
}

function lineChart(host, layers, quantity, columns, together, onCursor) {
  const grid = { stroke: colour("chart-grid"), width: 1 };
  const axis = { stroke: colour("quiet"), grid, ticks: { ...grid, size: 5 }, font: "12px system-ui" };
  const labelled = quantity[3] ? (tick) => digits(10 ** tick) : (tick) => digits(tick);
  const steps = quantity[3] ? { incrs: [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 20, 50] } : {};
  const few = layers.length <= 80;
  const ill = layers.map((layer, place) => (isIll(layer) ? columns.measured[place] : null));
  const width = onPaper.matches ? Math.min(660, host.clientWidth || 660) : host.clientWidth;
  const dots = (size, fill, stroke) => ({ show: few, size, fill, stroke });
  const card = colour("card");
  return new uPlot(
    {
      width: Math.max(200, width),
      height: 250,
      padding: [10, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: together, setSeries: false } },
      scales: { x: { time: false }, y: {} },
      axes: [
        { ...axis, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000], values: (_, ticks) => ticks.map(whole) },
        { ...axis, ...steps, size: 62, values: (_, ticks) => ticks.map(labelled) },
      ],
      series: [
        {},
        { stroke: colour("chart-before"), width: 1.5, dash: [2, 3], points: { show: false }, spanGaps: true },
        { stroke: colour("chart-told"), width: 7, cap: "round", points: { show: few, size: 9, fill: colour("chart-told"), stroke: colour("chart-told"), width: 0 } },
        { stroke: colour("chart-seen"), width: 1.75, points: dots(5, card, colour("chart-seen")) },
        { stroke: colour("bad"), width: 0, paths: none, points: { show: true, size: few ? 11 : 6, width: 2, stroke: colour("bad"), fill: few ? "transparent" : colour("bad") } },
      ],
      hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx)] },
    },
    [columns.places, columns.drawn(columns.before), columns.drawn(columns.predicted), columns.drawn(columns.measured), columns.drawn(ill)],
    host,
  );
}

function keysOf(layers, columns) {
  const keys = [["", "measured", true], ["told", "predicted", columns.predicted.some(isNumber)], ["before", "before", columns.before.some(isNumber)], ["ill", "not healthy", layers.some(isIll)]];
  return keys.filter(([, , there]) => there).map(([kind, text]) => make("span", null, make("span", { class: `key ${kind}`, "aria-hidden": "true" }), text));
}

function layerWords(layer, place, columns) {
  const told = isNumber(columns.predicted[place]) ? `, predicted ${digits(columns.predicted[place])}` : "";
  const was = isNumber(columns.before[place]) ? `, before ${digits(columns.before[place])}` : "";
  const verdict = layer.verdict ? `; ${layer.verdict}` : "";
  return `${layer.place + 1}, ${layer.name}: measured ${digits(columns.measured[place])}${told}${was}${verdict}`;
}

function readoutOf(layer, place, columns) {
  const line = [make("b", null, layer.name), ` #${layer.place + 1} · measured `, make("b", null, digits(columns.measured[place]))];
  if (isNumber(columns.predicted[place])) line.push(` · predicted ${digits(columns.predicted[place])}`);
  if (isNumber(columns.before[place])) line.push(` · before ${digits(columns.before[place])}`);
  return layer.verdict ? [...line, " · ", health(layer.verdict)] : line;
}

function valueTable(caption, layers, columns) {
  const before = page.two;
  const heads = ["#", "layer", "measured", "predicted", ...(before ? ["before"] : []), "verdict"];
  const body = layers.map((layer, place) =>
    make("tr", null, ...[whole(layer.place + 1), layer.name, digits(columns.measured[place]), digits(columns.predicted[place]), ...(before ? [digits(columns.before[place])] : []), layer.verdict || ""].map((text) => make("td", null, text))),
  );
  const head = make("tr", null, ...heads.map((text) => make("th", { scope: "col" }, text)));
  return make("table", null, make("caption", { class: "quiet" }, caption), make("thead", null, head), make("tbody", null, ...body));
}

// Panels with the same word for `together` share the cursor.
function chartPanel(title, quantities, layers, together, onOpen) {
  const known = offered(quantities, layers);
  if (!known.length) return null;
  const state = { quantity: known[0], layers, place: 0, plot: null, columns: null };
  const host = make("div", { class: "plot", tabindex: "0", role: "slider", "aria-orientation": "horizontal", "aria-label": `${title} through depth` });
  const readout = make("p", { class: "readout" });
  const values = make("details", { class: "values" }, make("summary", null, "Table of these values"));
  const legend = make("p", { class: "legend" });
  const pick = choice("", known.map(([name], place) => [String(place), name]), "0", (place) => {
    state.quantity = known[Number(place)];
    draw();
  });
  pick.querySelector("select").setAttribute("aria-label", `${title}: quantity`);

  function point(place) {
    if (place === null || place === undefined || !state.layers[place]) return;
    state.place = place;
    readout.replaceChildren(...readoutOf(state.layers[place], place, state.columns));
    host.setAttribute("aria-valuenow", String(place + 1));
    host.setAttribute("aria-valuetext", layerWords(state.layers[place], place, state.columns));
  }

  function move(place) {
    const goal = Math.max(0, Math.min(state.layers.length - 1, place));
    state.plot.setCursor({ left: state.plot.valToPos(state.layers[goal].place + 1, "x"), top: 10 });
    point(goal);
  }

  function fillTable() {
    for (const old of values.querySelectorAll(".scroll")) old.remove();
    if (values.open) values.append(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title} as a table` }, valueTable(`${title}: ${state.quantity[0]}`, state.layers, state.columns)));
  }

  function draw() {
    if (state.plot) state.plot.destroy();
    state.columns = columnsOf(state.layers, state.quantity);
    legend.replaceChildren(...keysOf(state.layers, state.columns));
    host.setAttribute("aria-valuemin", "1");
    host.setAttribute("aria-valuemax", String(state.layers.length));
    state.plot = lineChart(host, state.layers, state.quantity, state.columns, together, point);
    point(Math.min(state.place, state.layers.length - 1));
    fillTable();
  }

  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
  host.addEventListener("keydown", (event) => {
    if (event.key in steps) move(state.place + steps[event.key]);
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(state.layers.length - 1);
    else if (event.key === "Enter") onOpen(state.layers[state.place]);
    else return;
    event.preventDefault();
  });
  host.addEventListener("click", () => onOpen(state.layers[state.place]));
  values.addEventListener("toggle", fillTable);
  new ResizeObserver(() => {
    if (!onPaper.matches && state.plot && host.clientWidth && Math.abs(host.clientWidth - state.plot.width) > 1) {
      state.plot.setSize({ width: Math.max(200, host.clientWidth), height: 250 });
    }
  }).observe(host);

  const element = make("figure", { class: "card chart" }, make("div", { class: "chart-head" }, make("h3", null, title), pick), legend, host, readout, values);
  const restrict = (wanted) => {
    state.layers = wanted;
    if (wanted.length) draw();
  };
  return { element, start: () => themed(draw), restrict };
}

// Puts the page together: what the reader sees first comes first, long tables when the browser has time.

const tables = {};

function openLayer(layer) {
  const row = tables.layers && tables.layers.find((data) => data.place === layer.place);
  if (row) tables.layers.open(row);
}

function openGroup(block) {
  const row = tables.layers.findGroup((data) => data.name === block.name);
  if (row) tables.layers.open(row);
}

function openTensor(name) {
  finish();
  const goals = [
    [tables.layers, (data) => data.name === name],
    [tables.parameters, (data) => data.name === name],
    [tables.layers, (data) => data.weight === name],
    [tables.plan, (data) => data.name === name || data.aliases.includes(name)],
  ];
  for (const [table, fits] of goals) {
    const row = table && table.find(fits);
    if (row && table.open(row)) return;
  }
}

function isKnown(name) {
  const has = (rows, fits) => (rows || []).some(fits);
  return has(page.layers, (row) => row.name === name || row.weight === name) || has(page.parameters, (row) => row.name === name) || has(page.plan, (row) => row.name === name);
}

function linkTensors() {
  for (const code of document.querySelectorAll("[data-tensor]")) {
    if (!isKnown(code.textContent)) continue;
    const button = make("button", { type: "button", class: "linked", title: "Show this tensor" }, code.textContent);
    button.addEventListener("click", () => openTensor(button.textContent));
    code.replaceWith(button);
  }
}

function offerCopies() {
  for (const pre of document.querySelectorAll(".remedy pre")) {
    const button = make("button", { type: "button", class: "copy" }, "Copy");
    button.setAttribute("aria-label", `Copy: ${pre.textContent}`);
    button.addEventListener("click", () => copyOf(pre, button));
    pre.after(button);
  }
}

function buildSignal(section) {
  const panels = [
    chartPanel("Forward", FORWARD, page.layers, "layers", openLayer),
    chartPanel("Backward", BACKWARD, page.layers, "layers", openLayer),
  ].filter(Boolean);
  const blocks = chartPanel("Blocks", BLOCKS, page.blocks, "blocks", openGroup);
  const kinds = distinct(page.layers, "kind");
  const pick = choice("layers", [["", "all"], ...kinds.map((kind) => [kind, kind])], "", (kind) => {
    for (const panel of panels) panel.restrict(page.layers.filter((layer) => !kind || layer.kind === kind));
  });
  section.append(make("div", { class: "controls" }, pick), make("div", { class: "charts" }, ...panels.map((panel) => panel.element), blocks && blocks.element));
  for (const panel of panels) panel.start();
  if (blocks) blocks.start();
}

const waiting = [];

function finish() {
  while (waiting.length) waiting.shift()();
}

function later(id, key, build) {
  const section = byId(id);
  if (section) waiting.push(() => (tables[key] = build(section)));
}

function start() {
  for (const rows of [page.layers, page.blocks]) rows.forEach((row, place) => (row.place = place));
  startTheme();
  linkTensors();
  offerCopies();
  if (byId("signal")) buildSignal(byId("signal"));
  if (byId("layers")) tables.layers = buildLayers(byId("layers"));
  performance.mark("interactive");
  later("parameters", "parameters", buildParameters);
  later("plan", "plan", buildPlan);
  window.addEventListener("beforeprint", finish);
  const next = () => {
    if (waiting.length) {
      waiting.shift()();
      whenIdle(next);
    } else performance.mark("complete");
  };
  whenIdle(next);
}

start();

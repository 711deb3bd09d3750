// The tree of layers, with what one layer shows.

const GRAVITY = Object.keys(page.signs);
const graver = (one, other) => (GRAVITY.indexOf(one) <= GRAVITY.indexOf(other) ? one : other);

function branch(name) {
  return { name, layer: null, parts: new Map() };
}

// A layer and the parts inside of it stand side by side, under one name.
function treeOf(layers) {
  const root = branch("");
  for (const layer of layers) {
    const names = layer.name.split(".");
    let at = root;
    names.forEach((name, depth) => {
      const last = depth === names.length - 1;
      const key = last ? JSON.stringify([name, layer.call]) : JSON.stringify([name, 0]);
      if (!at.parts.has(key)) at.parts.set(key, branch(name));
      at = at.parts.get(key);
    });
    at.layer = layer;
  }
  return root;
}

// A branch with one part only is told in one row with it: transformer.h.0 rather than three rows.
function joined(part) {
  let at = part;
  while (!at.layer && at.parts.size === 1) {
    const [only] = at.parts.values();
    at = { ...only, name: `${at.name}.${only.name}` };
  }
  return at;
}

function layerRows(layers) {
  const rows = [];
  function walk(part, level, parent) {
    const at = joined(part);
    if (at.parts.size === 0) {
      rows.push({ data: { ...at.layer, label: at.name }, level, parent, group: false, text: textOf(at.layer) });
      return at.layer.verdict;
    }
    const row = { data: { label: at.name, name: parent ? `${parent.data.name}.${at.name}` : at.name, verdict: "healthy", layers: 0 }, level, parent, group: true, open: false };
    rows.push(row);
    const first = rows.length;
    row.data.verdict = [...at.parts.values()].map((each) => walk(each, level + 1, row)).reduce(graver);
    row.data.layers = rows.slice(first).filter((each) => !each.group).length;
    return row.data.verdict;
  }
  for (const part of treeOf(layers).parts.values()) walk(part, 0, null);
  openSome(rows);
  return rows;
}

// Level by level: all groups of a level as long as the tree stays short, those in trouble for longer.
function openSome(rows) {
  const groups = rows.filter((row) => row.group);
  const partsOf = new Map(groups.map((row) => [row, 0]));
  for (const row of rows) if (row.parent) partsOf.set(row.parent, partsOf.get(row.parent) + 1);
  let shown = rows.filter((row) => !row.parent).length;
  const open = (wanted, most) => {
    const more = wanted.reduce((sum, row) => sum + partsOf.get(row), 0);
    if (shown + more > most) return;
    shown += more;
    for (const row of wanted) row.open = true;
  };
  const deepest = groups.reduce((level, row) => Math.max(level, row.level), 0);
  for (let level = 0; level <= deepest; level += 1) {
    const here = groups.filter((row) => row.level === level && (!row.parent || row.parent.open));
    open(here.filter((row) => row.data.verdict === "healthy"), 60);
    for (const row of here) if (row.data.verdict !== "healthy") open([row], 150);
  }
}

const textOf = (layer) => [layer.name, layer.kind, layer.type, layer.verdict, layer.weight].join(" ").toLowerCase();

function layerColumns() {
  const leaf = (cell) => (data, row) => (row.group ? "" : cell(data));
  const before = page.two
    ? [{ label: "before", width: "minmax(6rem, 8rem)", wide: true, cell: leaf((data) => (data.before ? health(data.before.verdict) : "new")) }]
    : [];
  return [
    { label: "layer", name: true, width: "minmax(9rem, 1fr)", narrow: "minmax(6rem, 1fr)", cell: nameCell },
    { label: "health", width: "minmax(6.5rem, 8rem)", narrow: "3.1rem", cell: (data) => health(data.verdict) },
    ...before,
    { label: "class", width: "minmax(4.5rem, 8rem)", wide: true, cell: (data, row) => (row.group ? make("span", { class: "quiet" }, `${whole(data.layers)} layers`) : data.type) },
    { label: "E[h²]", title: "mean square of the outputs", number: true, width: "4.6rem", cell: leaf((data) => digits(field("forward", "second")(data))) },
    { label: "predicted", title: "what theory expects of E[h²]", number: true, wide: true, width: "4.8rem", cell: leaf((data) => digits(data.expected_forward)) },
    { label: "ratio", title: "measured ÷ predicted", number: true, width: "4rem", cell: leaf((data) => quotient(ratio(field("forward", "second")(data), data.expected_forward))) },
    { label: "E[g²]", title: "mean square of the gradients of the outputs", number: true, width: "4.6rem", cell: leaf((data) => digits(field("gradient", "second")(data))) },
    { label: "ratio", title: "measured ÷ predicted", number: true, wide: true, width: "4rem", cell: leaf((data) => quotient(ratio(field("gradient", "second")(data), data.expected_gradient))) },
    { label: "dead", title: "units of an activation that are zero on the whole batch", number: true, wide: true, width: "3.1rem", cell: leaf((data) => (isNumber(data.dead) ? percent(ratio(data.dead, data.units)) : "")) },
  ];
}

function nameCell(data, row) {
  const fragment = document.createDocumentFragment();
  fragment.append(make("span", { class: "twist", "aria-hidden": "true" }, row.group ? "▸" : ""), make("span", { class: "text", title: data.name || data.label }, data.label + (data.call > 1 ? ` (call ${data.call})` : "")));
  return fragment;
}

function momentPairs(moments, told, before) {
  const was = (value) => (isNumber(value) ? ` (before ${digits(value)})` : "");
  return [
    ["second moment", digits(moments.second) + was(field("second")(before || null))],
    ["predicted", isNumber(told) ? digits(told) : null],
    ["mean", digits(moments.mean)],
    ["std", digits(moments.std)],
    ["largest", digits(moments.max_abs)],
    ["zeros", isNumber(moments.zeros) ? percent(moments.zeros) : null],
    ["not finite", moments.non_finite ? whole(moments.non_finite) : null],
    ...quantilePairs(moments.quantiles || []),
  ];
}

// The outermost quantiles as one range, then the next pair inwards, last the median.
function quantilePairs(quantiles) {
  const pairs = [];
  for (let low = 0, high = quantiles.length - 1; low < high; low += 1, high -= 1) {
    const ends = [quantiles[low], quantiles[high]];
    pairs.push([ends.map(([part]) => digits(100 * part)).join("–") + " %", ends.map(([, value]) => digits(value)).join(" … ")]);
  }
  if (quantiles.length % 2) pairs.push(["median", digits(quantiles[(quantiles.length - 1) / 2][1])]);
  return pairs;
}

function jacobianWords(jacobian) {
  return jacobian ? `${digits(jacobian.smallest)} … ${digits(jacobian.largest)}` : null;
}

const told = (value) => (isNumber(value) ? digits(value) : null);

function layerBlocks(layer) {
  const general = [
    ["verdict", health(layer.verdict)],
    ["before", layer.before ? health(layer.before.verdict) : null],
    ["class", layer.type],
    ["output", sizes(layer.shape)],
    ["weight", layer.weight || null],
    ["dead units", isNumber(layer.dead) ? `${whole(layer.dead)} of ${whole(layer.units)}` : null],
    ["saturated units", isNumber(layer.saturated) ? `${whole(layer.saturated)} of ${whole(layer.units)}` : null],
    ["correlation of inputs", told(layer.correlation)],
    ["effective rank", told(layer.effective_rank)],
    ["singular values", jacobianWords(layer.jacobian)],
    ["attention entropy", isNumber(layer.entropy) ? `${digits(layer.entropy)} of 1 (uniform)` : null],
    ["error in bf16", told(layer.precision)],
    ["prediction", layer.expected_why || null],
  ];
  const blocks = [{ pairs: general }];
  for (const [side, heading, expected] of [["forward", "Outputs", layer.expected_forward], ["gradient", "Gradients", layer.expected_gradient]]) {
    const moments = layer[side];
    if (moments) blocks.push({ heading, histogram: moments.histogram, pairs: momentPairs(moments, expected, layer.before && layer.before[side]) });
    if (moments && layer.before && field(side, "histogram")(layer.before)) blocks.push({ heading: `${heading} before`, histogram: layer.before[side].histogram });
  }
  return blocks;
}

const DETAIL_HINT = "Point at a row, or walk with the arrow keys, to see its histograms.";

function groupBlocks(row) {
  const block = page.blocks.find((each) => each.name === row.data.name);
  return [{ pairs: [["verdict", health(row.data.verdict)], ["layers", whole(row.data.layers)], ["singular values", jacobianWords(block)]] }];
}

function buildLayers(section) {
  const side = make("aside", { class: "card detail", "aria-label": "The chosen layer" }, make("p", { class: "quiet" }, DETAIL_HINT));
  const rows = layerRows(page.layers);
  const onShow = (row) => showDetail(side, row.data.name, row.group ? groupBlocks(row) : layerBlocks(row.data));
  const table = gridTable({ label: "Layers", tree: true, columns: layerColumns(), rows, onShow });
  const controls = filters("Filter layers", table, [["verdict", "health", distinct(page.layers, "verdict")], ["kind", "kind", distinct(page.layers, "kind")]]);
  if (rows.some((row) => row.group)) controls.append(foldButton("Unfold all", table, false), foldButton("Fold all", table, true));
  section.append(controls, make("div", { class: "split" }, table.element, side));
  themed(() => table.element.selected && onShow(table.element.selected));
  return table;
}

function foldButton(text, table, fold) {
  const button = make("button", { type: "button", class: "tool" }, text);
  button.addEventListener("click", () => table.foldAll(fold));
  return button;
}

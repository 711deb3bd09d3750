// The parameters as measured, and the plan: one row for each tensor.

const STEP_WORDS = "size of Adam's first step relative to that of the weights";
const plainName = (data) => make("span", { class: "text", title: data.name }, data.name);

function parameterColumns() {
  const was = page.two ? [{ label: "std before", number: true, wide: true, width: "5rem", cell: (data) => (data.before ? digits(data.before.std) : "new"), order: (data) => field("before", "std")(data) }] : [];
  return [
    { label: "parameter", name: true, wraps: true, width: "minmax(11rem, 1fr)", narrow: "minmax(7rem, 1fr)", cell: plainName, order: (data) => data.name },
    { label: "shape", number: true, wide: true, width: "5.5rem", cell: (data) => sizes(data.shape), order: (data) => data.shape.reduce((size, each) => size * each, 1) },
    { label: "role", wide: true, wraps: true, width: "5.5rem", cell: (data) => data.role || "", order: (data) => data.role },
    { label: "std", number: true, width: "4.6rem", cell: (data) => digits(data.std), order: (data) => data.std },
    { label: "planned", title: "std that the plan draws with", number: true, width: "4.6rem", cell: (data) => digits(data.planned_std), order: (data) => data.planned_std },
    ...was,
    { label: "mean", number: true, wide: true, width: "4.8rem", cell: (data) => digits(data.mean), order: (data) => data.mean },
    { label: "largest", number: true, wide: true, width: "4.4rem", cell: (data) => digits(data.max_abs), order: (data) => data.max_abs },
    { label: "grad rms", title: "root mean square of the gradient", number: true, wide: true, width: "4.8rem", cell: (data) => digits(data.gradient_rms), order: (data) => data.gradient_rms },
    { label: "step ÷ w", title: STEP_WORDS, number: true, width: "4.6rem", cell: (data) => digits(field("update_ratio", "adam")(data)), order: field("update_ratio", "adam") },
  ];
}

function updatePairs(update) {
  if (!update) return [];
  const at = `at learning rate ${digits(update.lr)}`;
  return [["first step of Adam ÷ w", `${digits(update.adam)} ${at}`], ["first step of SGD ÷ w", `${digits(update.sgd)} ${at}`]];
}

function parameterBlocks(data) {
  const step = (page.plan || []).find((each) => each.name === data.name);
  return [
    { heading: data.histogram ? "Values" : "", histogram: data.histogram },
    {
      pairs: [
        ["shape", sizes(data.shape)],
        ["dtype", data.dtype || null],
        ["role", data.role || null],
        ["trainable", data.trainable === false ? "no" : null],
        ["std", digits(data.std)],
        ["planned", told(data.planned_std)],
        ["before", field("before", "std")(data) === null ? null : digits(data.before.std)],
        ["mean", digits(data.mean)],
        ["largest", digits(data.max_abs)],
        ["gradient rms", told(data.gradient_rms)],
        ...updatePairs(data.update_ratio),
        ["plan", step ? step.values : null],
        ["why", step ? step.why : null],
      ],
    },
    ...(field("before", "histogram")(data) ? [{ heading: "Values before", histogram: data.before.histogram }] : []),
  ];
}

function buildParameters(section) {
  const side = make("aside", { class: "card detail", "aria-label": "The chosen parameter" }, make("p", { class: "quiet" }, DETAIL_HINT));
  const rows = page.parameters.map((data) => ({ data, level: 0, parent: null, group: false, text: [data.name, data.role, data.dtype, sizes(data.shape)].join(" ").toLowerCase() }));
  const onShow = (row) => showDetail(side, row.data.name, parameterBlocks(row.data));
  const table = gridTable({ label: "Parameters", tree: false, columns: parameterColumns(), rows, onShow });
  section.append(filters("Filter parameters", table, [["role", "role", distinct(page.parameters, "role")]]), make("div", { class: "split" }, table.element, side));
  themed(() => table.element.selected && onShow(table.element.selected));
  return table;
}

function planColumns() {
  const change = page.plan.some((row) => row.change) ? [{ label: "change", wraps: true, width: "minmax(5rem, 9rem)", cell: (data) => make("span", { class: "changed" }, data.change), order: (data) => data.change }] : [];
  return [
    { label: "tensor", name: true, wraps: true, width: "minmax(10rem, 1.1fr)", narrow: "minmax(6rem, 1fr)", cell: plainName, order: (data) => data.name },
    { label: "shape", number: true, wide: true, width: "5.5rem", cell: (data) => sizes(data.shape), order: (data) => data.shape.reduce((size, each) => size * each, 1) },
    { label: "role", wide: true, wraps: true, width: "minmax(4rem, 7rem)", cell: (data) => data.role, order: (data) => data.role },
    { label: "fan in → out", number: true, wide: true, width: "6.5rem", cell: (data) => data.fans },
    { label: "values", wraps: true, width: "minmax(6rem, 11rem)", cell: (data) => data.values, order: (data) => data.values },
    { label: "std", number: true, width: "4.6rem", cell: (data) => digits(data.std, 4), order: (data) => data.std },
    ...change,
    { label: "why", wraps: true, width: "minmax(10rem, 1.5fr)", narrow: "minmax(6rem, 1fr)", cell: whyCell, order: (data) => data.why },
  ];
}

function whyCell(data) {
  const tied = data.aliases.length ? make("span", { class: "quiet" }, ` Tied: ${data.aliases.join(", ")}.`) : "";
  return make("span", { title: data.source }, data.why, tied);
}

function buildPlan(section) {
  const rows = page.plan.map((data) => ({
    data, level: 0, parent: null, group: false,
    text: [data.name, data.role, data.values, data.why, data.source, data.action, data.kind, data.change, ...data.aliases].join(" ").toLowerCase(),
  }));
  const table = gridTable({ label: "Plan", tree: false, columns: planColumns(), rows, onShow: () => {} });
  const facets = [["role", "role", distinct(page.plan, "role")], ["action", "action", distinct(page.plan, "action")]];
  if (page.plan.some((row) => row.change)) facets.push(["changed", "changed", ["yes"]]);
  section.append(filters("Filter the plan", table, facets), table.element);
  return table;
}

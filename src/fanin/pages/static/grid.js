// Tables of rows that are filtered, sorted, folded and walked through with the arrow keys.

// column: { label, cell(data) -> node or text, number, wide, wraps, order(data), width, narrow }
// row: { data, group, level, parent, open, text }
function gridTable({ label, tree, columns, rows, onShow }) {
  const shownText = make("span", { class: "shown", role: "status" });
  const body = make("div", { role: "rowgroup", class: "body" });
  const lines = make("div", { role: tree ? "treegrid" : "grid", "aria-label": label, "aria-rowcount": rows.length + 1, "aria-colcount": columns.length });
  const element = make("div", { class: rows.length > 300 ? "grid card long" : "grid card" });
  element.style.setProperty("--columns", columns.map((column) => column.width).join(" "));
  element.style.setProperty("--narrow", columns.filter((column) => !column.wide).map((column) => column.narrow || column.width).join(" "));
  const nothing = make("p", { class: "nothing", hidden: true }, "Nothing matches.");
  const leaves = rows.filter((row) => !row.group).length;
  let matches = null;
  let current = null;
  let sorting = { column: null, down: false };

  function classOf(column) {
    return `cell${column.number ? " number" : ""}${column.wide ? " wide" : ""}${column.wraps ? " wraps" : ""}${column.name ? " name" : ""}`;
  }

  function headOf(column) {
    const cell = make("div", { role: "columnheader", class: classOf({ ...column, name: false }), title: column.title });
    if (!column.order || tree) {
      cell.append(column.label);
      return cell;
    }
    const button = make("button", { type: "button" }, column.label);
    button.addEventListener("click", () => sortBy(column, cell));
    cell.append(button);
    return cell;
  }

  function nodeOf(row, place) {
    const node = make("div", {
      role: "row", class: row.group ? "row group" : "row", tabindex: "-1", "aria-rowindex": place + 2,
      "aria-level": tree ? row.level + 1 : null, "aria-expanded": row.group ? String(row.open) : null,
    });
    for (const column of columns) {
      const cell = make("div", { role: "gridcell", class: classOf(column) }, column.cell(row.data, row));
      if (column.name && row.level) cell.style.setProperty("--level", row.level);
      node.append(cell);
    }
    node.row = row;
    row.node = node;
    row.visible = true;
    return node;
  }

  function decide() {
    for (const row of rows) row.hit = row.group ? false : !matches || matches(row);
    for (let place = rows.length - 1; place >= 0; place -= 1) {
      if (rows[place].hit && rows[place].parent) rows[place].parent.hit = true;
    }
    for (const row of rows) {
      const parent = row.parent;
      row.visible = row.hit && (!parent || (parent.visible && (parent.open || Boolean(matches))));
    }
  }

  function apply() {
    decide();
    for (const row of rows) {
      if (row.node.hidden === row.visible) row.node.hidden = !row.visible;
      if (row.group) {
        const expanded = String(row.open || Boolean(matches));
        if (row.node.getAttribute("aria-expanded") !== expanded) row.node.setAttribute("aria-expanded", expanded);
      }
    }
    const hits = rows.reduce((count, row) => count + (row.hit && !row.group), 0);
    shownText.textContent = hits === leaves ? whole(leaves) : `${whole(hits)} of ${whole(leaves)}`;
    nothing.hidden = hits > 0;
    if (!current || !current.visible) makeCurrent(rows.find((row) => row.visible) || null);
  }

  function makeCurrent(row) {
    if (current) current.node.tabIndex = -1;
    current = row;
    if (current) current.node.tabIndex = 0;
  }

  function select(row) {
    for (const old of body.querySelectorAll("[aria-selected]")) old.removeAttribute("aria-selected");
    row.node.setAttribute("aria-selected", "true");
    element.selected = row;
    makeCurrent(row);
    onShow(row);
  }

  function toggle(row, open = !row.open) {
    if (!row.group || matches) return;
    row.open = open;
    apply();
  }

  // Opens what hides the row, selects it and gives it the focus.
  function open(row) {
    for (let parent = row.parent; parent; parent = parent.parent) parent.open = true;
    apply();
    if (!row.visible) return false;
    row.node.scrollIntoView({ block: "center" });
    row.node.focus({ preventScroll: true });
    return true;
  }

  function neighbour(node, forwards) {
    let next = node;
    do next = forwards ? next.nextElementSibling : next.previousElementSibling;
    while (next && next.hidden);
    return next;
  }

  function walked(node, key) {
    if (key === "Home" || key === "End") return [...body.children].filter((each) => !each.hidden).at(key === "Home" ? 0 : -1);
    let goal = node;
    for (let step = key.startsWith("Page") ? 12 : 1; step > 0; step -= 1) goal = neighbour(goal, key.endsWith("Down")) || goal;
    return goal;
  }

  function onKey(event) {
    const node = event.target.closest("[role=row]");
    if (!node || !node.row) return;
    const row = node.row;
    if (["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End"].includes(event.key)) walked(node, event.key).focus();
    else if (tree && event.key === "ArrowRight" && row.group && !row.open) toggle(row, true);
    else if (tree && event.key === "ArrowRight" && row.group) walked(node, "ArrowDown").focus();
    else if (tree && event.key === "ArrowLeft" && row.group && row.open && !matches) toggle(row, false);
    else if (tree && event.key === "ArrowLeft" && row.parent) row.parent.node.focus();
    else if ((event.key === "Enter" || event.key === " ") && row.group) toggle(row);
    else return;
    event.preventDefault();
  }

  function sortBy(column, head) {
    const again = sorting.column === column;
    sorting = again && sorting.down ? { column: null, down: false } : { column, down: again };
    for (const each of element.querySelectorAll("[aria-sort]")) each.removeAttribute("aria-sort");
    if (sorting.column) head.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
    const ordered = sorting.column ? [...rows].sort((one, other) => compared(column.order(one.data), column.order(other.data), sorting.down)) : rows;
    body.append(...ordered.map((row) => row.node));
  }

  lines.append(make("div", { role: "rowgroup", class: "heads-group" }, make("div", { role: "row", class: "row heads" }, ...columns.map(headOf))), body);
  element.append(lines, nothing);
  body.append(...rows.map(nodeOf));
  apply();
  body.addEventListener("keydown", onKey);
  body.addEventListener("focusin", (event) => event.target.row && select(event.target.row));
  body.addEventListener("click", (event) => {
    const node = event.target.closest("[role=row]");
    if (node && node.row.group) toggle(node.row);
  });
  body.addEventListener("pointerover", (event) => {
    const node = event.target.closest("[role=row]");
    if (node && !node.row.group) requestAnimationFrame(() => onShow(node.row));
  });
  element.addEventListener("pointerleave", () => element.selected && onShow(element.selected));

  return {
    element, shownText, open,
    filter(predicate) {
      matches = predicate;
      apply();
    },
    foldAll(fold) {
      for (const row of rows) if (row.group) row.open = !fold;
      apply();
    },
    findGroup: (predicate) => rows.find((row) => row.group && predicate(row.data)),
    find: (predicate) => rows.find((row) => !row.group && predicate(row.data)),
  };
}

// Missing values stand last in either direction.
function compared(one, other, down) {
  const missing = (value) => value === null || value === undefined || value === "";
  if (missing(one) || missing(other)) return missing(one) - missing(other);
  const order = typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other;
  return down ? -order : order;
}

// A search field and the choices beside it; a row shows when all words of the search and all choices fit.
function filters(label, table, facets) {
  const search = make("input", { type: "search", placeholder: "Filter by words …", "aria-label": label, spellcheck: "false", autocomplete: "off" });
  const chosen = {};
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = Object.entries(chosen).filter(([, value]) => value);
    const idle = !words.length && !wanted.length;
    table.filter(idle ? null : (row) => words.every((word) => row.text.includes(word)) && wanted.every(([key, value]) => String(row.data[key]) === value));
  };
  search.addEventListener("input", update);
  const selects = facets.map(([key, title, values]) =>
    choice(title, [["", "all"], ...values.map((value) => [value, value])], "", (value) => {
      chosen[key] = value;
      update();
    }),
  );
  return make("div", { class: "controls", role: "search", "aria-label": label }, make("span", { class: "search" }, search), ...selects, table.shownText);
}

const distinct = (rows, key) => [...new Set(rows.map((row) => String(row[key] ?? "")).filter(Boolean))].sort();

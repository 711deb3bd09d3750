// Elements and the data of the page.

const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId("data").textContent);

// Text only ever enters as text nodes: names of tensors are hostile until proven otherwise.
function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function whenIdle(work) {
  const later = window.requestIdleCallback || ((call) => setTimeout(call, 30));
  later(work);
}

function listOf(pairs) {
  const list = make("dl");
  for (const [term, text] of pairs) if (text !== null) list.append(make("dt", null, term), make("dd", null, text));
  return list;
}

function choice(label, options, chosen, onChange) {
  const select = make("select", null, ...options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
  select.addEventListener("change", () => onChange(select.value));
  return make("label", { class: "choice" }, label, select);
}

// The text of an element to the clipboard, or selected where that is refused.
async function copyOf(pre, button) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(pre);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

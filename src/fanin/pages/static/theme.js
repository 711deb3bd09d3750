// Light and dark: the system's choice until the reader chooses, always light on paper.

const onPaper = window.matchMedia("print");
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
const repaints = [];

const isDark = () => (document.documentElement.dataset.theme || (systemDark.matches ? "dark" : "light")) === "dark";

// A canvas cannot read light-dark(): the browser resolves it on an element, which costs a pass over the styles.
const palette = new Map();

function colour(name) {
  if (!palette.has(name)) {
    const probe = byId("probe");
    probe.style.setProperty("color", `var(--${name})`);
    palette.set(name, getComputedStyle(probe).color);
  }
  return palette.get(name);
}

function themed(paint) {
  repaints.push(paint);
  paint();
}

function repaint() {
  palette.clear();
  const button = byId("theme");
  button.setAttribute("aria-pressed", String(isDark()));
  for (const paint of repaints) paint();
}

function startTheme() {
  const button = byId("theme");
  button.hidden = false;
  button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    repaint();
  });
  systemDark.addEventListener("change", repaint);
  onPaper.addEventListener("change", repaint);
  const print = byId("print");
  print.hidden = false;
  print.addEventListener("click", () => window.print());
}

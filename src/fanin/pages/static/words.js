// Numbers and health as a person reads them.

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function digits(value, places = 3) {
  if (!isNumber(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(places - 1) : value.toPrecision(places);
  const plain = text.includes("e") ? text.replace(/\.?0+e/, "e").replace("e+", "e") : text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return plain.replace("-", "−").replace("e-", "e−");
}

const whole = (value) => (isNumber(value) ? value.toLocaleString("en") : "–");
const percent = (value) => (isNumber(value) ? (value > 0 && value < 0.005 ? "<1 %" : `${Math.round(100 * value)} %`) : "–");
const sizes = (shape) => (shape ? shape.join("×") || "()" : "–");
const ratio = (seen, told) => (isNumber(seen) && isNumber(told) && told !== 0 ? seen / told : null);

const signOf = (verdict) => page.signs[verdict] || "•";

// The word stays readable for screen readers where a narrow page shows the sign alone.
function health(verdict) {
  const sign = make("span", { class: "sign", "aria-hidden": "true" }, signOf(verdict));
  return make("span", { class: `health ${verdict}`, title: verdict }, sign, make("span", { class: "word" }, verdict));
}

// A quotient is told apart by weight, not by colour alone, once it is off by half.
function quotient(value) {
  if (value === null) return "–";
  const text = `×${digits(value, 2 + (value >= 1 && value < 10))}`;
  return value > 1.5 || value < 1 / 1.5 ? make("span", { class: "off", title: "off by more than half" }, text) : text;
}

// From numbers to rows. Whatever comes from elsewhere becomes text, and never markup.

/** An element with attributes and children; a child that is no element is text. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** A cell: of numbers on the right, of a row's name a heading. */
export const cell = (text, kind) => make("td", { class: kind }, text ?? "–");
export const number = (text) => cell(text, "number");
export const heading = (text) => make("th", { scope: "row" }, text);

/**
 * Puts rows into a table's body, cell by cell: what says the same as before is left alone, so that
 * what is selected or has the focus stays.
 */
export function fill(body, rows, nothing) {
  if (rows.length === 0) {
    const columns = body.parentElement.tHead.rows[0].cells.length;
    rows = [make("tr", {}, make("td", { colspan: columns, class: "empty" }, nothing))];
  }
  const old = [...body.rows];
  rows.forEach((row, n) => {
    const at = old[n];
    if (!at) body.append(row);
    else if (at.cells.length !== row.cells.length) at.replaceWith(row);
    else renew(at, row);
  });
  for (const gone of old.slice(rows.length)) gone.remove();
}

function renew(at, row) {
  at.className = row.className;
  [...row.cells].forEach((cell, n) => {
    if (at.cells[n].outerHTML !== cell.outerHTML) at.cells[n].replaceWith(cell);
  });
}

const whole = new Intl.NumberFormat("en");

export function count(n) {
  if (n == null) return null;
  return n > 0 && n < 10 ? n.toFixed(1) : whole.format(Math.round(n));
}

/** Counts things rather than rates. */
export const exact = (n) => (n == null ? null : whole.format(n));

/** 99.97 % is not 100 %. */
export function percent(share) {
  if (share == null) return null;
  if (share === 1 || share === 0) return `${100 * share} %`;
  return `${Math.min(Math.max(100 * share, 0.1), 99.9).toFixed(1)} %`;
}

/** A time in the unit in which it is short. */
export function time(seconds) {
  if (seconds == null) return null;
  if (seconds === Infinity) return "more";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(3))} ms`;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  return `${whole.format(Math.round(seconds))} s`;
}

export const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1);

/** Bars have sizes from the script, as the page's policy has no inline styles. */
function sized(element, share) {
  element.style.setProperty("inline-size", `${(100 * share).toFixed(1)}%`);
  return element;
}

/** One bar of the parts of a whole, with the same in words. */
export function stack({ total, parts, ratio }) {
  if (total === 0) return make("span", { class: "hint" }, "no reads");
  const words = { l1: "L1", l2: "L2", joined: "shared", load: "database", other: "other" };
  const shown = Object.keys(parts).filter((part) => parts[part] > 0);
  const told = shown.map((part) => `${words[part]} ${percent(ratio(part))}`).join(", ");
  const bar = make("div", { class: "stack", role: "img", "aria-label": told, title: told });
  bar.append(...shown.map((part) => sized(make("span", { class: part }), ratio(part))));
  return bar;
}

/** One bar; `state` colours it, and stands in words beside it. */
export function bar(share, state = "") {
  const inner = sized(make("span", { class: state }), Math.min(Math.max(share, 0), 1));
  return make("div", { class: "bar", "aria-hidden": "true" }, inner);
}

/** A word with a sign, so that colour is not all that tells it. */
export function badge(state, word) {
  const sign = { good: "✓", warn: "!", bad: "✕" }[state] ?? "·";
  return make("span", { class: `badge ${state}` }, make("span", { "aria-hidden": "true" }, sign), ` ${word}`);
}

/** A number with its name. */
export function tile(name, value, note, state) {
  const more = note ? [make("dd", { class: "hint" }, note)] : [];
  return make("div", { class: state }, make("dt", {}, name), make("dd", {}, value ?? "–"), ...more);
}

/** Puts options into a choice, and keeps what is chosen. */
export function choices(select, values, first = []) {
  const wanted = [...first.map(([value]) => value), ...values];
  if ([...select.options].map((option) => option.value).join("\n") === wanted.join("\n")) return;
  const chosen = select.value;
  const options = values.map((value) => make("option", { value }, value));
  select.replaceChildren(...first.map(([value, text]) => make("option", { value }, text)), ...options);
  if (wanted.includes(chosen)) select.value = chosen;
}

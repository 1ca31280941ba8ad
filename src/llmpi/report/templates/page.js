"use strict";
// The whole page: its languages, its charts (by Vega), its table and the details of a cell.
const page = JSON.parse(document.getElementById("data").textContent);
const cells = page.cells.rows.map((values) =>
  Object.fromEntries(page.cells.columns.map((column, i) => [column, values[i]])));
const byId = new Map(cells.map((cell) => [cell.id, cell]));
const main = document.getElementById("main");
const details = document.getElementById("details");
const state = { language: document.documentElement.lang, place: 0, sort: null, down: false, all: false };
const texts = () => page.languages[state.language].texts;
const said = (text) => texts().said[text] ?? text;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// --- charts ---

// The page's own CSS variables: dark, light and print need no drawing anew.
const CONFIG = {
  background: null,
  font: "system-ui, sans-serif",
  view: { stroke: null },
  range: {
    category: [1, 2, 3, 4, 5, 6, 7, 8].map((i) => `var(--c${i})`),
    symbol: ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"],
  },
  mark: { color: "var(--c1)" },
  rule: { color: "var(--c1)" },
  text: { color: "var(--ink)" },
  axis: { labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: "var(--line)", domainColor: "var(--line)",
          tickColor: "var(--line)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", gridOpacity: 0.7,
          labelLimit: 220 },
  axisY: { domain: false, ticks: false, labelPadding: 6 },
  legend: { orient: "bottom", labelColor: "var(--ink)", titleColor: "var(--soft)", titleFontWeight: "normal",
            labelFontSize: 12, titleFontSize: 12, symbolSize: 90, labelLimit: 240, titleOrient: "left",
            symbolBaseFillColor: "var(--ink)", symbolBaseStrokeColor: "var(--ink)" },
  style: { soft: { color: "var(--soft)" }, note: { color: "var(--soft)", fontSize: 11 },
           label: { color: "var(--ink)", fontSize: 11 } },
  locale: { number: { decimal: ".", thousands: ",", grouping: [3], currency: ["", ""] } },
};
const configFor = (width) => ({ ...CONFIG, legend: { ...CONFIG.legend, columns: Math.max(1, Math.floor(width / 150)) } });
const views = new Map();

const NARROW = 640;
const MOST_NAMED = 8;

// On a narrow screen panels side by side become panels one above the other, and names that would
// hide one another are left out.
function fitted(spec, width, points) {
  if (spec.layer && width < NARROW && points > MOST_NAMED) {
    return { ...spec, layer: spec.layer.filter((layer) => layer.mark?.style !== "label") };
  }
  if (!spec.hconcat) return spec;
  const { hconcat: panels, ...rest } = spec;
  const narrow = width < NARROW;
  const names = Math.min(210, 7 * Math.max(...page.choice.map((row) => row.name.length))) + 14;
  const each = narrow ? width - names - 20 : (width - names) / panels.length - 26;
  const shown = panels.map((panel, i) => ({ ...panel, width: Math.max(60, each), ...(narrow || !i ? {} : bare(panel)) }));
  return { ...rest, [narrow ? "vconcat" : "hconcat"]: shown };
}

// The names stand at the first panel only.
function bare(panel) {
  const layer = panel.layer.map((one) => one.encoding?.y
    ? { ...one, encoding: { ...one.encoding, y: { ...one.encoding.y, axis: { labels: false, domain: false, ticks: false } } } }
    : one);
  return { layer };
}

function dataOf(names) {
  const place = page.places[state.place];
  const here = (row) => row.device === place.device && row.workload === place.workload;
  const sets = { cells: () => cells.filter(here) };
  for (const name of OF_A_PLACE.slice(1)) sets[name] = () => page[name].filter(here);
  return Object.fromEntries(names.map((name) => [name, (sets[name] ?? (() => page[name]))()]));
}

async function draw(box) {
  if (box.dataset.drawn === state.language) return;
  box.dataset.drawn = state.language;
  const spec = page.languages[state.language].figures[box.dataset.figure];
  const { usermeta, ...chart } = spec;
  views.get(box)?.finalize();
  const datasets = dataOf(usermeta.data);
  const empty = usermeta.data.every((name) => !datasets[name].length);
  box.closest("figure").hidden = empty;
  if (empty) return;
  const made = await vegaEmbed(box, { ...fitted(chart, box.clientWidth, datasets.cells?.length ?? 0), datasets: { ...chart.datasets, ...datasets } }, {
    mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, ast: true, config: configFor(box.clientWidth),
    tooltip: { disableDefaultStyle: true }, logLevel: 1, // vega.Error
  });
  views.set(box, made);
  made.view.addEventListener("click", (_, item) => {
    if (item?.datum?.id) location.hash = `cell-${item.datum.id}`;
  });
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "600px" });

const boxes = () => [...main.querySelectorAll(".chart")];

// What nobody has scrolled to is drawn one by one behind it, so that the page prints whole.
function drawRest() {
  const next = boxes().find((box) => box.dataset.drawn !== state.language);
  if (next) draw(next).finally(() => setTimeout(drawRest));
  else document.documentElement.dataset.drawn = state.language;
}

function redraw(wanted = () => true) {
  for (const box of boxes().filter(wanted)) {
    delete box.dataset.drawn;
    seen.unobserve(box);
    seen.observe(box); // which tells at once whether it is in sight
  }
  delete document.documentElement.dataset.drawn;
  setTimeout(drawRest);
}

const OF_A_PLACE = ["cells", "sustained_speed", "sustained_heat"];

function isOfAPlace(box) {
  const { usermeta } = page.languages[state.language].figures[box.dataset.figure];
  return usermeta.data.some((name) => OF_A_PLACE.includes(name));
}

// --- the table ---

const FIRST = 50;
const PRINTED = 300;

function shown(value, column) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value !== "number") return String(value);
  const scaled = value * (column.scale ?? 1);
  const digits = column.digits ?? 0;
  return scaled.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function kept() {
  const search = main.querySelector("[data-search]").value.trim().toLowerCase().split(/\s+/);
  const wanted = [...main.querySelectorAll("[data-filter]")].filter((select) => select.value);
  const found = cells.filter((cell) =>
    wanted.every((select) => String(cell[select.dataset.filter]) === select.value) &&
    search.every((word) => `${cell.cell} ${cell.status} ${cell.marks ?? ""} ${cell.reason ?? ""}`.toLowerCase().includes(word)));
  if (state.sort) {
    const key = (cell) => cell[state.sort];
    const blank = (value) => value === null || value === "";
    const sign = state.down ? -1 : 1;
    found.sort((a, b) => blank(key(a)) - blank(key(b)) ||
      sign * (typeof key(a) === "number" ? key(a) - key(b) : String(key(a)).localeCompare(String(key(b)))));
  }
  return found;
}

function tableRow(cell, columns) {
  const row = element("tr", { class: page.picks.includes(cell.id) ? "pick" : null });
  columns.forEach((column, i) => {
    const box = element("td", { class: column.kind === "text" ? "name" : null });
    const text = shown(said(cell[column.key]), column);
    if (i === 0) box.append(element("a", { href: `#cell-${cell.id}` }, text));
    else box.append(text);
    if (column.low && cell[column.low] !== null && cell[column.low] !== undefined) {
      box.append(element("br"), element("small", {}, `${shown(cell[column.low], column)}–${shown(cell[column.high], column)}`));
    }
    if (column.note && cell[column.note]) box.append(element("br"), element("small", { class: "bad" }, said(cell[column.note])));
    row.append(box);
  });
  return row;
}

function fillTable() {
  const { columns } = page.languages[state.language];
  const rows = kept();
  const head = element("tr");
  for (const column of columns) {
    const direction = state.sort === column.key ? (state.down ? "descending" : "ascending") : "none";
    const button = element("button", { type: "button", "data-sort": column.key }, column.title);
    head.append(element("th", { scope: "col", "aria-sort": direction, class: column.kind === "text" ? "name" : null }, button));
  }
  const body = element("tbody");
  body.append(...rows.slice(0, state.all ? undefined : FIRST).map((cell) => tableRow(cell, columns)));
  main.querySelector("[data-table]").replaceChildren(element("thead", {}, head), body);
  main.querySelector("[data-count]").value = texts().count.replace("{shown}", rows.length.toLocaleString("en-US")).replace("{all}", cells.length.toLocaleString("en-US"));
  main.querySelector("[data-more]").hidden = state.all || rows.length <= FIRST;
}

function showAll() {
  state.all = true;
  fillTable();
}

function startTable() {
  for (const select of main.querySelectorAll("[data-filter]")) {
    const values = new Set(cells.map((cell) => cell[select.dataset.filter]));
    if (select.options.length === 1) select.append(...[...values].map((value) => element("option", { value }, said(value))));
    select.closest("label").hidden = values.size < 2;
  }
  fillTable();
}

function saveCsv() {
  const field = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [page.csv, ...kept().map((cell) => page.csv.map((key) => cell[key]))];
  const text = lines.map((values) => values.map(field).join(",") + "\r\n").join("");
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: url, download: `${page.study}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// --- the details of a cell ---

function showDetails() {
  const asked = decodeURIComponent(location.hash).replace(/^#cell-/, "");
  const cell = location.hash.startsWith("#cell-") ? byId.get(asked) : null;
  if (!cell) return details.open && details.close();
  document.getElementById("details-title").textContent = cell.cell;
  document.getElementById("details-close").textContent = texts().close;
  const list = element("dl");
  for (const key of page.csv) {
    if (cell[key] === null || cell[key] === "") continue;
    const value = typeof cell[key] === "number" ? Number(cell[key].toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 9 }) : cell[key];
    list.append(element("dt", {}, key), element("dd", {}, value));
  }
  const why = (page.languages[state.language].why[cell.id] ?? []).map((text) => element("li", {}, text));
  const body = document.getElementById("details-body");
  body.replaceChildren(...(why.length ? [element("p", { class: "bad" }, texts().ruledOut), element("ul", {}, ...why)] : []), list);
  if (!details.open) details.showModal();
  document.getElementById("details-title").focus();
}

details.addEventListener("close", () => {
  if (location.hash.startsWith("#cell-")) history.replaceState(null, "", location.pathname + location.search);
});

// --- languages ---

function speak(language) {
  if (language === state.language) return;
  const body = (name) => document.querySelector(`template[data-body="${name}"]`);
  const next = body(language);
  const old = element("template", { "data-body": state.language });
  old.content.append(...main.childNodes);
  main.append(next.content);
  next.replaceWith(old);
  state.language = document.documentElement.lang = language;
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", button.dataset.language === language);
  }
  start();
}

function choosePlace(index) {
  state.place = Number(index);
  for (const text of main.querySelectorAll("[data-of-place]")) text.hidden = Number(text.dataset.ofPlace) !== state.place;
  redraw(isOfAPlace);
}

function start() {
  const select = main.querySelector("[data-place]");
  if (select) select.value = state.place;
  for (const text of main.querySelectorAll("[data-of-place]")) text.hidden = Number(text.dataset.ofPlace) !== state.place;
  startTable();
  redraw();
  showDetails();
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.dataset.language) speak(button.dataset.language);
  else if (button?.dataset.sort) {
    const key = button.dataset.sort;
    Object.assign(state, { sort: key, down: state.sort === key ? !state.down : false });
    fillTable();
    main.querySelector(`[data-sort="${CSS.escape(key)}"]`).focus();
  } else if (button?.hasAttribute("data-csv")) saveCsv();
  else if (button?.hasAttribute("data-more")) showAll();
});
document.addEventListener("input", ({ target }) => {
  if (target.matches("[data-search], [data-filter]")) fillTable();
  else if (target.matches("[data-place]")) choosePlace(target.value);
});
document.addEventListener("submit", (event) => { if (event.target.matches(".filters")) event.preventDefault(); });
window.addEventListener("hashchange", showDetails);
window.addEventListener("beforeprint", () => {
  for (const folded of main.querySelectorAll("details:not([open], [data-long])")) {
    folded.open = true;
    folded.dataset.folded = "";
  }
  if (cells.length <= PRINTED && !state.all) showAll();
  boxes().forEach(draw);
});
window.addEventListener("afterprint", () => {
  for (const opened of main.querySelectorAll("[data-folded]")) {
    opened.open = false;
    delete opened.dataset.folded;
  }
});
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth !== width) { width = window.innerWidth; redraw(); }
});
start();

// The details of a cell, the languages, and what happens when.

let detailed = ""; // The address of the cell that the dialog tells of.

function inWords(value, { unit, scale }) {
  if (typeof value !== "number") return said(value) ?? "";
  const number = Number((value * scale).toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 9 });
  return unit ? `${number} ${unit}` : number;
}

// A date is not torn at its hyphens, nor a unit at its slash.
const unbroken = (text) => String(text).split(/( )/).map((word) => word === " " ? word : element("span", { class: "unbroken" }, word));

// The conditions before and after, and every repetition, as tables; of a group, board by board.
function measuredTables(at) {
  const told = page.languages[state.language].measured;
  const boards = page.measured.cells[at];
  const head = (...titles) => element("thead", {}, element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, ...unbroken(title)))));
  const line = (name, values, field) => element("tr", {}, element("th", { scope: "row" }, name), ...values.map((value) => element("td", {}, ...unbroken(inWords(value, field ?? {})))));
  return boards.flatMap(([board, before, after, ...repetitions]) => {
    const words = (value) => typeof value === "string" ? value.split("; ").map((one) => told.throttled[one] ?? one).join("; ") : value;
    const moments = [before, after].map((place) => (page.measured.moments[place] ?? []).map(words));
    const felt = told.conditions.map((field, i) => [field, moments.map((moment) => moment[i] ?? null)]).filter(([, values]) => values.some((value) => value !== null));
    const fields = told.repetitions.map((field, i) => [field, repetitions[i]]).filter(([, values]) => values.some((value) => value !== null));
    const conditions = element("table", {}, head("", told.before, told.after),
      element("tbody", {}, ...felt.map(([field, values]) => line(field.name, values, field))));
    const each = element("table", {}, head(told.repetition, ...fields.map(([field]) => field.unit ? `${field.name}, ${field.unit}` : field.name)),
      element("tbody", {}, ...repetitions[0].map((_, i) => line(i + 1, fields.map(([field, values]) => inWords(values[i], { ...field, unit: "" }))))));
    const title = boards.length > 1 ? told.board.replace("{board}", board) : told.title;
    const tables = felt.length ? [conditions, each] : [each];
    return [element("h3", {}, title), ...tables.map((table) => element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": title }, table))];
  });
}

function showDetails() {
  const asked = location.hash.match(/^#cell-(.+)/)?.[1];
  const cell = asked && byId.get(asked);
  if (!cell) return details.open && details.close();
  document.getElementById("details-title").textContent = cell.cell;
  document.getElementById("details-close").textContent = texts().close;
  const groups = page.languages[state.language].fields.map(({ title, fields }) => {
    const told = fields.filter(({ key }) => cell[key] !== null && cell[key] !== "" && cell[key] !== undefined);
    if (!told.length) return [];
    const list = element("dl");
    for (const field of told) list.append(element("dt", { title: field.key }, field.name), element("dd", {}, inWords(cell[field.key], field)));
    return [element("h3", {}, title), list];
  });
  const why = (page.languages[state.language].why[cell.id] ?? []).map((text) => element("li", {}, text));
  const body = document.getElementById("details-body");
  body.replaceChildren(...(why.length ? [element("p", { class: "bad" }, texts().ruledOut), element("ul", {}, ...why)] : []),
    ...groups.slice(0, 2).flat(), ...measuredTables(cells.indexOf(cell)), ...groups.slice(2).flat());
  detailed = location.hash;
  if (!details.open) details.showModal();
  document.getElementById("details-title").focus();
}

details.addEventListener("close", () => {
  // This comes a little later: by then another cell may have been asked for, or be shown already.
  if (!details.open && location.hash === detailed) tellAddress();
});

// The page's address says its language, so that who gets it reads the same.
function tellAddress() {
  const rest = state.language === ownLanguage ? "" : `#lang=${state.language}`;
  history.replaceState(null, "", location.pathname + location.search + rest);
}

// What the address says, else the browser.
function wantedLanguage() {
  const said = location.hash.match(/^#lang=([\w-]+)$/)?.[1];
  return [said, ...navigator.languages].map((name) => name?.split("-")[0]).find((name) => name in page.languages) ?? state.language;
}

function speak(language) {
  if (language === state.language) return;
  const body = (name) => document.querySelector(`template[data-body="${name}"]`);
  const next = body(language);
  // A chart that is not on the page would still follow the window's width, and its own is 0.
  for (const drawn of views.values()) drawn.view.finalize();
  views.clear();
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

function tellPlace() {
  for (const text of main.querySelectorAll("[data-of-place]")) text.hidden = Number(text.dataset.ofPlace) !== state.place;
}

function choosePlace(index) {
  state.place = Number(index);
  tellPlace();
  redraw(isOfAPlace);
}

function start() {
  const select = main.querySelector("[data-place]");
  if (select) select.value = state.place;
  tellPlace();
  startTable();
  redraw();
  showDetails();
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.dataset.language) {
    speak(button.dataset.language);
    if (!details.open) tellAddress();
  }
  else if (button?.dataset.sort) {
    const key = button.dataset.sort;
    Object.assign(state, { sort: key, down: state.sort === key ? !state.down : false });
    fillTable();
    main.querySelector(`[data-sort="${CSS.escape(key)}"]`).focus();
  } else if (button?.hasAttribute("data-csv")) saveCsv();
  else if (button?.hasAttribute("data-columns")) {
    state.wide = !state.wide;
    button.setAttribute("aria-pressed", state.wide);
    fillTable();
  } else if (button?.hasAttribute("data-svg")) saveSvg(button.closest("figure"));
  else if (button?.hasAttribute("data-more")) showMore();
});
document.addEventListener("input", ({ target }) => {
  if (target.matches("[data-search], [data-filter]")) fillTable();
  else if (target.matches("[data-place]")) choosePlace(target.value);
});
document.addEventListener("submit", (event) => { if (event.target.matches(".filters")) event.preventDefault(); });
window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#lang=")) speak(wantedLanguage());
  showDetails();
});
window.addEventListener("beforeprint", () => {
  for (const folded of main.querySelectorAll("details:not([open], [data-long])")) {
    folded.open = true;
    folded.dataset.folded = "";
  }
  if (cells.length > state.rows && cells.length <= MORE) showMore();
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
if (wantedLanguage() === state.language) start();
else speak(wantedLanguage());

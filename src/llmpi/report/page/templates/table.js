// The table of cells: sorted, filtered, saved.

const MORE = 300;

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
    const kind = column.kind === "text" ? "name" : null;
    const box = i ? element("td", { class: kind, "data-title": column.title.replace("\n", " ") }) : element("th", { scope: "row", class: kind });
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

function inNumbers(text, shown, all) {
  return text.replace("{shown}", shown.toLocaleString("en-US")).replace("{all}", all.toLocaleString("en-US"));
}

// So many columns have room on an upright sheet.
const UPRIGHT = 10;

function fillTable() {
  const columns = page.languages[state.language].columns.filter((column) => state.wide || !column.more);
  const rows = kept();
  document.getElementById("cells").toggleAttribute("data-wide", columns.length > UPRIGHT);
  const head = element("tr");
  for (const column of columns) {
    const direction = state.sort === column.key ? (state.down ? "descending" : "ascending") : "none";
    const button = element("button", { type: "button", "data-sort": column.key }, column.title);
    head.append(element("th", { scope: "col", "aria-sort": direction, class: column.kind === "text" ? "name" : null }, button));
  }
  const body = element("tbody");
  body.append(...rows.slice(0, state.rows).map((cell) => tableRow(cell, columns)));
  main.querySelector("[data-table]").replaceChildren(element("thead", {}, head), body);
  main.querySelector("[data-count]").value = inNumbers(texts().count, rows.length, cells.length);
  const rest = rows.length > state.rows;
  main.querySelector("[data-more]").hidden = !rest;
  main.querySelector("[data-printed]").textContent = rest ? inNumbers(texts().printed, state.rows, rows.length) : "";
}

function showMore() {
  state.rows += MORE;
  fillTable();
}

function startTable() {
  const wide = main.querySelector("[data-columns]");
  wide.setAttribute("aria-pressed", state.wide);
  wide.hidden = !page.languages[state.language].columns.some((column) => column.more);
  for (const select of main.querySelectorAll("[data-filter]")) {
    const values = new Set(cells.map((cell) => cell[select.dataset.filter]));
    if (select.options.length === 1) select.append(...[...values].map((value) => element("option", { value }, said(value))));
    select.closest("label").hidden = values.size < 2;
  }
  fillTable();
}

function saveCsv() {
  const field = (value) => {
    // A text that begins so would be a spreadsheet's formula.
    const guard = typeof value === "string" && /^[=+\-@\t]/.test(value) ? "'" : "";
    const text = value === null ? "" : guard + String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [page.csv, ...kept().map((cell) => page.csv.map((key) => cell[key]))];
  const text = lines.map((values) => values.map(field).join(",") + "\r\n").join("");
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: url, download: `${page.study}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

"use strict";
// What the other scripts share: the page's data, what is shown of it, and its words.
const page = JSON.parse(document.getElementById("data").textContent);
const shared = new Set(page.cells.shared); // Columns of places in page.cells.texts.
const cells = page.cells.rows.map((values) => ({ ...page.cells.same, ...Object.fromEntries(page.cells.columns.map((column, i) =>
  [column, shared.has(i) && values[i] !== null ? page.cells.texts[values[i]] : values[i]])) }));
page.loads = page.loads.flatMap((place) => ["cold", "warm"].map((state) => {
  const { id, cell, device, file_bytes: size, storage_read_bytes_per_s: rate, [`${state}_load_s`]: load_s } = cells[place];
  return { id, cell, device, state, load_s, file_mb: size / 1e6, read_s: rate ? size / rate : null };
}));
const byId = new Map(cells.map((cell) => [cell.id, cell]));
const main = document.getElementById("main");
const details = document.getElementById("details");
const ownLanguage = document.documentElement.lang; // What is shown where nobody asks for another.
const FIRST = 50; // Rows of the table, until more are asked for.
const state = { language: ownLanguage, place: 0, sort: null, down: false, rows: FIRST, wide: false };
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

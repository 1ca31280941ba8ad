// The charts, drawn by Vega in the page's own colours.

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
          labelLimit: 220, labelSeparation: 8 },
  axisY: { domain: false, ticks: false, labelPadding: 6 },
  legend: { orient: "bottom", labelColor: "var(--ink)", titleColor: "var(--soft)", titleFontWeight: "normal",
            labelFontSize: 12, titleFontSize: 12, symbolSize: 90, labelLimit: 240, titleOrient: "left",
            symbolBaseFillColor: "var(--ink)", symbolBaseStrokeColor: "var(--ink)" },
  style: { soft: { color: "var(--soft)" }, note: { color: "var(--soft)", fontSize: 11 },
           broken: { color: "var(--bad)", fontSize: 16, fontWeight: "bold" },
           label: { color: "var(--ink)", fontSize: 11 } },
  locale: { number: { decimal: ".", thousands: ",", grouping: [3], currency: ["", ""] } },
};
const configFor = (width) => ({ ...CONFIG, legend: { ...CONFIG.legend, columns: Math.max(1, Math.floor(width / 150)) } });
const views = new Map();

const NARROW = 640;

// Names stand where there is room beside their points, and what would hide another is left out:
// Vega-Lite has no word for Vega's own placing of labels, which goes out from marks.
function placed(vega) {
  const named = (mark) => [mark.style].flat().includes("label");
  const others = vega.marks.filter((mark) => !named(mark));
  // A mark without a single point does not exist for that placing: it fails, and leaves the chart unfinished.
  const names = others.map((mark) => mark.name).filter((name) => !name.startsWith("some_"));
  return { ...vega, marks: [...others, ...vega.marks.filter(named).flatMap((mark) => besidePoints(mark, names))] };
}

function besidePoints(label, avoidMarks) {
  const { x, y, text, ...looks } = label.encode.update;
  const points = { type: "symbol", name: `${label.name}_points`, from: label.from, interactive: false, aria: false,
                   encode: { update: { x, y, size: { value: 110 }, opacity: { value: 0 } } } };
  // A chart in a box of no width, such as of a window that is being made smaller, has no room at all, which fails.
  const size = { signal: "[max(width, 1), max(height, 1)]" };
  const anchor = ["top-right", "right", "bottom-right", "top", "bottom", "top-left", "left", "bottom-left"];
  return [points, { ...label, from: { data: points.name }, interactive: false,
                    encode: { update: { ...looks, text: { field: "datum.variant" } } },
                    transform: [{ type: "label", size, anchor, avoidMarks, offset: [1] }] }];
}

// On a narrow screen panels side by side become panels one above the other.
function fitted(spec, width) {
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
  for (const name of names.filter(isCrowded)) sets[name] = () => page[name].filter((row) => row.device === place.device);
  return Object.fromEntries(names.map((name) => [name, (sets[name] ?? (() => page[name]))()]));
}

// Points of all devices in one chart; of more than these only the chosen device's are drawn.
const MOST_POINTS = 600;
const isCrowded = (name) => !OF_A_PLACE.includes(name) && page[name]?.length > MOST_POINTS && "device" in page[name][0];

function tellCrowded(box, names) {
  const figure = box.closest("figure");
  figure.querySelector("[data-crowded]")?.remove();
  const crowded = names.find(isCrowded);
  if (!crowded) return;
  const told = texts().crowded.replace("{shown}", page[crowded].length.toLocaleString("en-US")).replace("{device}", page.places[state.place].device);
  figure.querySelector("figcaption").append(element("span", { "data-crowded": true }, ` ${told}`));
}

// The chart as a file; its colours are the page's, which a file of its own does not have.
async function saveSvg(figure) {
  const box = figure.querySelector(".chart");
  await draw(box);
  const style = getComputedStyle(document.documentElement);
  const svg = (await views.get(box).view.toSVG()).replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  element("a", { href: url, download: `${page.study}-${box.dataset.figure}.svg` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

const drawing = new Set();

function draw(box) {
  const work = drawNow(box);
  drawing.add(work);
  return work.finally(() => drawing.delete(work));
}

async function drawNow(box) {
  if (box.dataset.drawn === state.language) return;
  box.dataset.drawn = state.language;
  const spec = page.languages[state.language].figures[box.dataset.figure];
  const { usermeta, ...chart } = spec;
  views.get(box)?.finalize();
  const datasets = dataOf(usermeta.data);
  const empty = usermeta.data.every((name) => !datasets[name].length);
  box.closest("figure").hidden = empty;
  if (empty) return;
  tellCrowded(box, usermeta.data);
  const made = await vegaEmbed(box, { ...fitted(chart, box.clientWidth), datasets: { ...chart.datasets, ...datasets } }, {
    mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, ast: true, config: configFor(box.clientWidth),
    tooltip: { disableDefaultStyle: true }, logLevel: 1, // vega.Error
    patch: placed,
  });
  views.set(box, made);
  // The box is one picture with a name, which tells its numbers; all of them are in the tables.
  box.querySelector("svg").setAttribute("aria-hidden", "true");
  box.setAttribute("aria-label", toldOf(spec, made.view));
  made.view.addEventListener("click", (_, item) => {
    if (item?.datum?.id) location.hash = `cell-${item.datum.id}`;
  });
}

// The points of a chart, as it drew them; bars or lines where it has no points.
function pointsOf(view) {
  const found = { symbol: [], rect: [], line: [] };
  const visit = (mark) => {
    if (mark.role === "mark" && found[mark.marktype] && !mark.name?.endsWith("_points")) found[mark.marktype].push(...mark.items.map((item) => item.datum));
    for (const item of mark.items ?? []) item.items?.forEach(visit);
  };
  visit(view.scenegraph().root);
  return Object.values(found).find((points) => points.length) ?? [];
}

// What is summed up of each name.
function summed(points, told) {
  const whole = new Map();
  for (const point of points) {
    const before = whole.get(point[told.name]) ?? {};
    whole.set(point[told.name], Object.fromEntries([[told.name, point[told.name]], ...told.values.map(({ field }) => [field, (before[field] ?? 0) + point[field]])]));
  }
  return [...whole.values()];
}

const MOST_TOLD = 12;
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);

// A chart in words, for who does not see it: what it compares, the ends of each quantity, the front.
function toldOf({ description, usermeta: { told } }, view) {
  const words = texts().told;
  const drawn = pointsOf(view);
  const points = told.sums ? summed(drawn, told) : drawn;
  const name = (point) => told.words?.[point[told.name]] ?? point[told.name];
  const ranges = told.values.flatMap(({ field, title, digits, where = {} }) => {
    const known = points.filter((point) => Number.isFinite(point[field]) && Object.entries(where).every(([key, value]) => point[key] === value));
    if (!known.length) return [];
    const said = (point) => point[field].toLocaleString("en-US", { maximumFractionDigits: digits });
    const [least, most] = [1, -1].map((sign) => known.reduce((a, b) => (sign * (b[field] - a[field]) < 0 ? b : a)));
    const text = least[field] === most[field] ? words.same : words.range;
    return [filled(text, { title, low: said(least), lowest: name(least), high: said(most), highest: name(most) })];
  });
  const curves = told.course ? [...new Set(points.map(name))] : [];
  const courses = curves.map((which) => {
    const those = points.filter((point) => name(point) === which);
    const [first, last] = [those[0], those.at(-1)].map((point) => point[told.values[0].field].toLocaleString("en-US", { maximumFractionDigits: told.values[0].digits }));
    return filled(words.course, { name: which, first, last });
  });
  const groups = told.groups.flatMap(({ field, words: codes }) => Object.entries(codes).flatMap(([code, word]) => {
    const names = [...new Set(points.filter((point) => String(point[field]) === code).map(name))];
    const more = names.length > MOST_TOLD ? [filled(words.more, { count: (names.length - MOST_TOLD).toLocaleString("en-US") })] : [];
    return names.length ? [filled(words.group, { word, names: [...names.slice(0, MOST_TOLD), ...more].join(words.between) })] : [];
  }));
  return [filled(words.what, { description }), ...ranges, ...courses, ...groups].join(words.joint);
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "600px" });

const boxes = () => [...main.querySelectorAll(".chart")];

// What nobody has scrolled to is drawn one by one behind it, so that the page prints whole.
function drawRest() {
  const next = boxes().find((box) => box.dataset.drawn !== state.language);
  if (next) draw(next).finally(() => setTimeout(drawRest));
  else Promise.allSettled(drawing).then(() => { document.documentElement.dataset.drawn = state.language; });
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
  return usermeta.data.some((name) => OF_A_PLACE.includes(name) || isCrowded(name));
}

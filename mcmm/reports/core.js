// What every figure uses: the data, the theme, numbers as text, elements, and drawing itself.

const data = JSON.parse(document.getElementById("data").textContent);
// Quantiles come as steps in units of 10^-digits, and marks without their names.
for (const points of Object.values(data.distributions))
  for (const found of Object.values(points)) {
    let sum = 0;
    found.quantiles = found.quantiles.map((step) => (sum += step) / 10 ** found.digits);
    found.marks = Object.fromEntries(data.marks.map((part, i) => [part, found.marks[i]]).filter(([, mark]) => mark));
  }
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("screen and (max-width: 760px)");
let printing = false;

// Okabe and Ito's colours, which colour-blind readers tell apart; lines differ in their dashes too.
const LIGHT = {
  text: "#1a1f25",
  muted: "#56606b",
  line: "#d5dbe1",
  page: "#ffffff",
  accent: "#0a5aa8",
  points: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9"],
  parts: { spread: "#0072B2", informed: "#D55E00", inventory: "#E69F00", fees: "#8c8c8c", settlement: "#CC79A7" },
  diverging: [
    [0, "#b4530b"],
    [0.5, "#f4f2ee"],
    [1, "#1c5c9c"],
  ],
};
const DARK = {
  text: "#e7eaee",
  muted: "#a4aeb9",
  line: "#363d46",
  page: "#14171b",
  accent: "#73b7ff",
  points: ["#56B4E9", "#E69F00", "#2fc49a", "#e49bc4", "#F0E442", "#d7dbe0"],
  parts: { spread: "#4aa3df", informed: "#ff8a5c", inventory: "#E69F00", fees: "#9aa3ad", settlement: "#e49bc4" },
  diverging: [
    [0, "#bd5f1d"],
    [0.5, "#23282f"],
    [1, "#2f7cc0"],
  ],
};
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "solid"];
const theme = () => (dark.matches && !printing ? DARK : LIGHT);
const MOST = LIGHT.points.length;

const escapeText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const minus = (text) => text.replace("-", "\u2212");
const plain = (value, digits) =>
  minus(value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })).replace(
    /^\u2212(?=[0.,]*$)/,
    "",
  );

function digitsOf(value, figures) {
  const size = Math.abs(value);
  return size === 0 ? 0 : Math.max(0, Math.min(8, figures - 1 - Math.floor(Math.log10(size))));
}

function format(value, unit, figures = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "\u2013";
  if (unit === "chance") return plain(100 * value, Math.min(3, Math.max(1, digitsOf(100 * value, 2)))) + "%";
  if (unit && unit.startsWith("$")) {
    const size = Math.abs(value);
    const text = plain(size, size >= 1000 ? 0 : size >= 1 || size === 0 ? 2 : Math.min(5, digitsOf(size, 2)));
    return (value < 0 ? "\u2212$" : "$") + text;
  }
  return plain(value, Math.abs(value) >= 1000 ? 0 : digitsOf(value, figures));
}

const withDigits = (value, unit, digits) =>
  unit.startsWith("$") ? (value < 0 ? "\u2212$" : "$") + plain(Math.abs(value), digits) : plain(value, digits);

const unitOf = {};
const labelOf = {};
for (const group of data.menu)
  for (const option of group.options) {
    unitOf[option.column] = option.unit;
    labelOf[option.column] = option.label;
  }
const cell = (column, row) => (data.columns[column] ? data.columns[column][row] : null);
const reach = (column, row) => {
  const error = data.errors[column];
  const value = error ? cell(error.column, row) : null;
  return value === null || error.reach === null ? null : value * error.reach;
};

function written(column, row) {
  if (data.chances[column]) {
    const chance = data.chances[column];
    if (chance.text[row] === "none") return "no breaker set";
    return chance.text[row] + (chance.text[row].startsWith("<") ? " (95% bound)" : "");
  }
  const value = cell(column, row);
  const half = reach(column, row);
  if (half === null || value === null) return format(value, unitOf[column]);
  // Two figures of the interval's half; cents come in pairs.
  let digits = Math.min(6, digitsOf(half, 2));
  if (unitOf[column].startsWith("$") && digits === 1) digits = 2;
  return `${withDigits(value, unitOf[column], digits)} \u00b1 ${plain(half, digits)}`;
}

function aboutPoint(row) {
  const settings = data.axes.map((axis) => `${escapeText(axis.name)} = ${escapeText(axis.values[axis.of[row]])}`);
  const mark =
    row === data.objective.best
      ? ", the best"
      : data.objective.tied.includes(row)
        ? ", not distinguishable from the best"
        : "";
  return `<b>point ${data.points[row].id}</b>${mark}<br>${settings.join("<br>")}`;
}
const lines = (row, columns) =>
  columns.map((column) => `${escapeText(labelOf[column] || column)}: ${written(column, row)}`).join("<br>");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
const option = (value, text, selected = false) =>
  element("option", { value: String(value), textContent: text, selected });

function fillMetrics(select, chosen) {
  for (const group of data.menu) {
    const made = element("optgroup", { label: group.group });
    for (const entry of group.options) made.append(option(entry.column, entry.label, entry.column === chosen));
    select.append(made);
  }
}

// Figures are drawn once they come near the screen, and again when what they show has changed.
const figures = new Map();
const drawn = new Set();
function figure(id, drawer) {
  if ($(id)) figures.set(id, drawer);
}
function redraw(...ids) {
  for (const id of ids) if (drawn.has(id)) figures.get(id)();
}
function drawAll() {
  for (const [id, drawer] of figures)
    if (printing || drawn.has(id)) {
      drawn.add(id);
      drawer();
    }
}
function watch() {
  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries)
        if (isIntersecting && !drawn.has(target.id)) {
          near.unobserve(target);
          drawn.add(target.id);
          figures.get(target.id)();
        }
    },
    { rootMargin: "200px" },
  );
  for (const id of figures.keys()) near.observe($(id));
}

// A link to a setting's row, where its meaning is told.
const settingLink = (name, text = name) =>
  element("a", { href: `#setting-${name}`, textContent: text });

// An interval's two halves, as plotly's error bars want them; an end that is not known has none.
const whiskers = (marks, colour, more = {}) => ({
  type: "data",
  symmetric: false,
  array: marks.map((mark) => (mark && mark[2] !== null ? Math.max(0, mark[2] - mark[0]) : 0)),
  arrayminus: marks.map((mark) => (mark && mark[1] !== null ? Math.max(0, mark[0] - mark[1]) : 0)),
  color: colour,
  thickness: 1.5,
  width: 4,
  ...more,
});

// "$1.23 ($1.10 to $1.36)": two figures of the interval's half, cents in pairs; an open end is said to be none.
function ranged(mark, unit) {
  if (!mark || mark[0] === null) return "\u2013";
  const [value, low, high] = mark;
  const ends = [low, high].filter((end) => end !== null);
  const half = ends.length ? Math.max(...ends.map((end) => Math.abs(end - value))) : 0;
  if (!(half > 0)) return format(value, unit);
  if (unit === "chance") return `${format(value, unit)} (${format(low, unit)} to ${format(high, unit)})`;
  let digits = Math.min(6, digitsOf(half, 2));
  if (unit.startsWith("$") && digits === 1) digits = 2;
  const told = (end, none) => (end === null ? none : withDigits(end, unit, digits));
  return `${withDigits(value, unit, digits)} (${told(low, "no lower bound")} to ${told(high, "no upper bound")})`;
}

function draw(id, traces, layout) {
  const look = theme();
  const axis = {
    gridcolor: look.line,
    zerolinecolor: look.muted,
    linecolor: look.line,
    tickcolor: look.line,
    automargin: true,
    hoverformat: ".4g",
  };
  const full = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    colorway: look.points,
    font: {
      family: "system-ui, 'Liberation Sans', Arial, sans-serif",
      size: narrow.matches ? 11 : 12.5,
      color: look.text,
    },
    margin: { l: 8, r: 12, t: 8, b: 8 },
    showlegend: false,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: look.line, activecolor: look.muted },
    hovermode: "closest",
    dragmode: narrow.matches ? false : "zoom",
    hoverlabel: { align: "left", bgcolor: look.page, bordercolor: look.muted, font: { color: look.text, size: 12 } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: narrow.matches ? 11 : 12 } },
    ...layout,
  };
  for (const key of Object.keys(full)) if (/^[xy]axis\d*$/.test(key)) full[key] = { ...axis, ...full[key] };
  if (printing) full.width = 690;
  $(id).style.height = full.height + "px";
  return Plotly.react(id, traces, full, {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    displayModeBar: narrow.matches ? false : "hover",
    toImageButtonOptions: { filename: id.replace("plot-", "mcmm-") },
  });
}
// A long title takes a second line on a narrow screen.
const titled = (text) => ({
  title: { text: narrow.matches && text.length > 40 ? text.replace(/^(.{15,38}) /, "$1<br>") : text, standoff: 8 },
});
// Shares by significant digits: with a fixed number of decimals small ones would all read 0%.
const scaled = (unit) => ({ tickformat: unit.startsWith("$") ? "$,.4~f" : unit === "chance" ? ".3~p" : "" });
// The title over one of several panels, whose axes have the number n.
const panelTitle = (n, text) => ({
  text,
  xref: `x${n} domain`,
  yref: `y${n} domain`,
  x: 0,
  y: 1,
  xanchor: "left",
  yanchor: "bottom",
  showarrow: false,
});

// Histogram, cumulative curve and table of the chosen points.

const QUANTILES = [
  ["p01", 0.01, "1% quantile"],
  ["p05", 0.05, "5% quantile"],
  ["p50", 0.5, "median"],
  ["p95", 0.95, "95% quantile"],
  ["p99", 0.99, "99% quantile"],
];
const TAILS = [
  ["value_at_risk_95", "value at risk, 95%"],
  ["expected_shortfall_95", "expected shortfall, 95%"],
  ["value_at_risk_99", "value at risk, 99%"],
  ["expected_shortfall_99", "expected shortfall, 99%"],
];

let chosen = [];
const carried = (row) => Object.values(data.distributions).some((points) => row in points);
const distributionOf = (metric, row) => (data.distributions[metric] ? data.distributions[metric][row] : undefined);
const markOf = (metric, row, part) => {
  const found = distributionOf(metric, row);
  return found && found.marks[part] ? found.marks[part] : null;
};
// A loss stands where the pnl is: its mark with the sign turned.
const turned = (mark) =>
  mark && [-mark[0], mark[2] === null ? null : -mark[2], mark[1] === null ? null : -mark[1]];
const axisTitle = (metric) => {
  const unit = data.units[metric];
  const of = { $: "$ a path", chance: "", count: "a path", contracts: "contracts", steps: "steps" };
  const said = unit in of ? of[unit] : unit;
  return said ? `${metric}, ${said}` : metric;
};

function firstChoice() {
  const { best, order } = data.objective;
  const front = data.risks.length ? data.risks[0].frontier : [];
  return [...new Set([best, front[0], order[order.length - 1]])]
    .filter((row) => row !== null && row !== undefined && carried(row))
    .slice(0, MOST);
}

// The points along one axis through the given row, the other axes held; a row that the study lacks is left out.
function along(axis, through) {
  const fixed = data.axes.filter((other) => other !== axis);
  return data.points
    .map((_, row) => row)
    .filter((row) => fixed.every((other) => other.of[row] === other.of[through]))
    .sort((a, b) => axis.of[a] - axis.of[b]);
}

function thin(rows, count) {
  if (rows.length <= count) return rows;
  return [...new Set(Array.from({ length: count }, (_, i) => rows[Math.round((i * (rows.length - 1)) / (count - 1))]))];
}

function choose(rows) {
  chosen = rows.filter(carried).slice(0, MOST);
  redraw("plot-histogram", "plot-ecdf");
  fillTable();
}

function addPoint(row) {
  if (!carried(row) || chosen.includes(row)) return;
  choose([...chosen.slice(0, MOST - 1), row]);
}

function setUpDistributions() {
  figure("plot-histogram", drawHistogram);
  figure("plot-ecdf", drawCumulative);
  const metric = $("distribution-metric");
  for (const name of Object.keys(data.distributions)) metric.append(option(name, name));
  metric.addEventListener("change", () => {
    redraw("plot-histogram", "plot-ecdf", "plot-multiples");
    fillTable();
  });
  const add = $("distribution-add");
  add.append(option("", "choose\u2026", true));
  for (const row of data.objective.order)
    if (carried(row)) add.append(option(row, `${data.points[row].id}: ${data.points[row].label}`));
  add.addEventListener("change", () => {
    if (add.value !== "") addPoint(Number(add.value));
    add.value = "";
  });
  const line = $("distribution-along");
  line.append(option("", "choose\u2026", true));
  data.axes.forEach((axis, i) => {
    if (axis.values.length > 1) line.append(option(i, axis.name));
  });
  line.addEventListener("change", () => {
    if (line.value !== "")
      choose(thin(along(data.axes[Number(line.value)], chosen.length ? chosen[0] : firstRow()), MOST));
    line.value = "";
  });
  $("distribution-reset").addEventListener("click", () => choose(firstChoice()));
  chosen = firstChoice();
  fillTable();
}
const firstRow = () => (data.objective.best === null ? 0 : data.objective.best);

function showing() {
  const metric = $("distribution-metric").value;
  return [metric, chosen.filter((row) => distributionOf(metric, row))];
}

// The range that all of some distributions share, and how a bin is told.
function sharedRange(metric, rows) {
  const ends = rows
    .map((row) => distributionOf(metric, row))
    .flatMap((found) => [found.start, found.start + found.counts.length * found.width]);
  const margin = 0.03 * (Math.max(...ends) - Math.min(...ends));
  return ends.length ? [Math.min(...ends) - margin, Math.max(...ends) + margin] : undefined;
}

function bars(metric, row, colour, more = {}, perBin = false) {
  const found = distributionOf(metric, row);
  const unit = data.units[metric];
  const name = `point ${data.points[row].id}`;
  const edges = [
    found.start,
    ...found.counts.map((_, i) => found.start + i * found.width),
    found.start + found.counts.length * found.width,
  ];
  const total = found.counts.reduce((sum, count) => sum + count, 0);
  const share = found.counts.map((count) => count / total);
  const bin = found.counts.map((count, i) => {
    const left = found.start + i * found.width;
    return `${name}<br>${format(left, unit)} to ${format(left + found.width, unit)}: ${(100 * share[i]).toPrecision(2)}% of paths (${plain(count, 0)})`;
  });
  return {
    type: "scatter",
    mode: "lines",
    name,
    x: edges,
    y: [0, ...share.map((part) => (perBin ? part : part / found.width)), 0],
    text: ["", ...bin, ""],
    line: { color: colour, shape: "hv", width: 1.5 },
    fill: "tozeroy",
    fillcolor: colour + "22",
    hovertemplate: "%{text}<extra></extra>",
    ...more,
  };
}

function drawHistogram() {
  const look = theme();
  const [metric, shown] = showing();
  const traces = shown.map((row, place) => bars(metric, row, look.points[place]));
  shown.forEach((row, place) => traces.push(...strip(metric, row, shown.length - 1 - place, look.points[place])));
  const count = Math.max(1, shown.length);
  const height = 300 + 46 * count;
  const low = (46 * count + 10) / (height - 60);
  const unit = data.units[metric];
  draw("plot-histogram", traces, {
    height,
    xaxis: { ...titled(axisTitle(metric)), ...scaled(unit), anchor: "y2", range: sharedRange(metric, shown) },
    yaxis: {
      domain: [low, 1],
      tickformat: ".2~%",
      rangemode: "tozero",
      ...titled(unit.startsWith("$") ? "share of paths per $1" : "share of paths per unit"),
    },
    yaxis2: {
      domain: [0, low - 0.03],
      range: [-0.6, count - 0.4],
      tickvals: shown.map((_, i) => shown.length - 1 - i),
      ticktext: shown.map((row) => `point ${data.points[row].id}`),
      showgrid: false,
      zeroline: false,
      fixedrange: true,
    },
  });
}

function drawCumulative() {
  const look = theme();
  const [metric, shown] = showing();
  const unit = data.units[metric];
  const traces = [];
  shown.forEach((row, place) => {
    const found = distributionOf(metric, row);
    const name = `point ${data.points[row].id}`;
    const colour = look.points[place];
    traces.push({
      type: "scatter",
      mode: "lines",
      name,
      x: found.quantiles,
      y: data.levels,
      line: { color: colour, width: 2, dash: DASHES[place] },
      text: found.quantiles.map(
        (value, i) => `${name}<br>${plain(100 * data.levels[i], 1)}% of paths at or below ${format(value, unit)}`,
      ),
      hovertemplate: "%{text}<extra></extra>",
    });
    const parts = QUANTILES.filter(([part]) => found.marks[part]);
    traces.push({
      type: "scatter",
      mode: "markers",
      showlegend: false,
      name: `${name}, quantiles`,
      x: parts.map(([part]) => found.marks[part][0]),
      y: parts.map(([, share]) => share),
      error_x: whiskers(
        parts.map(([part]) => found.marks[part]),
        colour,
      ),
      text: parts.map(([part, , told]) => `${name}<br>${told}: ${ranged(found.marks[part], unit)}`),
      hovertemplate: "%{text}<extra></extra>",
      marker: { symbol: "circle", size: 5, color: colour },
    });
  });
  const shares = narrow.matches && !printing ? [0.05, 0.25, 0.5, 0.75, 0.95] : [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
  draw("plot-ecdf", traces, {
    height: 300 + 46 * Math.max(1, shown.length),
    showlegend: true,
    xaxis: { ...titled(axisTitle(metric)), ...scaled(unit), range: sharedRange(metric, shown) },
    yaxis: {
      ...titled("share of paths"),
      range: [-0.02, 1.02],
      tickvals: shares,
      ticktext: shares.map((share) => `${plain(100 * share, 0)}%`),
    },
  });
}

// A point's marks below the histogram: above the line mean and quantiles, below it the losses, where the pnl is.
function strip(metric, row, level, colour) {
  const unit = data.units[metric];
  const name = `point ${data.points[row].id}`;
  const mark = (part) => markOf(metric, row, part);
  const base = { type: "scatter", yaxis: "y2", showlegend: false, hovertemplate: "%{text}<extra></extra>" };
  const span = (from, to, width) => ({
    ...base,
    mode: "lines",
    hoverinfo: "skip",
    hovertemplate: undefined,
    x: [mark(from)[0], mark(to)[0]],
    y: [level + 0.18, level + 0.18],
    line: { color: colour, width },
  });
  const markers = (entries, symbol, size, height, open = false) => ({
    ...base,
    mode: "markers",
    x: entries.map(([one]) => one[0]),
    y: entries.map(() => level + height),
    text: entries.map(([, told]) => `${name}<br>${told}`),
    marker: { symbol, size, color: open ? theme().page : colour, line: { color: colour, width: 2 } },
    error_x: whiskers(
      entries.map(([one]) => one),
      colour,
    ),
  });
  const marks = [];
  if (mark("p01") && mark("p99")) marks.push(span("p01", "p99", 1.5), span("p05", "p95", 6));
  const quantiles = QUANTILES.filter(([part]) => mark(part)).map(([part, , told]) => [
    mark(part),
    `${told}: ${ranged(mark(part), unit)}`,
  ]);
  marks.push(markers(quantiles, "line-ns", 12, 0.18));
  if (mark("mean")) marks.push(markers([[mark("mean"), `mean: ${ranged(mark("mean"), unit)}`]], "diamond", 8, 0.18, true));
  const losses = TAILS.filter(([part]) => mark(part));
  const told = ([part, words]) => [turned(mark(part)), `${words}: ${ranged(mark(part), unit)}, a loss if positive`];
  const risks = losses.filter(([part]) => part.startsWith("value"));
  const shortfalls = losses.filter(([part]) => part.startsWith("expected"));
  if (losses.length)
    marks.push(
      markers(risks.map(told), "triangle-down-open", 8, -0.22),
      markers(shortfalls.map(told), "x-thin", 8, -0.22),
    );
  return marks;
}

function fillTable() {
  const [metric, shown] = showing();
  const unit = data.units[metric];
  const parts = [["mean", "mean"], ...QUANTILES.map(([part, , told]) => [part, told]), ...TAILS];
  const head = element(
    "tr",
    {},
    element("th", { scope: "col", className: "text", textContent: metric }),
    ...shown.map((row, place) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.borderTopColor = theme().points[place];
      swatch.style.borderTopStyle =
        DASHES[place] === "solid" ? "solid" : DASHES[place] === "dot" ? "dotted" : "dashed";
      const remove = element("button", { type: "button", className: "remove", textContent: "\u00d7", title: "Take it out" });
      remove.setAttribute("aria-label", `Take point ${data.points[row].id} out`);
      remove.addEventListener("click", () => choose(chosen.filter((other) => other !== row)));
      return element(
        "th",
        { scope: "col" },
        swatch,
        ` point ${data.points[row].id} `,
        remove,
        element("span", { className: "settings-of", textContent: data.points[row].label }),
      );
    }),
  );
  const lineOf = (told, cells) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", className: "text", textContent: told }),
      ...cells.map((text) => element("td", { textContent: text })),
    );
  const rows = parts
    .filter(([part]) => shown.some((row) => markOf(metric, row, part)))
    .map(([part, told]) => lineOf(told, shown.map((row) => ranged(markOf(metric, row, part), unit))));
  if (data.columns[`${metric}.loss_chance`])
    rows.push(
      lineOf(
        "chance of a loss",
        shown.map((row) => written(`${metric}.loss_chance`, row)),
      ),
    );
  rows.push(
    lineOf(
      "paths behind it",
      shown.map((row) => {
        const found = distributionOf(metric, row);
        return `${plain(found.paths, 0)}${found.exact ? "" : ", summarised"}`;
      }),
    ),
  );
  $("distribution-table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

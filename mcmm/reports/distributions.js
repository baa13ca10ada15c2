// Histogram, cumulative curve and table of the chosen points.

let chosen = [];
const carried = (row) => Object.values(data.distributions).some((points) => row in points);

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
  drawDistributions();
}

function addPoint(row) {
  if (!carried(row) || chosen.includes(row)) return;
  choose([...chosen.slice(0, MOST - 1), row]);
}

function setUpDistributions() {
  const metric = $("distribution-metric");
  for (const name of Object.keys(data.distributions)) metric.append(option(name, name));
  metric.addEventListener("change", drawDistributions);
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
}
const firstRow = () => (data.objective.best === null ? 0 : data.objective.best);

function drawDistributions() {
  const look = theme();
  const metric = $("distribution-metric").value;
  const shown = chosen.filter((row) => data.distributions[metric] && row in data.distributions[metric]);
  const bars = [];
  const curves = [];
  const strips = [];
  shown.forEach((row, place) => {
    const found = data.distributions[metric][row];
    const colour = look.points[place];
    const name = `point ${data.points[row].id}`;
    const line = { color: colour, width: 2, dash: DASHES[place] };
    const edges = [
      found.start,
      ...found.counts.map((_, i) => found.start + i * found.width),
      found.start + found.counts.length * found.width,
    ];
    const share = found.counts.map((count) => count / data.paths);
    const bin = found.counts.map((count, i) => {
      const left = found.start + i * found.width;
      return `${name}<br>${format(left, "$")} to ${format(left + found.width, "$")}: ${(100 * share[i]).toPrecision(2)}% of paths (${plain(count, 0)})`;
    });
    bars.push({
      type: "scatter",
      mode: "lines",
      name,
      x: edges,
      y: [0, ...share.map((part) => part / found.width), 0],
      text: ["", ...bin, ""],
      line: { color: colour, shape: "hv", width: 1.5 },
      fill: "tozeroy",
      fillcolor: colour + "22",
      hovertemplate: "%{text}<extra></extra>",
    });
    curves.push({
      type: "scatter",
      mode: "lines",
      name,
      x: found.quantiles,
      y: data.levels,
      line,
      hovertemplate: `${name}<br>%{y:.1%} of paths at or below %{x:$,.2f}<extra></extra>`,
    });
    strips.push(...strip(metric, row, shown.length - 1 - place, colour, name));
  });
  const shares = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1];
  const ends = shown
    .map((row) => data.distributions[metric][row])
    .flatMap((found) => [found.start, found.start + found.counts.length * found.width]);
  const margin = 0.03 * (Math.max(...ends) - Math.min(...ends));
  const range = ends.length ? [Math.min(...ends) - margin, Math.max(...ends) + margin] : undefined;
  const count = Math.max(1, shown.length);
  const height = 300 + 34 * count;
  const low = (34 * count + 10) / (height - 60);
  draw("plot-histogram", [...bars, ...strips], {
    height,
    xaxis: { ...titled(`${metric}, $ a path`), ...scaled("$"), anchor: "y2", range },
    yaxis: { domain: [low, 1], tickformat: ".2~%", rangemode: "tozero", ...titled("share of paths per $1") },
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
  draw("plot-ecdf", curves, {
    height,
    showlegend: true,
    xaxis: { ...titled(`${metric}, $ a path`), ...scaled("$"), range },
    yaxis: {
      ...titled("share of paths"),
      range: [-0.01, 1.01],
      tickvals: shares,
      ticktext: shares.map((part) => `${100 * part}%`),
    },
  });
  fillTable(metric, shown);
}

function strip(metric, row, level, colour, name) {
  const at = (part) => cell(`${metric}.${part}`, row);
  const text =
    `${name}<br>` +
    lines(
      row,
      ["p01", "p05", "p50", "mean", "p95", "p99", "expected_shortfall_95"]
        .map((part) => `${metric}.${part}`)
        .filter((column) => cell(column, row) !== null),
    );
  const base = { type: "scatter", yaxis: "y2", showlegend: false, hovertemplate: "%{text}<extra></extra>" };
  const span = (from, to, width) => ({
    ...base,
    mode: "lines",
    x: [at(from), at(to)],
    y: [level, level],
    text: [text, text],
    line: { color: colour, width },
  });
  const marker = (value, symbol, size, half) => ({
    ...base,
    mode: "markers",
    x: [value],
    y: [level],
    text: [text],
    marker: { symbol, size, color: symbol === "diamond" ? theme().page : colour, line: { color: colour, width: 2 } },
    error_x: half === null ? undefined : { type: "data", array: [half], color: colour, thickness: 1.5, width: 4 },
  });
  const marks = [
    span("p01", "p99", 1.5),
    span("p05", "p95", 7),
    marker(at("p50"), "line-ns", 16, null),
    marker(at("mean"), "diamond", 8, reach(`${metric}.mean`, row)),
  ];
  const shortfall = at("expected_shortfall_95");
  if (shortfall !== null) marks.push(marker(-shortfall, "x-thin", 9, reach(`${metric}.expected_shortfall_95`, row)));
  return marks;
}

function fillTable(metric, shown) {
  const parts = [
    ["mean", "mean"],
    ["sd", "sd"],
    ["p01", "1%"],
    ["p05", "5%"],
    ["p50", "50%"],
    ["p95", "95%"],
    ["p99", "99%"],
    ["value_at_risk_95", "VaR 95%"],
    ["expected_shortfall_95", "ES 95%"],
    ["value_at_risk_99", "VaR 99%"],
    ["expected_shortfall_99", "ES 99%"],
    ["loss_chance", "chance of loss"],
  ].filter(([part]) => data.columns[`${metric}.${part}`]);
  const head = element(
    "tr",
    {},
    element("th", { scope: "col", colSpan: 2 }),
    element("th", { scope: "col", className: "text", textContent: "point" }),
    ...parts.map(([, heading]) => element("th", { scope: "col", textContent: heading })),
  );
  const rows = shown.map((row, place) => {
    const swatch = element("span", { className: "swatch" });
    swatch.style.borderTopColor = theme().points[place];
    swatch.style.borderTopStyle = DASHES[place] === "solid" ? "solid" : DASHES[place] === "dot" ? "dotted" : "dashed";
    const remove = element("button", {
      type: "button",
      className: "remove",
      textContent: "\u00d7",
      title: "Take it out",
    });
    remove.setAttribute("aria-label", `Take point ${data.points[row].id} out`);
    remove.addEventListener("click", () => choose(chosen.filter((other) => other !== row)));
    return element(
      "tr",
      {},
      element("td", {}, remove),
      element("td", {}, swatch),
      element("th", {
        scope: "row",
        className: "text",
        textContent: `${data.points[row].id}: ${data.points[row].label}`,
      }),
      ...parts.map(([part]) => element("td", { textContent: written(`${metric}.${part}`, row) })),
    );
  });
  $("distribution-table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

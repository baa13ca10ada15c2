// Mean pnl against a measure of risk, with the efficient frontier.

const REWARD = "pnl_settled.controlled_mean";
const SYMBOLS = ["circle", "square", "triangle-up", "pentagon", "triangle-down", "hexagon"];

let tradeoffListens = false;

function setUpTradeoff() {
  figure("plot-tradeoff", drawTradeoff);
  data.risks.forEach((risk, i) => $("tradeoff-risk").append(option(i, risk.label)));
  const colour = $("tradeoff-colour");
  colour.append(option("", "efficient or not", true));
  data.axes.forEach((axis, i) => {
    if (axis.values.length > 1) colour.append(option(i, axis.name));
  });
  for (const select of [$("tradeoff-risk"), colour]) select.addEventListener("change", drawTradeoff);
}

// A chance has an exact interval, the others as many standard errors to each side.
function riskError(column, rows, color) {
  const chance = data.chances[column];
  const marks = rows.map((row) => {
    const value = cell(column, row);
    const half = reach(column, row) || 0;
    return chance ? [value, chance.low[row], chance.high[row]] : [value, value - half, value + half];
  });
  return whiskers(marks, color, { thickness: 1.2, width: 0 });
}

// Points far enough from the last labelled one for a label of their own.
function apartOnes(rows, column) {
  const spread = (name) => {
    const values = data.columns[name].filter((value) => value !== null);
    return Math.max(...values) - Math.min(...values) || 1;
  };
  const [across, down] = [spread(column), spread(REWARD)];
  const clear = new Set();
  let last = null;
  for (const row of rows) {
    const far =
      last === null ||
      Math.abs(cell(column, row) - cell(column, last)) > 0.04 * across ||
      Math.abs(cell(REWARD, row) - cell(REWARD, last)) > 0.06 * down;
    if (far || row === data.objective.best) {
      clear.add(row);
      last = row;
    }
  }
  return clear;
}

function drawTradeoff() {
  const look = theme();
  const risk = data.risks[Number($("tradeoff-risk").value)];
  if (!risk) return;
  const axis = $("tradeoff-colour").value === "" ? null : data.axes[Number($("tradeoff-colour").value)];
  const efficient = new Set(risk.frontier);
  const usable = data.points
    .map((_, row) => row)
    .filter((row) => cell(risk.column, row) !== null && cell(REWARD, row) !== null);
  const named = risk.frontier.length <= 12;
  const clear = apartOnes(risk.frontier, risk.column);
  const series = (name, rows, colour, symbol, size) => ({
    type: "scatter",
    mode: "markers",
    name,
    x: rows.map((row) => cell(risk.column, row)),
    y: rows.map((row) => cell(REWARD, row)),
    customdata: rows,
    text: rows.map(
      (row) =>
        `${aboutPoint(row)}${efficient.has(row) ? "<br>efficient" : ""}<br>${lines(row, [REWARD, risk.column, "pnl_settled.loss_chance", "halt.chance", "fills.mean", "max_inventory.mean"])}`,
    ),
    hovertemplate: "%{text}<extra></extra>",
    marker: { color: colour, size, symbol, line: { color: look.page, width: 1 } },
    error_y: {
      type: "data",
      array: rows.map((row) => reach(REWARD, row) || 0),
      color: colour + "77",
      thickness: 1.2,
      width: 0,
    },
    error_x: riskError(risk.column, rows, colour + "77"),
  });
  const traces = axis
    ? axis.values.map((value, i) =>
        series(
          escapeText(`${axis.short} ${value}`),
          usable.filter((row) => axis.of[row] === i),
          look.points[i % MOST],
          SYMBOLS[i % SYMBOLS.length],
          9,
        ),
      )
    : [
        series(
          "other points",
          usable.filter((row) => !efficient.has(row)),
          look.muted,
          "circle",
          7,
        ),
        series("efficient", risk.frontier, look.points[0], "circle", 10),
      ];
  traces.unshift({
    type: "scatter",
    mode: named ? "lines+text" : "lines",
    name: "efficient frontier",
    hoverinfo: "skip",
    x: risk.frontier.map((row) => cell(risk.column, row)),
    y: risk.frontier.map((row) => cell(REWARD, row)),
    // The spaces keep a label clear of its point.
    text: risk.frontier.map((row, i) =>
      !clear.has(row) ? "" : i % 2 ? `\u00a0\u00a0${data.points[row].id}` : `${data.points[row].id}\u00a0\u00a0`,
    ),
    textposition: risk.frontier.map((_, i) => (i % 2 ? "bottom right" : "top left")),
    textfont: { color: look.text, size: 12 },
    line: { color: look.points[0], width: 1.5, dash: "dot" },
  });
  const best = data.objective.best;
  if (best !== null && usable.includes(best))
    traces.push({
      type: "scatter",
      mode: "markers",
      name: "best",
      x: [cell(risk.column, best)],
      y: [cell(REWARD, best)],
      hoverinfo: "skip",
      marker: { symbol: "circle-open", size: 19, color: look.points[1], line: { width: 3 } },
    });
  draw("plot-tradeoff", traces, {
    height: narrow.matches ? 440 : 480,
    showlegend: true,
    xaxis: {
      ...titled(`${risk.label}${risk.unit === "$" ? ", $ (more is worse)" : " (more is worse)"}`),
      ...scaled(risk.unit),
    },
    yaxis: { ...titled("mean pnl_settled, $"), ...scaled("$"), zeroline: true },
  });
  if (!tradeoffListens) {
    tradeoffListens = true;
    $("plot-tradeoff").on("plotly_click", (event) => {
      const row = event.points[0].customdata;
      if (row === undefined) return;
      addPoint(row);
      $("distributions").scrollIntoView();
    });
  }
  $("tradeoff-caption").textContent =
    `Mean pnl_settled against ${risk.label}; ${risk.frontier.length} of ${usable.length} points are efficient` +
    (named ? ", and labelled by number." : ".");
}

// A path's way through time: fans of quantiles, and a few paths with quotes and fills.

const FANS = [
  ["pnl", "pnl, $", "$"],
  ["drawdown", "drawdown, $", "$"],
  ["inventory", "inventory, contracts", "contracts"],
  ["spread", "spread, $ per contract", "$ per contract"],
];

function setUpTime() {
  if (!data.time) return;
  const markets = distinct(data.time.fans, "market");
  document.querySelectorAll(".of-markets").forEach((label) => (label.hidden = markets.length < 2));
  const point = $("time-point");
  distinct(data.time.fans, "row").forEach((row, i) =>
    point.append(option(row, `${i ? "smallest tail" : "recommended"}, ${data.points[row].id}: ${data.points[row].label}`)),
  );
  const path = $("trace-path");
  data.time.traces
    .filter((trace) => trace.market === markets[0])
    .forEach((trace) =>
      path.append(
        option(
          trace.path,
          `path ${trace.path}, ${100 * trace.quantile}% quantile: ${format(trace.settled, "$")} settled`,
          trace.quantile === 0.5,
        ),
      ),
    );
  for (const [plot, ...choices] of [
    ["plot-fan", "time-point", "time-market"],
    ["plot-trace", "trace-path", "trace-market"],
  ]) {
    markets.forEach((name) => $(choices[1]).append(option(name, name)));
    choices.forEach((choice) => $(choice).addEventListener("change", () => redraw(plot)));
  }
  figure("plot-fan", drawFan);
  figure("plot-trace", drawTrace);
}

function distinct(items, key) {
  return [...new Set(items.map((item) => item[key]))];
}

// Of the items that are told apart by their market as well, the one chosen.
function selected(items, key, select, market) {
  return items.find((item) => item[key] === Number($(select).value) && item.market === $(market).value);
}

// How many markets a page has room for is less than a path may have.
function ofMarkets(market) {
  if (!market) return "";
  const told = distinct(data.time.fans, "market").length;
  return ` Market ${market}` + (told < data.time.markets ? `, of the first ${told} of ${data.time.markets}.` : ".");
}

function drawFan() {
  const look = theme();
  const fan = selected(data.time.fans, "row", "time-point", "time-market");
  const stacked = narrow.matches && !printing;
  const colour = look.points[0];
  const traces = [];
  const layout = { height: stacked ? 940 : 620, margin: { l: 8, r: 12, t: 28, b: 8 }, annotations: [], hovermode: "x" };
  FANS.forEach(([name, title, unit], place) => {
    const n = place ? String(place + 1) : "";
    const lines = fan.quantiles[name];
    const band = (low, high, depth, told) => {
      const at = (line) => fan.steps.map((_, i) => lines[line][i]);
      const common = { type: "scatter", mode: "lines", xaxis: `x${n}`, yaxis: `y${n}`, line: { width: 0 }, x: fan.steps, hoverinfo: "skip" };
      traces.push({ ...common, y: at(low), showlegend: false });
      traces.push({ ...common, y: at(high), fill: "tonexty", fillcolor: colour + depth, name: told, legendgroup: told, showlegend: !place });
    };
    band(0, 6, "26", "1% to 99%");
    band(1, 5, "40", "5% to 95%");
    band(2, 4, "66", "25% to 75%");
    traces.push({
      type: "scatter",
      mode: "lines",
      name: "median",
      legendgroup: "median",
      showlegend: !place,
      xaxis: `x${n}`,
      yaxis: `y${n}`,
      x: fan.steps,
      y: lines[3],
      line: { color: look.text, width: 2 },
      text: fan.steps.map(
        (step, i) =>
          `after ${step} steps, ${name}<br>` +
          data.time.levels.map((level, k) => `${100 * level}%: ${format(lines[k][i], unit)}`).join("<br>") +
          (name === "spread" ? `<br>quoted on ${format(fan.quoted[i], "chance")} of paths` : ""),
      ),
      hovertemplate: "%{text}<extra></extra>",
    });
    const [i, j] = stacked ? [place, 0] : [Math.floor(place / 2), place % 2];
    const [down, across] = stacked ? [4, 1] : [2, 2];
    const top = 1 - i / down;
    layout[`xaxis${n}`] = {
      anchor: `y${n}`,
      domain: [j / across + (j ? 0.05 : 0), (j + 1) / across],
      range: [0, fan.steps[fan.steps.length - 1]],
      ...(i === down - 1 ? titled("steps") : {}),
    };
    layout[`yaxis${n}`] = {
      anchor: `x${n}`,
      domain: [top - 1 / down + (i === down - 1 ? 0.02 : 0.06), top - 0.04],
      ...scaled(unit),
      zeroline: true,
    };
    layout.annotations.push(panelTitle(n, `<b>${title}</b>`));
  });
  draw("plot-fan", traces, { showlegend: true, ...layout, legend: { orientation: "h", x: 0, y: 1.04, yanchor: "bottom" } });
  $("fan-caption").textContent =
    `Quantiles over the first ${plain(fan.paths, 0)} paths of point ${data.points[fan.row].id}, at ${fan.steps.length} equally spaced steps.` +
    ofMarkets(fan.market) +
    " The spread is that of the paths that quote at that step.";
}

function drawTrace() {
  const look = theme();
  const trace = selected(data.time.traces, "path", "trace-path", "trace-market");
  const { step, probability, mid, bid, ask, inventory } = trace.columns;
  const line = (y, name, colour, width, more = {}) => ({
    type: "scatter",
    mode: "lines",
    name,
    x: step,
    y,
    line: { color: colour, width, ...more },
    hovertemplate: `${name} %{y:$.4~f}, step %{x}<extra></extra>`,
    connectgaps: false,
  });
  const fills = (sign, name, symbol, colour) => {
    const at = trace.fills.size.map((size, i) => i).filter((i) => Math.sign(trace.fills.size[i]) === sign);
    return {
      type: "scatter",
      mode: "markers",
      name,
      x: at.map((i) => trace.fills.step[i]),
      y: at.map((i) => trace.fills.price[i]),
      text: at.map(
        (i) =>
          `${name} ${plain(Math.abs(trace.fills.size[i]), 0)} at ${format(trace.fills.price[i], "$ per contract")}, step ${plain(trace.fills.step[i], 0)}`,
      ),
      hovertemplate: "%{text}<extra></extra>",
      marker: {
        symbol,
        color: colour,
        size: at.map((i) => 5 + 2 * Math.log2(1 + Math.abs(trace.fills.size[i]))),
        line: { color: look.page, width: 1 },
      },
    };
  };
  const quote = look.muted;
  draw(
    "plot-trace",
    [
      line(bid, "bid", quote, 1, { shape: "hv" }),
      line(ask, "ask", quote, 1, { shape: "hv", dash: "dot" }),
      line(mid, "maker's mid", look.points[0], 1.2, { dash: "dash" }),
      line(probability, "fair value", look.text, 2),
      fills(1, "bought", "triangle-up", look.points[2]),
      fills(-1, "sold", "triangle-down", look.points[1]),
      {
        type: "scatter",
        mode: "lines",
        name: "inventory",
        showlegend: false,
        x: step,
        y: inventory,
        yaxis: "y2",
        fill: "tozeroy",
        fillcolor: look.points[3] + "44",
        line: { color: look.points[3], width: 1.5, shape: "hv" },
        hovertemplate: "inventory %{y}, step %{x}<extra></extra>",
      },
    ],
    {
      height: narrow.matches && !printing ? 520 : 560,
      showlegend: true,
      xaxis: { ...titled("step"), anchor: "y2", range: [0, data.steps[data.time.fans[0].row]] },
      yaxis: { domain: [0.34, 1], ...titled("$ per contract"), tickformat: "$.3~f" },
      yaxis2: { domain: [0, 0.27], ...titled("inventory"), zeroline: true },
    },
  );
  const every = step.length > 1 ? step[1] - step[0] : 1;
  $("trace-caption").textContent =
    `Path ${trace.path} of point ${data.points[data.time.fans[0].row].id}: pnl_settled ${format(trace.settled, "$")}. ` +
    "Triangles are fills, larger for more contracts: up bought at the bid, down sold at the ask; below, the inventory in contracts." +
    (every > 1 ? ` One step of ${every} is drawn, and every fill.` : "") +
    (trace.market ? `${ofMarkets(trace.market)} The settled result is that of all its markets.` : "");
}

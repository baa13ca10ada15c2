// How often each limit bound, which breaker tripped, and by how much a drawdown breaker was overshot.

const BREAKERS = ["drawdown", "loss", "volume", "portfolio_drawdown", "any"];

function setUpBound() {
  figure("plot-bound", drawBound);
  figure("plot-overshoot", drawOvershoot);
  const tripped = data.distributions.breaker_overshoot || {};
  const box = $("overshoot-point");
  if (!box) return;
  const rows = data.objective.order.filter((row) => row in tripped);
  const trips = (row) => (data.columns["halt.chance"] ? data.columns["halt.chance"][row] : 0);
  const first = rows.includes(data.objective.best)
    ? data.objective.best
    : [...rows].sort((a, b) => trips(b) - trips(a))[0];
  for (const row of rows) box.append(option(row, `${data.points[row].id}: ${data.points[row].label}`, row === first));
  box.addEventListener("change", () => redraw("plot-overshoot"));
}

function drawBound() {
  const look = theme();
  const { axis, rows, x } = alongAxis();
  const colours = look.points;
  const traces = [];
  const ofSteps = (column, name, colour, pattern) => {
    if (!data.columns[column]) return;
    const marks = rows.map((row) => {
      const value = cell(column, row) / data.steps[row];
      const half = (reach(column, row) || 0) / data.steps[row];
      return [value, Math.max(0, value - half), value + half];
    });
    traces.push({
      type: "bar",
      name,
      x,
      y: marks.map((mark) => mark[0]),
      error_y: whiskers(marks, look.text),
      marker: { color: colour, pattern: { shape: pattern, solidity: 0.25, fgcolor: look.page, fillmode: "overlay" } },
      text: rows.map((row, i) => {
        const never = cell(column, row) === 0;
        return `${aboutPoint(row)}<br>${name}: ${never ? `on no step of ${plain(data.paths, 0)} paths` : `${ranged(marks[i], "chance")} of steps`}`;
      }),
      textposition: "none",
      hovertemplate: "%{text}<extra></extra>",
    });
  };
  ofSteps("inventory_limit_steps.mean", "at the inventory limit", colours[0], "");
  if (data.exposure_limited) ofSteps("exposure_limit_steps.mean", "at the exposure limit", colours[1], "/");
  BREAKERS.forEach((reason, place) => {
    const at = (row) => (data.breakers[row] || {})[reason];
    if (!rows.some(at)) return;
    const name = reason.replace("_", " ");
    const colour = colours[(2 + place) % MOST];
    traces.push({
      type: "bar",
      name: `after a ${name} trip`,
      x,
      y: rows.map((row) => (at(row) ? at(row).after : null)),
      marker: { color: colour, pattern: { shape: "x", solidity: 0.25, fgcolor: look.page, fillmode: "overlay" } },
      text: rows.map((row) =>
        at(row) ? `${aboutPoint(row)}<br>steps after a ${name} trip: ${format(at(row).after, "chance")} of all` : "",
      ),
      textposition: "none",
      hovertemplate: "%{text}<extra></extra>",
    });
    traces.push({
      type: "scatter",
      mode: "markers",
      name: `${name} breaker`,
      x,
      y: rows.map((row) => (at(row) ? at(row).chance[0] || at(row).chance[2] : null)),
      error_y: whiskers(
        rows.map((row) => (at(row) && at(row).chance[0] ? at(row).chance : null)),
        colour,
      ),
      yaxis: "y2",
      xaxis: "x2",
      marker: {
        size: 9,
        color: colour,
        symbol: rows.map((row) => (at(row) && at(row).chance[0] ? SYMBOLS[place] : "triangle-down-open")),
      },
      text: rows.map((row) =>
        at(row) ? `${aboutPoint(row)}<br>${name} breaker tripped first on ${at(row).text} of paths` : "",
      ),
      hovertemplate: "%{text}<extra></extra>",
    });
  });
  const two = traces.some((trace) => trace.yaxis === "y2");
  const axisName = escapeText(axis.name);
  draw("plot-bound", traces, {
    height: two ? 540 : 380,
    barmode: "group",
    bargap: 0.3,
    showlegend: true,
    xaxis: { type: "category", anchor: "y", ...(two ? {} : titled(axisName)) },
    yaxis: {
      domain: two ? [0.5, 1] : [0, 1],
      ...titled("share of steps"),
      ...scaled("chance"),
      rangemode: "tozero",
    },
    ...(two
      ? {
          xaxis2: { type: "category", anchor: "y2", matches: "x", ...titled(axisName) },
          yaxis2: { domain: [0, 0.38], ...titled("share of paths"), ...scaled("chance"), rangemode: "tozero" },
        }
      : {}),
  });
  $("bound-caption").textContent =
    `Share of a path's steps by ${axis.name} in which a limit left a side no size, or that came after a breaker's first trip` +
    (two
      ? "; below, the share of paths on which each breaker was the first to trip, with exact 95% intervals. An open triangle is the upper bound where it tripped on none." +
        (rows.some((row) => (data.breakers[row] || {}).any)
          ? " Where several breakers are set and the paths were not looked at, they are told together, as any."
          : "")
      : `; ${data.unbroken} at these points.`);
}

function drawOvershoot() {
  const look = theme();
  const row = Number($("overshoot-point").value);
  const metric = "breaker_overshoot";
  const parts = ["breaker_overshoot", "delay_cost", "unwinding_cost", "realised_overshoot"].filter((name) =>
    distributionOf(name, row),
  );
  const found = distributionOf(metric, row);
  draw("plot-overshoot", [bars(metric, row, look.points[0], {}, true), ...strip(metric, row, 0, look.points[0])], {
    height: 340,
    xaxis: { ...titled("drawdown at the first trip less the limit, $"), ...scaled("$"), anchor: "y2" },
    yaxis: { domain: [0.26, 1], tickformat: ".2~%", rangemode: "tozero", ...titled(`share of trips per ${format(found.width, "$")}`) },
    yaxis2: { domain: [0, 0.22], range: [-0.6, 0.6], tickvals: [], showgrid: false, zeroline: false, fixedrange: true },
  });
  const trips = found.counts.reduce((sum, count) => sum + count, 0);
  $("overshoot-caption").textContent =
    `What the breaker did not save at point ${data.points[row].id}, over ${plain(trips, 0)} trips of ${plain(found.paths, 0)} paths: ` +
    `${parts.map((name) => `${name} ${ranged(markOf(name, row, "mean"), "$")}`).join("; ")}. ` +
    "Means with 95% intervals; the distribution is that of the jump alone, with its quantiles below.";
}

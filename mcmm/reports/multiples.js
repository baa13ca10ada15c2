// Small multiples: one panel for each value along an axis, the others held, all on the same scales.

const PANELS = 12;

function setUpMultiples() {
  const select = $("multiples-axis");
  if (!select) return;
  wide.forEach((axis) => select.append(option(data.axes.indexOf(axis), axis.name)));
  let filter = holdOthers($("multiples-controls"), [data.axes[Number(select.value)]], () => redraw("plot-multiples"));
  select.addEventListener("change", () => {
    filter = holdOthers($("multiples-controls"), [data.axes[Number(select.value)]], () => redraw("plot-multiples"));
    redraw("plot-multiples");
  });
  figure("plot-multiples", () => drawMultiples(data.axes[Number(select.value)], filter));
}

function drawMultiples(axis, filter) {
  const look = theme();
  const metric = $("distribution-metric").value;
  const unit = data.units[metric];
  const onIt = data.points
    .map((_, row) => row)
    .filter((row) => filter(row))
    .sort((a, b) => axis.of[a] - axis.of[b]);
  const rows = thin(
    onIt.filter((row) => distributionOf(metric, row)),
    PANELS,
  );
  const across = Math.min(rows.length || 1, printing || !narrow.matches ? 3 : 1);
  const down = Math.ceil(rows.length / across) || 1;
  const traces = [];
  const layout = {
    height: 70 + (narrow.matches && !printing ? 190 : 210) * down,
    annotations: [],
    margin: { l: 8, r: 12, t: 28, b: 8 },
  };
  const range = sharedRange(metric, rows);
  const highest = Math.max(
    0,
    ...rows.map((row) => {
      const found = distributionOf(metric, row);
      return Math.max(...found.counts) / found.counts.reduce((sum, count) => sum + count, 0) / found.width;
    }),
  );
  rows.forEach((row, place) => {
    const [i, j] = [Math.floor(place / across), place % across];
    const n = place ? String(place + 1) : "";
    const colour = look.points[0];
    const lowest = i === down - 1 || place + across >= rows.length;
    traces.push(bars(metric, row, colour, { xaxis: `x${n}`, yaxis: `y${n}`, showlegend: false }));
    const marks = [
      ["p50", "line-ns", "median", 14],
      ["mean", "diamond", "mean", 8],
      ["value_at_risk_95", "triangle-down-open", "value at risk, 95%", 8],
      ["expected_shortfall_95", "x-thin", "expected shortfall, 95%", 8],
    ].filter(([part]) => markOf(metric, row, part));
    for (const [part, symbol, told, size] of marks) {
      const mark = markOf(metric, row, part);
      const at = part.includes("_") ? turned(mark) : mark;
      traces.push({
        type: "scatter",
        mode: "markers",
        xaxis: `x${n}`,
        yaxis: `y${n}`,
        x: [at[0]],
        y: [-0.07 * highest],
        error_x: whiskers([at], look.points[1]),
        marker: { symbol, size, color: look.points[1], line: { color: look.points[1], width: 2 } },
        text: [`point ${data.points[row].id}<br>${told}: ${ranged(mark, unit)}`],
        hovertemplate: "%{text}<extra></extra>",
        showlegend: false,
      });
    }
    const domain = [j / across + (j ? 0.03 : 0), (j + 1) / across];
    const top = 1 - i / down;
    layout[`xaxis${n}`] = {
      domain,
      anchor: `y${n}`,
      range,
      ...scaled(unit),
      nticks: 5,
      ...(lowest ? titled(axisTitle(metric)) : { showticklabels: down < 3 }),
    };
    layout[`yaxis${n}`] = {
      domain: [top - 1 / down + (lowest && i === down - 1 ? 0.02 : 0.06), top - 0.1 / down],
      anchor: `x${n}`,
      range: [-0.14 * highest, 1.05 * highest],
      tickformat: ".1~%",
      nticks: 4,
      showticklabels: j === 0,
      zeroline: true,
    };
    layout.annotations.push(panelTitle(n, escapeText(`${axis.short} ${axis.values[axis.of[row]]}`)));
  });
  draw("plot-multiples", traces, layout);
  const held = data.axes.filter((other) => other !== axis && other.values.length > 1);
  const missing = onIt.length - rows.length;
  $("multiples-caption").textContent =
    `${metric} by ${axis.name}: histogram; bar the median, diamond the mean, triangle the value at risk and cross the ` +
    "expected shortfall at 95% (for money, where the loss lies), with 95% intervals." +
    (held.length && rows.length
      ? ` Held: ${held.map((other) => `${other.name} ${other.values[other.of[rows[0]]]}`).join(", ")}.`
      : "") +
    (missing ? ` ${missing} of ${onIt.length} values are not shown: the page does not carry this metric there.` : "");
}

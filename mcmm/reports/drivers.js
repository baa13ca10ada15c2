// What drives a number: shares of its variance by axis, and rank correlations.

function setUpDrivers() {
  const select = $("drivers-metric");
  if (!select || !data.drivers) return;
  for (const column of Object.keys(data.drivers.columns))
    select.append(option(column, labelOf[column] || column, column === data.objective.column));
  select.addEventListener("change", () => redraw("plot-drivers"));
  figure("plot-drivers", drawDrivers);
}

function drawDrivers() {
  const look = theme();
  const { method, axes } = data.drivers;
  const found = data.drivers.columns[$("drivers-metric").value];
  const order = axes.map((_, i) => i);
  const size = (i) => (found.total_order ? found.total_order[i] : Math.abs(found.correlation[i] || 0));
  order.sort((a, b) => size(a) - size(b));
  const y = order.map((i) => escapeText(axes[i].short));
  const pick = (part) => order.map((i) => (found[part] ? found[part][i] : null));
  const marks = (part) =>
    order.map((i) => [
      found[part][i],
      found[`${part}_low`] ? found[`${part}_low`][i] : null,
      found[`${part}_high`] ? found[`${part}_high`][i] : null,
    ]);
  const told = (mark) =>
    mark[0] === null
      ? "none"
      : plain(mark[0], 2) + (mark[1] === null ? "" : ` (${plain(mark[1], 2)} to ${plain(mark[2], 2)})`);
  const bar = (part, name, colour, pattern, more = {}) => ({
    type: "bar",
    orientation: "h",
    name,
    y,
    x: pick(part),
    error_x: found[`${part}_low`] ? whiskers(marks(part), look.text) : undefined,
    marker: { color: colour, pattern: { shape: pattern, solidity: 0.25, fgcolor: look.page, fillmode: "overlay" } },
    text: marks(part).map((mark, i) => `${escapeText(axes[order[i]].name)}<br>${name}: ${told(mark)}`),
    textposition: "none",
    hovertemplate: "%{text}<extra></extra>",
    ...more,
  });
  const shares = Boolean(found.first_order);
  const traces = [];
  if (shares)
    traces.push(
      bar("total_order", "with interactions (total order)", look.points[5], "/"),
      bar("first_order", "alone (first order)", look.points[0], ""),
    );
  traces.push(
    bar("correlation", "rank correlation", look.points[1], "x", shares ? { xaxis: "x2", yaxis: "y2" } : {}),
  );
  const stacked = shares && narrow.matches && !printing;
  const panels = shares
    ? stacked
      ? [{ domain: [0, 1] }, { domain: [0.56, 1] }, { domain: [0, 1] }, { domain: [0, 0.36] }]
      : [{ domain: [0, 0.56] }, {}, { domain: [0.64, 1] }, {}]
    : [{}, {}];
  const height = 150 + 44 * axes.length * (stacked ? 2 : 1) + (stacked ? 90 : 0);
  draw("plot-drivers", traces, {
    height,
    barmode: "group",
    showlegend: true,
    xaxis: {
      anchor: "y",
      ...titled(shares ? "share of the variance" : "rank correlation"),
      ...(shares ? { rangemode: "tozero" } : { range: [-1.05, 1.05] }),
      ...panels[0],
      zeroline: true,
    },
    yaxis: { type: "category", anchor: "x", ...panels[1] },
    ...(shares
      ? {
          xaxis2: { anchor: "y2", range: [-1.05, 1.05], ...titled("rank correlation"), zeroline: true, ...panels[2] },
          yaxis2: { type: "category", anchor: "x2", showticklabels: stacked, ...panels[3] },
        }
      : {}),
  });
  const how = {
    sobol: "Sobol indices over the axes' ranges; intervals are 95%, by bootstrap.",
    grid: "Sobol indices over the cells of the grid, each value of an axis as likely as another: sums over the study's own points, which have no sampling interval.",
    ranks: "Spearman's rank correlation over the study's points, with 95% intervals (Bonett and Wright).",
  }[method];
  const texts = axes.filter((_, i) => found.correlation[i] === null).map((axis) => axis.name);
  $("drivers-caption").textContent =
    `${labelOf[$("drivers-metric").value] || $("drivers-metric").value}. ${how}` +
    (texts.length ? ` ${texts.join(", ")}: no order, or no change, and so no rank correlation.` : "");
}

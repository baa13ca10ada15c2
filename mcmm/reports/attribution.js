// Where the mean pnl comes from, along an axis.

let attributionFilter = () => true;

function setUpAttribution() {
  figure("plot-attribution", drawAttribution);
  const box = $("attribution-controls");
  const select = element("select", { id: "attribution-axis" });
  (wide.length ? wide : data.axes).forEach((axis) => select.append(option(data.axes.indexOf(axis), axis.name)));
  const hold = () => {
    attributionFilter = holdOthers(box, [data.axes[Number(select.value)]], () =>
      redraw("plot-attribution", "plot-bound"),
    );
  };
  select.addEventListener("change", () => {
    hold();
    redraw("plot-attribution", "plot-bound");
  });
  box.append(element("label", {}, "Along", select));
  hold();
}

// The axis chosen, the points on it that agree with the other choices, and its value at each.
function alongAxis() {
  const axis = data.axes[Number($("attribution-axis").value)];
  const rows = data.points
    .map((_, row) => row)
    .filter(attributionFilter)
    .sort((a, b) => axis.of[a] - axis.of[b]);
  return { axis, rows, x: rows.map((row) => axis.values[axis.of[row]]) };
}

function drawAttribution() {
  const look = theme();
  const { axis, rows, x } = alongAxis();
  const part = (column, name, colour, pattern, sign = 1, more = []) => ({
    type: "bar",
    name,
    x,
    y: rows.map((row) => sign * cell(column, row)),
    marker: { color: colour, pattern: { shape: pattern, solidity: 0.25, fgcolor: look.page, fillmode: "overlay" } },
    text: rows.map((row) => `${aboutPoint(row)}<br>${lines(row, [column, ...more])}`),
    textposition: "none",
    hovertemplate: "%{text}<extra></extra>",
  });
  const error = (halves, colour) => ({ type: "data", array: halves, color: colour, thickness: 1.5, width: 5 });
  const traces = [
    {
      ...part("spread_pnl.mean", "spread, from the uninformed", look.parts.spread, "", 1, ["informed_pnl.mean"]),
      y: rows.map((row) => cell("spread_pnl.mean", row) - (cell("informed_pnl.mean", row) || 0)),
    },
    part("informed_pnl.mean", "taken by the informed", look.parts.informed, ".", 1, ["informed_volume.mean"]),
    part("inventory_pnl.mean", "inventory", look.parts.inventory, "/"),
    part("fees.mean", "fees (paid: down)", look.parts.fees, "x", -1),
    {
      type: "scatter",
      mode: "markers",
      name: "pnl_fair, their sum",
      x,
      y: rows.map((row) => cell("pnl_fair.mean", row)),
      marker: { symbol: "diamond", size: 10, color: look.page, line: { color: look.text, width: 2 } },
      error_y: error(
        rows.map((row) => reach("pnl_fair.mean", row) || 0),
        look.text,
      ),
      text: rows.map((row) => `${aboutPoint(row)}<br>${lines(row, ["pnl_fair.mean", "pnl_settled.mean"])}`),
      hovertemplate: "%{text}<extra></extra>",
    },
  ];
  const luck = rows.map((row) => data.settlement.mean[row]);
  const apart = luck.some((value) => value !== null && value !== 0);
  if (apart)
    traces.push({
      type: "bar",
      name: "settlement",
      x,
      y: luck,
      yaxis: "y2",
      xaxis: "x2",
      marker: { color: look.parts.settlement },
      error_y: error(
        rows.map((row) => data.settlement.reach * (data.settlement.error[row] || 0)),
        look.text,
      ),
      text: rows.map(
        (row) =>
          `${aboutPoint(row)}<br>pnl_settled less pnl_fair: ${format(data.settlement.mean[row], "$")} \u00b1 ${format(data.settlement.reach * data.settlement.error[row], "$")}`,
      ),
      textposition: "none",
      hovertemplate: "%{text}<extra></extra>",
    });
  const axisName = escapeText(axis.name);
  draw("plot-attribution", traces, {
    height: apart ? 560 : 430,
    barmode: "relative",
    bargap: 0.35,
    showlegend: true,
    xaxis: { type: "category", anchor: "y", ...(apart ? { showticklabels: true } : titled(axisName)) },
    yaxis: { domain: apart ? [0.42, 1] : [0, 1], ...titled("mean, $ a path"), ...scaled("$"), zeroline: true },
    ...(apart
      ? {
          xaxis2: { type: "category", anchor: "y2", matches: "x", ...titled(axisName) },
          yaxis2: { domain: [0, 0.3], ...titled("settlement, $"), ...scaled("$"), zeroline: true },
        }
      : {}),
  });
  const held = data.axes
    .filter((other) => other !== axis && other.values.length > 1)
    .map((other) => `${other.name} ${rows.length ? other.values[other.of[rows[0]]] : ""}`);
  $("attribution-caption").textContent =
    `Mean of each part by ${axis.name}, with 95% intervals.` + (held.length ? ` Held: ${held.join(", ")}.` : "");
}

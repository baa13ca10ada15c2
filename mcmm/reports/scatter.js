// The map of points that lie on no grid: a dot each, coloured by the number shown.

// A value's place along an axis: the number itself, or a text's place among the axis' texts.
function placeOf(axis, row) {
  const text = axis.values[axis.of[row]];
  return axis.numeric ? Number(text) : text;
}

function drawScatter(column, unit, [across, down], rows) {
  const look = theme();
  const shown = rows.filter((row) => cell(column, row) !== null);
  const values = shown.map((row) => cell(column, row));
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const signed = least < 0 && most > 0;
  const size = Math.max(-least, most);
  const best = data.objective.best;
  draw(
    "plot-map",
    [
      {
        type: "scatter",
        mode: "markers",
        x: shown.map((row) => placeOf(across, row)),
        y: shown.map((row) => placeOf(down, row)),
        text: shown.map((row) => `${aboutPoint(row)}<br>${lines(row, [column])}`),
        hovertemplate: "%{text}<extra></extra>",
        marker: {
          size: shown.map((row) => (row === best ? 18 : 11)),
          symbol: shown.map((row) => (row === best ? "star" : "circle")),
          color: values,
          colorscale: signed ? look.diverging : "Cividis",
          cmin: signed ? -size : least,
          cmax: signed ? size : most,
          line: {
            color: look.text,
            width: shown.map((row) => (row === best ? 2.5 : data.objective.tied.includes(row) ? 1.5 : 0)),
          },
          colorbar: {
            thickness: 12,
            outlinewidth: 0,
            ...scaled(unit || ""),
            tickfont: { size: 11 },
            ...(narrow.matches ? { orientation: "h", y: -0.3, yanchor: "top", len: 0.9 } : {}),
          },
        },
      },
    ],
    {
      height: narrow.matches ? 480 : 420,
      margin: { l: 8, r: 12, t: 16, b: 8 },
      xaxis: { ...titled(across.name), type: across.numeric ? "-" : "category" },
      yaxis: { ...titled(down.name), type: down.numeric ? "-" : "category" },
    },
  );
}

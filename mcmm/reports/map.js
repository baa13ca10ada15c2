// Any number of the summary over two axes, or along the only one.

const wide = data.axes.filter((axis) => axis.values.length > 1);

// Sliders that hold the axes not drawn at one value; they open at the best point's.
function holdOthers(box, axes, redrawn) {
  box.querySelectorAll(".held").forEach((label) => label.remove());
  const held = new Map();
  for (const axis of data.axes) {
    if (axes.includes(axis)) continue;
    const told = element("output");
    const slider = element("input", { type: "range", min: 0, max: axis.values.length - 1, step: 1 });
    slider.value = String(axis.of[firstRow()]);
    slider.setAttribute("aria-label", axis.name);
    const tell = () => {
      told.textContent = axis.values[Number(slider.value)];
      slider.setAttribute("aria-valuetext", told.textContent);
    };
    slider.addEventListener("input", () => {
      tell();
      redrawn();
    });
    tell();
    held.set(axis, slider);
    if (axis.values.length > 1)
      box.append(element("label", { className: "held" }, element("span", {}, `${axis.name}: `, told), slider));
  }
  return (row) => [...held].every(([axis, slider]) => axis.of[row] === Number(slider.value));
}

let mapFilter = () => true;

function setUpMap() {
  if (!wide.length) return;
  figure("plot-map", drawMap);
  fillMetrics($("map-metric"), data.objective.column);
  $("map-metric").addEventListener("change", drawMap);
  if (wide.length > 1) {
    for (const [id, text, start] of [
      ["map-x", "Across", 1],
      ["map-y", "Down", 0],
    ]) {
      const select = element("select", { id });
      wide.forEach((axis, i) => select.append(option(i, axis.name, i === start)));
      select.addEventListener("change", () => swapAxes(id));
      $("map-controls").append(element("label", {}, text, select));
    }
  } else {
    document.querySelector(".two-axes").hidden = true;
  }
  holdMap();
}
let before = { "map-x": "1", "map-y": "0" };

function swapAxes(changed) {
  const other = changed === "map-x" ? "map-y" : "map-x";
  if ($("map-x").value === $("map-y").value) $(other).value = before[changed];
  before = { "map-x": $("map-x").value, "map-y": $("map-y").value };
  holdMap();
  drawMap();
}
const mapAxes = () => (wide.length > 1 ? [wide[Number($("map-x").value)], wide[Number($("map-y").value)]] : [wide[0]]);
function holdMap() {
  if (data.scattered) return; // no two of its points share the other axes' values
  mapFilter = holdOthers($("map-controls"), mapAxes(), drawMap);
}

function drawMap() {
  if (!wide.length) return;
  const column = $("map-metric").value;
  const unit = unitOf[column];
  const axes = mapAxes();
  const rows = data.points.map((_, row) => row).filter(mapFilter);
  const held = data.axes
    .filter((axis) => !axes.includes(axis) && !data.scattered)
    .map((axis) => `${axis.name} ${rows.length ? axis.values[axis.of[rows[0]]] : ""}`);
  const group = data.menu.find((entry) => entry.options.some((choice) => choice.column === column));
  $("map-caption").textContent =
    `${labelOf[column]}${unit && unit !== "chance" ? `, ${unit}` : ""}. ${group.description}` +
    (held.length ? ` Held: ${held.join(", ")}.` : "");
  if (axes.length === 1) return drawLine(column, unit, axes[0], rows);
  return (data.scattered ? drawScatter : drawHeatmap)(column, unit, axes, rows);
}

function drawLine(column, unit, axis, rows) {
  const sorted = [...rows].sort((a, b) => axis.of[a] - axis.of[b]);
  const halves = sorted.map((row) => reach(column, row));
  const chance = data.chances[column];
  const error = chance
    ? {
        type: "data",
        symmetric: false,
        array: sorted.map((row) => chance.high[row] - cell(column, row)),
        arrayminus: sorted.map((row) => cell(column, row) - chance.low[row]),
      }
    : halves.every((half) => half !== null)
      ? { type: "data", array: halves }
      : undefined;
  draw(
    "plot-map",
    [
      {
        type: "scatter",
        mode: "lines+markers",
        x: sorted.map((row) => axis.values[axis.of[row]]),
        y: sorted.map((row) => cell(column, row)),
        error_y: error,
        text: sorted.map((row) => `${aboutPoint(row)}<br>${lines(row, [column])}`),
        hovertemplate: "%{text}<extra></extra>",
        line: { color: theme().accent, width: 2 },
        marker: {
          size: sorted.map((row) => (row === data.objective.best ? 14 : 8)),
          symbol: sorted.map((row) => (row === data.objective.best ? "star" : "circle")),
          color: theme().accent,
        },
      },
    ],
    {
      height: 360,
      margin: { l: 8, r: 12, t: 16, b: 8 },
      xaxis: { type: "category", ...titled(axis.name) },
      yaxis: { ...titled(labelOf[column]), ...scaled(unit) },
    },
  );
}

function drawHeatmap(column, unit, [across, down], rows) {
  const look = theme();
  const empty = () => down.values.map(() => across.values.map(() => null));
  const [z, text, about] = [empty(), empty(), empty()];
  const shapes = [];
  for (const row of rows) {
    const [i, j] = [down.of[row], across.of[row]];
    z[i][j] = cell(column, row);
    const chance = data.chances[column];
    if (chance && chance.text[row] === "none") z[i][j] = null;
    text[i][j] = chance ? chance.text[row] : "";
    about[i][j] = `${aboutPoint(row)}<br>${lines(row, [column])}`;
    const best = row === data.objective.best;
    if (best || data.objective.tied.includes(row)) {
      shapes.push({
        type: "rect",
        x0: j - 0.49,
        x1: j + 0.49,
        y0: i - 0.47,
        y1: i + 0.47,
        line: { color: look.text, width: best ? 3.5 : 2, dash: best ? "solid" : "dot" },
      });
    }
  }
  const values = z.flat().filter((value) => value !== null);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const digits = Math.max(0, Math.min(5, digitsOf(Math.max(-least, most), 3)));
  const even =
    unit === "$" ? (most < 1 && least > -1 ? Math.max(2, digits) : Math.max(-least, most) >= 1000 ? 0 : 2) : digits;
  if (!data.chances[column])
    z.forEach((line, i) =>
      line.forEach((value, j) => {
        if (value !== null) text[i][j] = unit === "chance" ? format(value, unit) : withDigits(value, unit, even);
      }),
    );
  const signed = least < 0 && most > 0;
  const size = Math.max(-least, most);
  const width = $("plot-map").clientWidth || 800;
  const roomy = (width - 110) / across.values.length > (narrow.matches ? 38 : 46);
  draw(
    "plot-map",
    [
      {
        type: "heatmap",
        z,
        x: across.values.map((_, j) => j),
        y: down.values.map((_, i) => i),
        text,
        customdata: about,
        hoverongaps: false,
        texttemplate: roomy ? "%{text}" : "",
        textfont: { size: narrow.matches ? 10 : 13 },
        hovertemplate: "%{customdata}<extra></extra>",
        xgap: 2,
        ygap: 2,
        colorscale: signed ? look.diverging : "Cividis",
        zmin: signed ? -size : least,
        zmax: signed ? size : most,
        colorbar: {
          thickness: 12,
          outlinewidth: 0,
          ...scaled(unit || ""),
          tickfont: { size: 11 },
          ...(narrow.matches ? { orientation: "h", y: -0.22, yanchor: "top", len: 0.9 } : {}),
        },
      },
    ],
    {
      height: Math.max(300, 110 + 52 * down.values.length) + (narrow.matches ? 60 : 0),
      shapes,
      dragmode: false,
      xaxis: {
        ...titled(across.name),
        tickvals: across.values.map((_, j) => j),
        ticktext: across.values.map(escapeText),
        showgrid: false,
        zeroline: false,
        fixedrange: true,
      },
      yaxis: {
        ...titled(down.name),
        tickvals: down.values.map((_, i) => i),
        ticktext: down.values.map(escapeText),
        showgrid: false,
        zeroline: false,
        fixedrange: true,
      },
    },
  );
}

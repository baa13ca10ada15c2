// The figures of a page about a recorded market: each comes with its traces and axes, and is drawn in the theme.

const figures = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

// Okabe and Ito's colours, which colour-blind readers tell apart; traces differ in their dashes and symbols too.
const LIGHT = { text: "#1a1f25", line: "#d5dbe1", page: "#ffffff", colours: ["#0072B2", "#D55E00", "#009E73", "#8A6D00"] };
const DARK = { text: "#e7eaee", line: "#363d46", page: "#14171b", colours: ["#56B4E9", "#E69F00", "#2fc49a", "#F0E442"] };

function draw() {
  const theme = dark.matches && !printing ? DARK : LIGHT;
  for (const figure of figures) {
    const traces = figure.traces.map((trace) => {
      const colour = theme.colours[trace.colour];
      const { colour: _, dash, symbol, ...rest } = trace;
      return {
        ...rest,
        line: { color: colour, dash: dash || "solid", width: 1.6, ...(trace.line || {}) },
        marker: { color: colour, symbol: symbol || "circle", size: 7, opacity: trace.type === "bar" ? 0.75 : 1 },
        error_y: trace.error_y && { ...trace.error_y, color: colour, thickness: 1.2 },
      };
    });
    const axis = (given) => ({ gridcolor: theme.line, zerolinecolor: theme.line, automargin: true, ...given });
    const axes = Object.fromEntries(Object.entries(figure.axes).map(([name, given]) => [name, axis(given)]));
    const layout = {
      ...axes,
      paper_bgcolor: theme.page,
      plot_bgcolor: theme.page,
      font: { color: theme.text, family: "inherit", size: 13 },
      margin: { l: 60, r: 15, t: 30, b: 50 },
      // Its rows grow upwards from the plot, and automatic margins make room for as many as there are.
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      barmode: "group",
      height: figure.height,
    };
    Plotly.react(figure.id, traces, layout, { responsive: true, displaylogo: false });
  }
}

draw();
dark.addEventListener("change", draw);
addEventListener("beforeprint", () => {
  printing = true;
  draw();
});
addEventListener("afterprint", () => {
  printing = false;
  draw();
});
document.documentElement.dataset.ready = "true";

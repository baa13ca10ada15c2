// The shadow price of each limit: what twin paths without it earn more, and lose more.

const PRICES = [
  ["forgone", "pnl forgone", "mean pnl_settled without the limit, less with it, $ a path"],
  ["drawdown", "drawdown avoided", "mean max_drawdown without the limit, less with it, $"],
  ["shortfall", "shortfall avoided", "expected shortfall at 95% without the limit, less with it, $"],
];

function setUpLimits() {
  figure("plot-limits", drawLimits);
}

function drawLimits() {
  const look = theme();
  const prices = data.limits.prices.filter((price) => !price.problem).reverse();
  const stacked = narrow.matches && !printing;
  const y = prices.map((price) => escapeText(`${price.setting.split(".").pop()} ${price.value}`));
  const layout = {
    height: stacked ? 130 + 3 * (90 + 34 * prices.length) : 130 + 46 * prices.length,
    margin: { l: 8, r: 12, t: 28, b: 8 },
    annotations: [],
  };
  const traces = PRICES.map(([key, title, told], place) => {
    const n = place ? String(place + 1) : "";
    const marks = prices.map((price) => price[key]);
    const domain = [place / 3 + (place ? 0.03 : 0), (place + 1) / 3 - (place < 2 ? 0.01 : 0)];
    const room = [1 - (place + 1) / 3 + 0.12, 1 - place / 3 - 0.03];
    layout[`xaxis${n}`] = {
      anchor: `y${n}`,
      domain: stacked ? [0, 1] : domain,
      ...scaled("$"),
      ...titled("$ a path"),
      rangemode: "tozero",
      zeroline: true,
      zerolinewidth: 2,
      nticks: stacked ? 4 : 6,
      tickangle: 0,
    };
    layout[`yaxis${n}`] = {
      type: "category",
      anchor: `x${n}`,
      domain: stacked ? room : [0, 1],
      showticklabels: stacked || !place,
      range: [-0.6, prices.length - 0.4],
    };
    layout.annotations.push(panelTitle(n, `<b>${title}</b>`));
    return {
      type: "scatter",
      mode: "markers",
      name: title,
      xaxis: `x${n}`,
      yaxis: `y${n}`,
      x: marks.map((mark) => mark[0]),
      y,
      error_x: whiskers(marks, look.points[place], { thickness: 2, width: 6 }),
      marker: { size: 10, symbol: SYMBOLS[place], color: look.points[place] },
      text: prices.map((price) => `${escapeText(price.setting)} ${escapeText(price.value)}<br>${told}: ${ranged(price[key], "$")}`),
      hovertemplate: "%{text}<extra></extra>",
    };
  });
  draw("plot-limits", traces, layout);
}

// For `--png`: every figure as a picture, written into the document for the process that waits for it.

(async () => {
  const pictures = {};
  for (const [id, drawer] of figures) {
    await drawer();
    const { data: traces, layout } = $(id);
    const picture = { data: traces, layout: { ...layout, paper_bgcolor: theme().page, width: 1100 } };
    pictures[id.replace("plot-", "")] = await Plotly.toImage(picture, {
      format: "png",
      width: 1100,
      height: layout.height,
      scale: data.scale,
    });
  }
  document.body.replaceChildren(element("pre", { id: "pictures", textContent: JSON.stringify(pictures) }));
})();

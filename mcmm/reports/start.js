// The tables, and everything set going.

function setUpTables() {
  const table = $("points-table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) =>
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (line) => line.cells[place].dataset.key;
      const sorted = [...body.rows].sort((a, b) => {
        const [left, right] = [key(a), key(b)];
        if (left === "" || right === "") return left === right ? 0 : left === "" ? 1 : -1;
        const order =
          Number.isNaN(Number(left)) || Number.isNaN(Number(right))
            ? left.localeCompare(right)
            : Number(left) - Number(right);
        return down ? -order : order;
      });
      body.append(...sorted);
    }),
  );
  $("settings-all").addEventListener("change", (event) => {
    document.querySelector("table.settings").classList.toggle("changed-only", !event.target.checked);
  });
}

setUpDistributions();
setUpMultiples();
setUpMap();
setUpTradeoff();
setUpAttribution();
setUpBound();
setUpTime();
setUpDrivers();
setUpLimits();
setUpTables();
setUpRecipes();
watch();
dark.addEventListener("change", drawAll);
narrow.addEventListener("change", drawAll);
addEventListener("beforeprint", () => {
  printing = true;
  drawAll();
});
addEventListener("afterprint", () => {
  printing = false;
  drawAll();
});
document.documentElement.dataset.ready = "true";

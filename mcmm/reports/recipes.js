// A point's scenario as TOML, to look at and to copy.

function tomlOf(row) {
  const changes = data.recipes.changes[row];
  if (changes.whole) return changes.whole.join("\n") + "\n";
  return data.recipes.lines.map((line, place) => changes[place] ?? line).join("\n") + "\n";
}

function setUpRecipes() {
  const select = $("recipe-point");
  for (const row of data.objective.order)
    if (row in data.recipes.changes)
      select.append(option(row, `${data.points[row].id}: ${data.points[row].label}`, row === firstRow()));
  const show = () => {
    $("recipe").textContent = tomlOf(Number(select.value));
    $("recipe-told").textContent = "";
  };
  select.addEventListener("change", show);
  $("recipe-copy").addEventListener("click", async () => {
    const text = tomlOf(Number(select.value));
    const told = $("recipe-told");
    try {
      await navigator.clipboard.writeText(text);
      told.textContent = "Copied.";
    } catch {
      // Where a page from a file may not write to the clipboard, the text is selected for the reader's own keys.
      $("recipe-box").open = true;
      getSelection().selectAllChildren($("recipe"));
      told.textContent = document.execCommand("copy") ? "Copied." : "Selected below: copy it with the keyboard.";
    }
  });
  show();
}

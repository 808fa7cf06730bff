// Pictures of held-out prompts side by side: the base and each arm from the same initial noise, for one seed (or annotator and seed) at a time; and
// before and after, with what is liked of each.
(() => {
  const grids = report.grids;
  const select = byId("grid-replicate");

  function table(grid) {
    const head = element("tr", {}, element("th", { scope: "col" }, "prompt"), ...grid.columns.map((name) => element("th", { scope: "col" }, name)));
    const rows = grid.rows.map((row) =>
      element("tr", {}, element("th", { scope: "row" }, row.prompt, element("span", { class: "range" }, row.kind), row.source === null ? null : picture(row.source, `source of: ${row.prompt}`)),
        ...row.cells.map((cell, i) => element("td", {}, ...(cell === null ? ["–"] : [picture(cell.picture, `${grid.columns[i]}: ${row.prompt}`), mark(cell.met, cell.value), ...liked(cell)])))));
    return element("table", { class: "grid" }, element("thead", {}, head), element("tbody", {}, ...rows));
  }

  function mark(met, value) {
    if (met === null) return value === null ? null : element("span", { class: "mark" }, value.toFixed(3));
    return element("span", { class: `mark ${met ? "yes" : "no"}` }, met ? "✓ as asked" : "✗ not as asked");
  }

  const liked = (cell) => (cell.marks ?? []).map(([name, met]) => element("div", { class: `mark ${met ? "yes" : "no"}` }, `${met ? "✓" : "✗"} ${name}`));

  for (const [i, grid] of report.liked.entries()) byId(`liked-${i}`)?.append(table(grid));
  if (!grids.length) return;
  for (const [i, grid] of grids.entries()) select.append(element("option", { value: i }, grid.title));
  const draw = () => clear(byId("grid")).append(table(grids[Number(select.value)]));
  select.addEventListener("change", draw);
  draw();
})();

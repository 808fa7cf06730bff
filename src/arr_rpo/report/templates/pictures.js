// Pictures of held-out prompts: the base and each arm from the same initial noise, for one seed at a time.
(() => {
  const grids = report.grids;
  if (!grids.length) return;
  const select = byId("grid-seed");
  for (const [i, grid] of grids.entries()) select.append(element("option", { value: i }, grid.title));

  function draw() {
    const grid = grids[Number(select.value)];
    const head = element("tr", {}, element("th", { scope: "col" }, "prompt"), ...grid.columns.map((name) => element("th", { scope: "col" }, name)));
    const rows = grid.rows.map((row) =>
      element("tr", {}, element("th", { scope: "row" }, row.prompt, element("span", { class: "range" }, row.kind), row.source === null ? null : picture(row.source, `source of: ${row.prompt}`)),
        ...row.cells.map((cell, i) => element("td", {}, ...(cell === null ? ["–"] : [picture(cell.picture, `${grid.columns[i]}: ${row.prompt}`), mark(cell.met, cell.value)])))));
    clear(byId("grid")).append(element("table", { class: "grid" }, element("thead", {}, head), element("tbody", {}, ...rows)));
  }

  function mark(met, value) {
    if (met === null) return value === null ? null : element("span", { class: "mark" }, value.toFixed(3));
    return element("span", { class: `mark ${met ? "yes" : "no"}` }, met ? "✓ as asked" : "✗ not as asked");
  }

  select.addEventListener("change", draw);
  draw();
})();

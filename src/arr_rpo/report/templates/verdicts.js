// A browser of judged pairs: filters, pages, and a card for each with the rubric, the probabilities and both pictures.
(() => {
  const all = report.verdicts;
  if (!all.length) return;
  const PAGE = 6;
  let page = 0;
  const filters = ["arm", "criterion", "outcome", "truth"].map((name) => byId(`verdict-${name}`));
  const [arm, criterion, outcome, truth] = filters, text = byId("verdict-text"), list = byId("verdict-list");

  const answered = (p, yes) => p !== null && yes !== null && yes !== undefined && (p > 0.5) !== yes;
  const differs = (verdict, i) => verdict.oracle !== null && verdict.checks[i].p.some((p, side) => answered(p, verdict.oracle.checks[i][side]));
  const asks = (verdict) => [...verdict.checks.map((check) => check.name), ...(verdict.rubric ?? []).map((c) => c.name)];

  function kept(verdict) {
    const about = verdict.checks.map((check, i) => i).filter((i) => !criterion.value || verdict.checks[i].name === criterion.value);
    return (!arm.value || verdict.arm === Number(arm.value))
      && (!outcome.value || verdict.outcome === outcome.value)
      && (!criterion.value || asks(verdict).includes(criterion.value))
      && (!truth.value || (truth.value === "criterion" ? about.some((i) => differs(verdict, i)) : verdict.relation === truth.value))
      && verdict.prompt.toLowerCase().includes(text.value.trim().toLowerCase());
  }

  function draw() {
    const found = all.filter(kept), pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    byId("verdict-count").textContent = `${found.length} of ${all.length} pairs · page ${page + 1} of ${pages}`;
    byId("verdict-back").disabled = page === 0;
    byId("verdict-next").disabled = page === pages - 1;
    clear(list).append(...found.slice(page * PAGE, (page + 1) * PAGE).map((verdict) => element("li", {}, card(verdict))));
    if (!found.length) list.append(element("li", { class: "note" }, "No pair of the sample fits these filters."));
  }

  function card(verdict) {
    const words = { A: "A is better", B: "B is better", tie: "tie", inconsistent: "flip: the order of the pictures decides", failed: "failed" };
    const said = verdict.outcome === null ? "graded alone" : words[verdict.outcome];
    const parts = [said];
    if (verdict.p_a !== null) parts.push(`P(A better) ${verdict.p_a.toFixed(2)}`);
    if (verdict.by_order) parts.push(`A first ${verdict.by_order[0].toFixed(2)}, B first ${verdict.by_order[1].toFixed(2)}`);
    if (verdict.grades) parts.push(`grades ${grades(verdict).join(" and ")}`);
    return element("article", { class: "verdict card", tabindex: 0, "aria-label": `${verdict.prompt}: ${said}` },
      element("h3", {}, verdict.prompt),
      element("p", { class: "meta" }, swatch(verdict.arm), `${report.arms[verdict.arm].name} · ${verdict.run} · update ${verdict.update}`),
      pair(verdict),
      element("p", { class: "said" }, element("strong", {}, verdict.kind === "grades" ? "By grade: " : "Judge: "), parts.join(" · ")),
      oracleLine(verdict),
      verdict.reason ? element("p", { class: "note" }, verdict.reason) : null,
      verdict.checks.length ? checks(verdict) : ownCriteria(verdict),
      rubric(verdict));
  }

  // With two decimals, or with four where the better one would look like the other.
  function grades(verdict) {
    const said = (digits) => verdict.grades.map((g) => (g === null ? "none" : g.toFixed(digits)));
    return "AB".includes(verdict.outcome) && new Set(said(2)).size === 1 ? said(4) : said(2);
  }

  function pair(verdict) {
    const sides = ["A", "B"].slice(0, verdict.pictures.length);
    const figures = sides.map((side, i) => element("figure", {}, picture(verdict.pictures[i], `picture ${side} of: ${verdict.prompt}`),
      element("figcaption", {}, `${side} `,
        verdict.outcome === side ? element("span", { class: "badge judge" }, "judge") : null, " ",
        verdict.oracle?.outcome === side ? element("span", { class: "badge oracle" }, "oracle") : null)));
    if (verdict.source !== null) figures.unshift(element("figure", {}, picture(verdict.source, `source of: ${verdict.prompt}`), element("figcaption", {}, "source")));
    return element("div", { class: "pair" }, ...figures);
  }

  function oracleLine(verdict) {
    if (verdict.oracle === null) return element("p", { class: "note" }, "No oracle knows this prompt.");
    const met = verdict.oracle.met.map((n, i) => `${"AB"[i]} meets ${n} of ${verdict.oracle.criteria.length}`).join(", ");
    const word = { A: "A is better", B: "B is better", tie: "tie" }[verdict.oracle.outcome] ?? "";
    const apart = ["opposite", "judge_undecided", "oracle_undecided"].includes(verdict.relation);
    return element("p", { class: "said" }, element("strong", {}, "Oracle: "), [word, met].filter(Boolean).join(" · "), " ",
      apart ? element("span", { class: "badge differs" }, report.relations[verdict.relation]) : null);
  }

  function checks(verdict) {
    const sides = ["A", "B"].slice(0, verdict.pictures.length), known = verdict.oracle !== null;
    const head = [["criterion", ""], ...sides.map((s) => [`P(yes) ${s}`, "number"]), ...(known ? sides.map((s) => [`oracle ${s}`, ""]) : [])];
    const rows = verdict.checks.map((check, i) =>
      element("tr", { class: differs(verdict, i) ? "differs" : null },
        element("th", { scope: "row" }, element("span", { class: "note" }, `${check.name}: `), check.question),
        ...check.p.map((p) => element("td", { class: "number" }, bar(p), p === null ? "–" : p.toFixed(2))),
        ...(known ? check.p.map((_, side) => yesNo(verdict.oracle.checks[i][side])) : [])));
    return element("div", { class: "scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, ...head.map(([name, kind]) => element("th", { scope: "col", class: kind || null }, name)))),
      element("tbody", {}, ...rows)));
  }

  // Where the judge was asked about no criterion: the prompt's own, by the oracle.
  function ownCriteria(verdict) {
    if (verdict.oracle === null) return null;
    const sides = ["A", "B"].slice(0, verdict.pictures.length);
    const rows = verdict.oracle.criteria.map(([question, answers]) =>
      element("tr", {}, element("th", { scope: "row" }, question), ...answers.map(yesNo)));
    const head = ["what the prompt asks for", ...sides.map((s) => `oracle ${s}`)].map((name) => element("th", { scope: "col" }, name));
    return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
  }

  function bar(p) {
    const inner = element("i");
    inner.style.width = `${100 * (p ?? 0)}%`;
    return element("span", { class: "bar", "aria-hidden": "true" }, inner);
  }

  function yesNo(answer) {
    if (answer === null || answer === undefined) return element("td", {}, "–");
    return element("td", { class: answer ? "yes" : "no" }, answer ? "✓ yes" : "✗ no");
  }

  function rubric(verdict) {
    const criteria = verdict.rubric ?? [];
    if (!criteria.length) return element("p", { class: "note" }, "No rubric was in use.");
    const asked = criteria.map((c) => element("li", {}, `${c.theme ? `${c.theme}: ` : ""}${c.question}`, c.weight !== 1 ? ` (weight ${c.weight})` : ""));
    const details = element("details", {}, element("summary", {}, `Rubric (${criteria.length} criteria)`), element("ol", {}, ...asked));
    details.open = !verdict.checks.length;
    return details;
  }

  function turn(by) {
    page += by;
    draw();
  }

  for (const control of filters) control.addEventListener("change", () => { page = 0; draw(); });
  text.addEventListener("input", () => { page = 0; draw(); });
  byId("verdict-back").addEventListener("click", () => turn(-1));
  byId("verdict-next").addEventListener("click", () => turn(1));
  byId("verdict-clear").addEventListener("click", () => {
    for (const control of [...filters, text]) control.value = "";
    page = 0;
    draw();
  });
  list.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own: back and forth
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.closest("summary, .scroll")) return;
    event.preventDefault();
    turn(by);
    list.querySelector("article")?.focus();
  });
  for (const name of [...new Set(all.flatMap(asks))].sort()) criterion.append(element("option", { value: name }, name));
  for (const i of new Set(all.map((v) => v.arm))) arm.append(element("option", { value: i }, report.arms[i].name));
  draw();
})();

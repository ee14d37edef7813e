const WITH_SCORES = Object.keys(DATA.scores).map(Number);
const arrow = (better) => (better === "lower" ? "↓" : "↑");

function scoreCell(cell, few) {
  if (!cell) return make("td", { class: "quiet" }, "–");
  const counts = [plural(cell.n, "picture"), cell.groups === null ? null : plural(cell.groups, "walk"), cell.excluded ? `${cell.excluded} excluded` : null];
  const found = [cell.better_than.length ? `better than ${cell.better_than.join(", ")}` : null, cell.worse_than.length ? `worse than ${cell.worse_than.join(", ")}` : null,
    cell.groups !== null && cell.groups < few ? "too few walks to tell a difference" : null];
  return make("td", { title: [...counts, ...found].filter(Boolean).join("; ") }, cell.mean, make("span", { class: "quiet" }, ` ${cell.between}`),
    cell.better_than.length ? make("span", {}, ` +${cell.better_than.length}`) : null, cell.worse_than.length ? make("span", { class: "wrong" }, ` −${cell.worse_than.length}`) : null);
}

function scoresOf(index) {
  const { about, rows, few } = DATA.scores[index];
  byId("scores-body").replaceChildren(
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores of maps" }, make("table", {},
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "maps"), ...about.map(([name, title, better]) => make("th", { scope: "col", title }, `${name} ${arrow(better)}`)))),
      make("tbody", {}, ...rows.map(([name, control, cells]) => make("tr", {}, make("th", { scope: "row", class: control ? "quiet" : null }, name), ...cells.map((cell) => scoreCell(cell, few))))))),
    make("ul", { class: "quiet" }, ...about.map(([name, title, better, hides]) => make("li", {}, make("strong", {}, name), ` (${title}; ${better} is better): ${hides}`))));
}

/** Show the mean scores of the maps of one run, beside those of controls. */
function scores() {
  byId("scores-section").hidden = !WITH_SCORES.length;
  if (!WITH_SCORES.length) return;
  byId("scores").append(
    make("p", { class: "quiet" }, "Mean over the explained pictures with its 95 % interval over walks; blank maps are excluded. Below the methods stand controls: maps that know no class, and each method's maps dealt to other pictures. +2 and −1: significantly better than two and worse than one of the others, by a paired test corrected for all pairs; the names are shown under the pointer. explain/scores.csv has a row for each picture."),
    make("p", { class: "row" }, make("label", { for: "scores-run" }, "Run"),
      make("select", { id: "scores-run", onchange: (event) => scoresOf(Number(event.target.value)) }, ...WITH_SCORES.map((index) => make("option", { value: index }, label(index))))),
    make("div", { id: "scores-body" }));
  scoresOf(WITH_SCORES[0]);
}
scores();

const TITLES = {
  split_leaky: "Leaky split",
  split_unknown: "The split may leak",
  balanced_accuracy_reaches_chance: "Not significantly above chance",
  accuracy_not_above_majority: "Not above the majority class",
  few_groups: "Few walks",
  test_few_groups: "Few walks in the test part",
  small_map: "Coarse maps",
  blank_maps: "Blank maps",
  scores_left_out: "Scores left out",
  lattice: "Maps that show the network's grid",
  plain_grid: "The plain grid, since a denser one is a lattice",
  incomplete_cam: "Maps that do not add up to their logit",
  no_pretrained_weights: "No pretrained weights",
  small_image_size: "Photographs read small",
  measured_under_load: "Precision measured under load",
  ece_with_class_weights: "Calibration under class weights",
};
const SIGNS = {
  split_leaky: "leaky",
  split_unknown: "leaky?",
  balanced_accuracy_reaches_chance: "chance",
  accuracy_not_above_majority: "≤ majority",
  few_groups: "few walks",
};
const FIRST = ["split_leaky", "balanced_accuracy_reaches_chance", "accuracy_not_above_majority", "few_groups", "split_unknown"];
const SHOWN_AT_ONCE = 8;
const SENTENCES_AT_ONCE = 4;

const titleOf = (code) => TITLES[code] || code.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

/** Return the numbers of runs as links to their rows, or the words "all runs". */
function runLinks(indices) {
  if (indices.length === RUNS.length && indices.length > 1) return [make("span", { class: "quiet" }, "all runs")];
  const links = indices.slice(0, 24).map((index) =>
    make("button", { class: "link", type: "button", title: RUNS[index].name, onclick: () => showRow(index) }, `#${RUNS[index].number}`));
  if (indices.length > links.length) links.push(make("span", { class: "quiet" }, `and ${indices.length - links.length} more`));
  return links;
}

/** Return a notice per reason for which runs did not complete. */
function failures() {
  const groups = new Map();
  RUNS.forEach((run, index) => {
    if (["completed", "running"].includes(run.status)) return;
    const key = JSON.stringify([run.status, run.error]);
    groups.set(key, [...(groups.get(key) || []), index]);
  });
  return [...groups.values()].map((indices) => {
    const run = RUNS[indices[0]];
    const head = make("p", {}, make("strong", {}, run.status), " ", ...runLinks(indices), indices.length > 1 ? "" : ` ${settingsOf(run) || run.name}`);
    const commands = indices.filter((index) => RUNS[index].command).map((index) => make("li", {}, ...runLinks([index]), " ", make("code", {}, RUNS[index].command)));
    return make("div", { class: "notice error" }, head, make("p", {}, run.error || "No reason was recorded."),
      commands.length ? make("details", {}, make("summary", {}, "Run again"), make("ul", {}, ...commands)) : null);
  });
}

function warning({ code, runs, sentences, more }) {
  const head = make("p", {}, make("strong", {}, titleOf(code)), " ", ...runLinks(runs));
  if (sentences.length === 1) return make("div", { class: "notice" }, head, make("p", {}, sentences[0][0]));
  const list = make("ul", {}, ...sentences.map(([sentence, indices]) => make("li", {}, ...runLinks(indices), " ", sentence)),
    more ? make("li", {}, `and ${more} more in comparison.md`) : null);
  return make("div", { class: "notice" }, head, sentences.length <= SENTENCES_AT_ONCE ? list
    : make("details", {}, make("summary", {}, `${sentences.length + more} sentences, by run`), list));
}

function attention() {
  const rank = (code) => (FIRST.includes(code) ? FIRST.indexOf(code) : FIRST.length);
  const failed = failures();
  const warnings = [...DATA.warnings].sort((a, b) => rank(a.code) - rank(b.code)).map(warning);
  if (DATA.maps.unreadable.length) {
    warnings.push(make("div", { class: "notice" }, make("p", {}, make("strong", {}, "Maps cannot be read "),
      ...runLinks(DATA.maps.unreadable)), make("p", {}, "explain/maps.npz of these runs is damaged, so their maps are not on this page.")));
  }
  const box = byId("notices");
  box.append(...failed.slice(0, SHOWN_AT_ONCE));
  if (failed.length > SHOWN_AT_ONCE) {
    box.append(make("details", { class: "notice error" },
      make("summary", {}, `${failed.length - SHOWN_AT_ONCE} more reasons why runs did not complete`), ...failed.slice(SHOWN_AT_ONCE)));
  }
  box.append(...warnings);
  byId("attention").hidden = !box.childElementCount;
}

const byBalanced = (run) => Boolean(DATA.sets.length) && DATA.sets[run.among].measure === "balanced_accuracy";

/** Draw what ranks a run as a dot on a line from 0 to 1: its interval as a bar, the majority's accuracy (or chance) as a tick. */
function whisker(run) {
  const [value, [low, high], tick] = byBalanced(run) ? [run.balanced, run.balanced_interval, run.chance] : [run.accuracy, run.interval, run.majority];
  const percent = (share) => `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(1)}%`;
  const parts = [];
  if (low !== null && high !== null) parts.push(make("i", { class: "span", style: `left:${percent(low)};right:${percent(1 - high)}` }));
  if (tick !== null) parts.push(make("i", { class: "majority", style: `left:${percent(tick)}` }));
  if (value !== null) parts.push(make("i", { class: "dot", style: `left:${percent(value)}` }));
  return make("span", { class: "whisker", "aria-hidden": "true" }, ...parts);
}

const BY_RANK = ["best", "≈ best", "too few walks to tell", "below", "untested"];
const figures = (first, [value, interval]) => make("span", { class: "figures" }, make(first ? "b" : "span", {}, value), " ", interval);
const ACCURACY = { title: "accuracy [95 %]", value: (run) => run.accuracy, kind: "number", key: "accuracy", down: true,
  cell: (run) => figures(!byBalanced(run), [run.shown.accuracy, run.shown.interval]) };
const BALANCED = { title: "balanced [95 %]", value: (run) => run.balanced, kind: "number", key: "balanced", down: true,
  cell: (run) => figures(byBalanced(run), [run.shown.balanced, run.shown.balanced_interval]) };
const MEASURES = RUNS.length && RUNS.every(byBalanced) ? [BALANCED, ACCURACY] : [ACCURACY, BALANCED];

const COLUMNS = [
  { title: "#", value: (run, index) => index, cell: (run, index) => numberButton(index), kind: "number", key: "row" },
  ...DATA.keys.map((key, number) => ({ title: key, value: (run) => run.settings[number], kind: "words",
    cell: (run) => make("span", { title: run.settings[number] }, short(run.settings[number])) })),
  MEASURES[0],
  { title: "0 to 1", value: (run) => (byBalanced(run) ? run.balanced : run.accuracy), cell: whisker, kind: "drawn", key: "drawn", down: true },
  MEASURES[1],
  ...(RUNS.some((run) => run.test !== null) ? [{ title: "test [95 %]", value: (run) => run.test, kind: "number", down: true,
    cell: (run) => make("span", { title: run.n_test === null ? "" : `${run.shown.n_test} test pictures` }, run.shown.test, " ", run.shown.test_interval) }] : []),
  ...(RUNS.some((run) => run.rank) ? [{ title: "rank", value: (run) => BY_RANK.indexOf(run.rank), missing: (value) => value < 0, kind: "words", key: "rank",
    cell: (run) => `${run.rank}${run.star ? "*" : ""}` }] : []),
  { title: "marks", value: (run) => `${run.status === "completed" ? "" : run.status} ${run.marks.join(" ")}`.trim(), cell: signs, kind: "words", key: "marks" },
  { title: "majority", value: (run) => run.majority, cell: (run) => run.shown.majority, kind: "number", down: true },
  { title: "n", value: (run) => run.n, cell: (run) => run.shown.n, kind: "number", down: true },
  { title: "loss", value: (run) => run.loss, cell: (run) => run.shown.loss, kind: "number" },
  ...(DATA.sets.length > 1 ? [{ title: "compared among", value: (run) => DATA.sets[run.among].title, kind: "words" }] : []),
  { title: "folder", value: (run) => run.name, kind: "folder", key: "folder" },
];

function signs(run) {
  const badge = (text, kind) => make("span", { class: `badge ${kind}`, title: text }, text);
  return make("span", { class: "badges" },
    run.status === "completed" ? null : badge(run.status, run.status === "running" ? "plain" : "bad"),
    ...run.marks.map((code) => badge(SIGNS[code] || titleOf(code), "warn")));
}

function numberButton(index) {
  return make("button", { class: "choose", type: "button", "aria-pressed": "false", "aria-label": `Highlight run ${label(index)}`,
    onclick: (event) => { event.stopPropagation(); choice.toggle(index); }, onfocus: () => pointed.set(index), onblur: () => pointed.set(null) }, RUNS[index].number);
}

// Characters that stand side by side on a page of paper, and those of a column of figures.
const PAPER = 190, FIGURES = 9;

const ROWS = RUNS.map((run, index) => make("tr", { class: run.status === "completed" ? null : "incomplete", onclick: () => choice.toggle(index),
  onpointerenter: () => pointed.set(index), onpointerleave: () => pointed.set(null) },
  ...COLUMNS.map((column) => make("td", { class: [column.kind, column.key].filter(Boolean).join(" "), "data-title": column.title,
    title: column.kind === "folder" ? run.name : null }, column.cell ? column.cell(run, index) : column.value(run, index)))));

const sorted = { order: RUNS.map((_, index) => index), column: null, down: false, listeners: [] };
const natural = new Intl.Collator("en", { numeric: true });

/** Sort the rows by a column; rows without a value stay at the end, and equal ones keep their order. */
function sortBy(number) {
  const column = COLUMNS[number];
  sorted.down = sorted.column === number ? !sorted.down : Boolean(column.down);
  sorted.column = number;
  const keys = RUNS.map((run, index) => column.value(run, index));
  const numbers = keys.every((value) => value === null || value === "" || Number.isFinite(Number(value)));
  const none = column.missing || ((value) => value === null || value === undefined || value === "");
  sorted.order = RUNS.map((_, index) => index).sort((a, b) => {
    if (none(keys[a]) || none(keys[b])) return none(keys[a]) - none(keys[b]);
    const difference = numbers ? keys[a] - keys[b] : natural.compare(keys[a], keys[b]);
    return sorted.down ? -difference : difference;
  });
  byId("runs").tBodies[0].append(...sorted.order.map((index) => ROWS[index]));
  document.querySelectorAll("#runs th").forEach((cell, position) =>
    cell.setAttribute("aria-sort", position === number ? (sorted.down ? "descending" : "ascending") : "none"));
  sorted.listeners.forEach((listener) => listener());
}

const RANKS = "Rank: a test over the same validation pictures compares each row with the best; ≈ best: not significantly different "
  + "from it; below: significantly below it; too few walks to tell: no test can be; untested: its predictions are missing or of other pictures; "
  + "best*: the best of these rows, yet it shows nothing (see its marks). ";

/** Draw the table of the means over seeds. */
function overSeeds() {
  if (!DATA.seeds.length) return;
  const cells = (tag, words) => make("tr", {}, ...words.map((word, column) => make(tag, { class: column > 1 && column < 7 ? "number" : "words" }, word)));
  const lines = DATA.seeds.map((entry) => cells("td", [`#${entry.number}`, entry.settings, `${entry.seeds}`, entry.accuracy, entry.balanced, entry.majority, entry.n, entry.rank]));
  byId("seeds").append(make("h3", {}, "Runs that differ only in their seed"),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Means over seeds" }, make("table", { class: "plain" },
      make("thead", {}, cells("th", ["#", "settings", "seeds", "mean accuracy [95 %]", "mean balanced [95 %]", "majority", "n", "rank"])), make("tbody", {}, ...lines))),
    make("p", { class: "quiet" }, "These intervals cover other seeds (Student's) and other pictures (the runs' own intervals): their arms are added as squares."));
}

/** Return whether the settings are too many or too long to stand on paper unbroken beside the numbers. */
function tooWide() {
  const widths = DATA.keys.map((key, number) => 2 + Math.max(key.length, ...RUNS.map((run) => short(run.settings[number]).length)));
  return widths.reduce((sum, width) => sum + width, 0) > PAPER - FIGURES * (COLUMNS.length - DATA.keys.length);
}

function table() {
  const heads = COLUMNS.map((column, number) => make("th", { scope: "col", class: [column.kind, column.key].filter(Boolean).join(" "), "aria-sort": "none" },
    make("button", { type: "button", onclick: () => sortBy(number) }, column.title)));
  byId("runs").append(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...ROWS));
  byId("runs").classList.toggle("wide", tooWide());
  const grouped = RUNS.some((run) => run.over === "groups");
  byId("table-legend").textContent = "Validation pictures, last epoch. Brackets: 95 % interval"
    + (grouped ? ", over walks or videos instead of pictures. " : ". ")
    + "Majority: accuracy of always predicting the most frequent class; n: number of pictures. "
    + (RUNS.some((run) => run.rank) ? RANKS : "")
    + (DATA.sets.length > 1 ? "Runs with different data, classes or split are not ranked against each other. " : "")
    + "Balanced: the mean over classes of the share of right answers. "
    + "Drawing: what ranks the runs, accuracy with the majority as a vertical line, or balanced accuracy with chance; the bar is the interval.";
}

function showRow(index) {
  if (!choice.has(index)) choice.toggle(index);
  ROWS[index].scrollIntoView({ block: "center" });
  ROWS[index].querySelector("button").focus();
}

choice.listeners.push(() => ROWS.forEach((row, index) => {
  row.classList.toggle("chosen", choice.has(index));
  row.style.setProperty("--own", choice.has(index) ? choice.colour(index) : "");
  row.querySelector("button").setAttribute("aria-pressed", choice.has(index));
}));
pointed.listeners.push((index, previous) => {
  if (previous !== null) ROWS[previous].classList.remove("pointed");
  if (index !== null) ROWS[index].classList.add("pointed");
});
attention();
table();
overSeeds();

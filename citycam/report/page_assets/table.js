const TITLES = {
  split_leaky: "Leaky split",
  split_unknown: "The split may leak",
  balanced_accuracy_reaches_chance: "Cannot be told from chance",
  accuracy_not_above_majority: "Not above the majority class",
  small_map: "Coarse maps",
  blank_maps: "Blank maps",
  incomplete_cam: "Maps that miss their logit",
  no_pretrained_weights: "No pretrained weights",
  ece_with_class_weights: "Calibration under class weights",
};
const SIGNS = {
  split_leaky: "leaky",
  split_unknown: "leaky?",
  balanced_accuracy_reaches_chance: "chance",
  accuracy_not_above_majority: "≤ majority",
};
const FIRST = ["split_leaky", "balanced_accuracy_reaches_chance", "accuracy_not_above_majority", "split_unknown"];
const SHOWN_AT_ONCE = 8;
const SENTENCES_AT_ONCE = 4;

const titleOf = (code) => TITLES[code] || code.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

/** Numbers of runs as links to their rows; all of them in a word. */
function runLinks(places) {
  if (places.length === RUNS.length && places.length > 1) return [make("span", { class: "quiet" }, "all runs")];
  const links = places.slice(0, 24).map((place) =>
    make("button", { class: "link", type: "button", title: RUNS[place].name, onclick: () => showRow(place) }, `#${RUNS[place].number}`));
  if (places.length > links.length) links.push(make("span", { class: "quiet" }, `and ${places.length - links.length} more`));
  return links;
}

/** Runs that did not complete; those of one reason together. */
function failures() {
  const groups = new Map();
  RUNS.forEach((run, place) => {
    if (["completed", "running"].includes(run.status)) return;
    const key = JSON.stringify([run.status, run.error]);
    groups.set(key, [...(groups.get(key) || []), place]);
  });
  return [...groups.values()].map((places) => {
    const run = RUNS[places[0]];
    const head = make("p", {}, make("strong", {}, run.status), " ", ...runLinks(places), places.length > 1 ? "" : ` ${told(run) || run.name}`);
    const commands = places.filter((place) => RUNS[place].command).map((place) => make("li", {}, ...runLinks([place]), " ", make("code", {}, RUNS[place].command)));
    return make("div", { class: "notice error" }, head, make("p", {}, run.error || "No reason was recorded."),
      commands.length ? make("details", {}, make("summary", {}, "Run again"), make("ul", {}, ...commands)) : null);
  });
}

function warning({ code, runs, sentences, more }) {
  const head = make("p", {}, make("strong", {}, titleOf(code)), " ", ...runLinks(runs));
  if (sentences.length === 1) return make("div", { class: "notice" }, head, make("p", {}, sentences[0][0]));
  const list = make("ul", {}, ...sentences.map(([sentence, places]) => make("li", {}, ...runLinks(places), " ", sentence)),
    more ? make("li", {}, `and ${more} more, in comparison.md`) : null);
  return make("div", { class: "notice" }, head, sentences.length <= SENTENCES_AT_ONCE ? list
    : make("details", {}, make("summary", {}, `What each run says: ${sentences.length + more} sentences`), list));
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

/** Accuracy on a line from 0 to 1: its interval, itself, and the majority's as a tick. */
function whisker(run) {
  const [low, high] = run.interval;
  const at = (value) => `${(100 * Math.min(Math.max(value, 0), 1)).toFixed(1)}%`;
  const parts = [];
  if (low !== null && high !== null) parts.push(make("i", { class: "span", style: `left:${at(low)};right:${at(1 - high)}` }));
  if (run.majority !== null) parts.push(make("i", { class: "majority", style: `left:${at(run.majority)}` }));
  if (run.accuracy !== null) parts.push(make("i", { class: "dot", style: `left:${at(run.accuracy)}` }));
  return make("span", { class: "whisker", "aria-hidden": "true" }, ...parts);
}

const between = ([low, high]) => (low === null || high === null ? "" : `[${decimal(low, 2)}, ${decimal(high, 2)}]`);

const COLUMNS = [
  { title: "#", value: (run, place) => place, cell: (run, place) => numberButton(place), kind: "number" },
  ...DATA.keys.map((key, at) => ({ title: key, value: (run) => run.settings[at], kind: "words",
    cell: (run) => make("span", { title: run.settings[at] }, short(run.settings[at])) })),
  { title: "accuracy [95 %]", value: (run) => run.accuracy, kind: "number", down: true,
    cell: (run) => make("span", { class: "figures" }, make("b", {}, decimal(run.accuracy)), " ", between(run.interval)) },
  { title: "0 to 1", value: (run) => run.interval[0], cell: whisker, kind: "drawn", down: true },
  ...(RUNS.some((run) => run.test !== null) ? [{ title: "test [95 %]", value: (run) => run.test, kind: "number", down: true,
    cell: (run) => make("span", { title: run.n_test === null ? "" : `${run.n_test} test pictures` }, decimal(run.test), " ", between(run.test_interval)) }] : []),
  { title: "majority", value: (run) => run.majority, cell: (run) => decimal(run.majority), kind: "number", down: true },
  { title: "n", value: (run) => run.n, cell: (run) => (run.n === null ? "" : run.n.toLocaleString("en")), kind: "number", down: true },
  { title: "marks", value: (run) => `${run.status === "completed" ? "" : run.status} ${run.marks.join(" ")}`.trim(), cell: signs, kind: "words" },
  ...(RUNS.some((run) => run.rank) ? [{ title: "rank", value: (run) => run.rank, kind: "words" }] : []),
  ...(DATA.sets.length > 1 ? [{ title: "compared among", value: (run) => DATA.sets[run.among].title, kind: "words" }] : []),
  { title: "balanced [95 %]", value: (run) => run.balanced, kind: "number", down: true,
    cell: (run) => `${decimal(run.balanced)} ${between(run.balanced_interval)}` },
  { title: "loss", value: (run) => run.loss, cell: (run) => decimal(run.loss), kind: "number" },
  { title: "folder", value: (run) => run.name, kind: "folder" },
];

function signs(run) {
  const badge = (text, kind) => make("span", { class: `badge ${kind}`, title: text }, text);
  return make("span", { class: "badges" },
    run.status === "completed" ? null : badge(run.status, run.status === "running" ? "plain" : "bad"),
    ...run.marks.map((code) => badge(SIGNS[code] || titleOf(code), "warn")));
}

function numberButton(place) {
  return make("button", { class: "choose", type: "button", "aria-pressed": "false", "aria-label": `Highlight run ${label(place)}`,
    onclick: (event) => { event.stopPropagation(); choice.toggle(place); }, onfocus: () => pointed.at(place), onblur: () => pointed.at(null) }, RUNS[place].number);
}

const ROWS = RUNS.map((run, place) => make("tr", { class: run.status === "completed" ? null : "incomplete", onclick: () => choice.toggle(place),
  onpointerenter: () => pointed.at(place), onpointerleave: () => pointed.at(null) },
  ...COLUMNS.map((column) => make("td", { class: column.kind, title: column.kind === "folder" ? run.name : null },
    column.cell ? column.cell(run, place) : column.value(run, place)))));

const sorted = { order: RUNS.map((_, place) => place), column: null, down: false, listeners: [] };
const natural = new Intl.Collator("en", { numeric: true });

/** Rows by a column; what has no value stays at the end, equal ones keep their order. */
function sortBy(at) {
  const column = COLUMNS[at];
  sorted.down = sorted.column === at ? !sorted.down : Boolean(column.down);
  sorted.column = at;
  const keys = RUNS.map((run, place) => column.value(run, place));
  const numbers = keys.every((value) => value === null || value === "" || Number.isFinite(Number(value)));
  const none = (value) => value === null || value === undefined || value === "";
  sorted.order = RUNS.map((_, place) => place).sort((a, b) => {
    if (none(keys[a]) || none(keys[b])) return none(keys[a]) - none(keys[b]);
    const way = numbers ? keys[a] - keys[b] : natural.compare(keys[a], keys[b]);
    return sorted.down ? -way : way;
  });
  byId("runs").tBodies[0].append(...sorted.order.map((place) => ROWS[place]));
  document.querySelectorAll("#runs th").forEach((cell, place) =>
    cell.setAttribute("aria-sort", place === at ? (sorted.down ? "descending" : "ascending") : "none"));
  sorted.listeners.forEach((listener) => listener());
}

const RANKS = "Rank: best, and what a paired test over the same validation pictures cannot tell from it (≈ best), finds below it, "
  + "or could not test; nothing else is ranked. ";

/** Runs that differ only in their seed, as one. */
function overSeeds() {
  if (!DATA.seeds.length) return;
  const cells = (tag, words) => make("tr", {}, ...words.map((word, at) => make(tag, { class: at > 1 && at < 6 ? "number" : "words" }, word)));
  const lines = DATA.seeds.map((one) => cells("td", [`#${one.number}`, one.settings, `${one.seeds}`,
    make("span", {}, make("b", {}, decimal(one.accuracy)), " ", between(one.interval)), decimal(one.majority), decimal(one.n, 0), one.rank]));
  byId("seeds").append(make("h3", {}, "Runs that differ only in their seed"),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Means over seeds" }, make("table", { class: "plain" },
      make("thead", {}, cells("th", ["#", "settings", "seeds", "mean accuracy [95 %]", "majority", "n", "rank"])), make("tbody", {}, ...lines))),
    make("p", { class: "quiet" }, "Intervals here are Student's over seeds: how far chance in training moves an accuracy, not how far other pictures would."));
}

function table() {
  const heads = COLUMNS.map((column, at) => make("th", { scope: "col", class: column.kind, "aria-sort": "none" },
    make("button", { type: "button", onclick: () => sortBy(at) }, column.title)));
  byId("runs").append(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...ROWS));
  const grouped = RUNS.some((run) => run.over === "groups");
  byId("table-legend").textContent = "Validation pictures, last epoch. Brackets: 95 % interval"
    + (grouped ? ", which counts pictures of one walk or video as belonging together. " : ". ")
    + "Majority: accuracy of always answering the most frequent class; n: number of pictures. "
    + (RUNS.some((run) => run.rank) ? RANKS : "")
    + (DATA.sets.length > 1 ? "Runs of different data, classes or split are not ranked against each other. " : "")
    + "In the drawing the bar is the interval, the dot the accuracy, the upright line the majority's.";
}

function showRow(place) {
  if (!choice.has(place)) choice.toggle(place);
  ROWS[place].scrollIntoView({ block: "center" });
  ROWS[place].querySelector("button").focus();
}

choice.listeners.push(() => ROWS.forEach((row, place) => {
  row.classList.toggle("chosen", choice.has(place));
  row.style.setProperty("--own", choice.has(place) ? choice.colour(place) : "");
  row.querySelector("button").setAttribute("aria-pressed", choice.has(place));
}));
pointed.listeners.push((place, before) => {
  if (before !== null) ROWS[before].classList.remove("pointed");
  if (place !== null) ROWS[place].classList.add("pointed");
});
attention();
table();
overSeeds();

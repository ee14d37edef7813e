const MOST_DRAWN = 50;
const MARGIN = { left: 44, right: 46, top: 10, bottom: 34 };
const HINT = "Point at a line or a row for its numbers; click to highlight it.";
const drawn = new Map();

const curved = (place) => RUNS[place].curves !== null;

/** Runs with a line of their own: the first of the table as it is sorted, and the chosen ones on top. */
function lines() {
  const first = sorted.order.filter(curved).slice(0, MOST_DRAWN).filter((place) => !choice.has(place));
  return [...first, ...[...choice.colours.keys()].filter(curved)];
}

/** The upper end of the loss axis; a run that diverged does not flatten all others. */
function lossTop(places) {
  const peaks = places.map((place) => Math.max(0, ...RUNS[place].curves.train_loss, ...RUNS[place].curves.val_loss)).sort((a, b) => a - b);
  const middle = peaks[Math.floor((peaks.length - 1) / 2)] || 1;
  return Math.min(peaks[peaks.length - 1] || 1, 3 * middle) * 1.04;
}

function ticks(top, count) {
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, at) => Number((at * step).toPrecision(6)));
}

function frame(box, top, last) {
  const width = Math.max(box.clientWidth, 240);
  const height = Math.round(Math.min(320, Math.max(200, width * 0.52)));
  const x = (epoch) => MARGIN.left + ((width - MARGIN.left - MARGIN.right) * (epoch - 1)) / Math.max(last - 1, 1);
  const y = (value) => height - MARGIN.bottom - ((height - MARGIN.top - MARGIN.bottom) * Math.min(value, top)) / top;
  const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${box.id.slice(6)} by epoch` });
  for (const value of ticks(top, 5)) {
    svg.append(make("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      make("text", { class: "tick", x: MARGIN.left - 7, y: y(value) + 4, "text-anchor": "end" }, String(value)));
  }
  const epochs = ticks(last, Math.min(last, width > 420 ? 8 : 5)).filter((value) => value >= 1 && Number.isInteger(value));
  for (const epoch of new Set([1, ...epochs])) {
    svg.append(make("text", { class: "tick", x: x(epoch), y: height - MARGIN.bottom + 18, "text-anchor": "middle" }, String(epoch)));
  }
  svg.append(make("text", { class: "tick", x: width - MARGIN.right, y: height - 3, "text-anchor": "end" }, "epoch"));
  return { svg, x, y, width };
}

function pathOf(epochs, values, x, y) {
  let pen = "M";
  return epochs.map((epoch, at) => {
    if (values[at] === null) { pen = "M"; return ""; }
    const part = `${pen}${x(epoch).toFixed(1)} ${y(values[at]).toFixed(1)}`;
    pen = "L";
    return part;
  }).join("");
}

function runLines(place, measure, { x, y }) {
  const { epoch, ...curves } = RUNS[place].curves;
  const group = make("g", { class: choice.has(place) ? "run chosen" : "run", style: choice.has(place) ? `--own:${choice.colour(place)}` : null,
    onpointerenter: () => pointed.at(place), onpointerleave: () => pointed.at(null), onclick: () => choice.toggle(place) });
  const validation = curves[`val_${measure}`];
  const path = pathOf(epoch, validation, x, y);
  group.append(make("path", { class: "hit", d: path }),
    make("path", { class: "train", d: pathOf(epoch, curves[`train_${measure}`], x, y) }), make("path", { class: "val", d: path }));
  epoch.forEach((at, position) => {
    if (validation[position] !== null && epoch.length <= 12) group.append(make("circle", { cx: x(at), cy: y(validation[position]), r: 2.6 }));
  });
  const last = validation.findLastIndex((value) => value !== null);
  const end = last < 0 ? null : make("text", { class: "end", x: x(epoch[last]) + 6, y: y(validation[last]) + 4 }, `#${RUNS[place].number}`);
  if (end) group.append(end);
  drawn.set(place, [...(drawn.get(place) || []), group]);
  return { group, end };
}

/** Labels at the ends of chosen lines, moved apart where they would lie on each other. */
function spread(ends) {
  const at = (end) => Number(end.getAttribute("y"));
  ends.sort((a, b) => at(a) - at(b));
  ends.forEach((end, place) => { if (place) end.setAttribute("y", Math.max(at(end), at(ends[place - 1]) + 13)); });
}

/** The majority's lines, which lie below the runs', and their words, which lie above. */
function majorities(places, { x, y, width }) {
  const chosen = places.filter((place) => choice.has(place));
  const values = [...new Set((chosen.length ? chosen : places).map((place) => RUNS[place].majority).filter((value) => value !== null))].slice(0, 4);
  return {
    below: values.map((value) => make("line", { class: "majority", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) })),
    above: values.map((value) => make("text", { class: "tick majority", x: MARGIN.left + 6, y: y(value) - 5 }, `majority class ${decimal(value)}`)),
  };
}

function chart(id, measure, places, last) {
  const top = measure === "loss" ? lossTop(places) : 1;
  const box = byId(id);
  const area = frame(box, top, last);
  const { below, above } = measure === "accuracy" ? majorities(places, area) : { below: [], above: [] };
  const parts = places.map((place) => runLines(place, measure, area));
  area.svg.append(...below, ...parts.map((part) => part.group), ...above);
  spread(parts.filter((part, at) => part.end && choice.has(places[at])).map((part) => part.end));
  box.replaceChildren(area.svg);
  return places.filter((place) => Math.max(...RUNS[place].curves[`val_${measure}`], ...RUNS[place].curves[`train_${measure}`]) > top);
}

function curves() {
  drawn.clear();
  const places = lines();
  byId("curves-section").hidden = !places.length;
  if (!places.length) return;
  const last = Math.max(...places.map((place) => Math.max(...RUNS[place].curves.epoch)));
  const beyond = chart("chart-loss", "loss", places, last);
  chart("chart-accuracy", "accuracy", places, last);
  const having = RUNS.filter((run) => run.curves !== null).length;
  byId("curves-note").textContent = [
    places.length < having ? `Drawn are the first ${MOST_DRAWN} of ${plural(having, "run")} as the table is sorted, and the chosen ones.` : "",
    DATA.points ? `Curves of more than ${DATA.points} epochs are thinned to ${DATA.points} of them.` : "",
    beyond.length ? `Beyond the top of the loss axis: ${beyond.slice(0, 12).map((place) => `#${RUNS[place].number}`).join(", ")}${beyond.length > 12 ? " and others" : ""}.` : "",
  ].join(" ").trim();
  legend();
}

function legend() {
  const chosen = [...choice.colours.keys()];
  byId("curves-legend").replaceChildren(
    ...chosen.map((place) => make("button", { class: "chip", type: "button", style: `--own:${choice.colour(place)}`, title: "Stop highlighting",
      onclick: () => choice.toggle(place), onpointerenter: () => pointed.at(place), onpointerleave: () => pointed.at(null) }, label(place))),
    make("span", { class: "key" }, make("i", { class: "solid" }), "validation"), make("span", { class: "key" }, make("i", { class: "dashed" }), "training"));
}

/** The pointed run in words, with its last numbers. */
function reading(place) {
  const run = RUNS[place];
  const last = (name) => run.curves[name].findLast((value) => value !== null);
  const numbers = run.curves === null ? "no curves" : `after epoch ${run.curves.epoch.at(-1)}: validation loss ${decimal(last("val_loss"))}, `
    + `accuracy ${decimal(last("val_accuracy"))}; training loss ${decimal(last("train_loss"))}, accuracy ${decimal(last("train_accuracy"))}`;
  return `${label(place)}: ${numbers}${run.majority === null ? "" : `; majority class ${decimal(run.majority)}`}`;
}

pointed.listeners.push((place, before) => {
  (drawn.get(before) || []).forEach((group) => group.classList.remove("pointed"));
  (drawn.get(place) || []).forEach((group) => { group.classList.add("pointed"); });
  byId("curves-reading").textContent = place === null ? HINT : reading(place);
});
choice.listeners.push(curves);
sorted.listeners.push(curves);
new ResizeObserver(() => {
  const svg = document.querySelector("#chart-loss svg");
  if (svg && Math.abs(svg.width.baseVal.value - byId("chart-loss").clientWidth) > 1) curves();
}).observe(byId("chart-loss"));
byId("curves-reading").textContent = HINT;
curves();

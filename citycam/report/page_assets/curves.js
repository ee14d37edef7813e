const MOST_DRAWN = 50;
const MARGIN = { left: 44, right: 46, top: 10, bottom: 34 };
const HINT = "Point at a line or a row for its numbers; click to highlight it.";
const drawn = new Map();

const curved = (index) => RUNS[index].curves !== null;

/** Return the runs that are drawn: the first ones of the table as it is sorted, then the chosen ones. */
function lines() {
  const first = sorted.order.filter(curved).slice(0, MOST_DRAWN).filter((index) => !choice.has(index));
  return [...first, ...[...choice.colours.keys()].filter(curved)];
}

const lossesOf = (index) => [...RUNS[index].curves.train_loss, ...RUNS[index].curves.val_loss].filter((value) => value !== null);

/** Return the upper end of the loss axis: losses of other classes are not cut off, and a diverged run does not flatten the others. */
function lossTop(indices) {
  const sets = new Map();
  indices.forEach((index) => sets.set(RUNS[index].among, [...(sets.get(RUNS[index].among) || []), index]));
  const tops = [...sets.values()].map((members) => {
    const firsts = members.map((index) => Math.max(0, RUNS[index].curves.train_loss[0], RUNS[index].curves.val_loss[0])).sort((a, b) => a - b);
    return Math.min(Math.max(0, ...members.flatMap(lossesOf)) || 1, 5 * firsts[Math.floor((firsts.length - 1) / 2)] || 1);
  });
  return Math.max(...tops) * 1.04;
}

function ticks(top, count) {
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, number) => Number((number * step).toPrecision(6)));
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
  return epochs.map((epoch, position) => {
    if (values[position] === null) { pen = "M"; return ""; }
    const part = `${pen}${x(epoch).toFixed(1)} ${y(values[position]).toFixed(1)}`;
    pen = "L";
    return part;
  }).join("");
}

function runLines(index, measure, { x, y }) {
  const { epoch, ...curves } = RUNS[index].curves;
  const group = make("g", { class: choice.has(index) ? "run chosen" : "run", style: choice.has(index) ? `--own:${choice.colour(index)}` : null,
    onpointerenter: () => pointed.set(index), onpointerleave: () => pointed.set(null), onclick: () => choice.toggle(index) });
  const validation = curves[`val_${measure}`];
  const path = pathOf(epoch, validation, x, y);
  group.append(make("path", { class: "hit", d: path }),
    make("path", { class: "train", d: pathOf(epoch, curves[`train_${measure}`], x, y) }), make("path", { class: "val", d: path }));
  epoch.forEach((number, position) => {
    if (validation[position] !== null && epoch.length <= 12) group.append(make("circle", { cx: x(number), cy: y(validation[position]), r: 2.6 }));
  });
  const last = validation.findLastIndex((value) => value !== null);
  const end = last < 0 ? null : make("text", { class: "end", x: x(epoch[last]) + 6, y: y(validation[last]) + 4 }, `#${RUNS[index].number}`);
  if (end) group.append(end);
  drawn.set(index, [...(drawn.get(index) || []), group]);
  return { group, end };
}

/** Move the labels at the ends of chosen lines apart where they would overlap. */
function spread(ends) {
  const height = (end) => Number(end.getAttribute("y"));
  ends.sort((a, b) => height(a) - height(b));
  ends.forEach((end, number) => { if (number) end.setAttribute("y", Math.max(height(end), height(ends[number - 1]) + 13)); });
}

/** Return the lines of the majority class, to be drawn below the runs' lines, and their labels, to be drawn above. */
function majorities(indices, { x, y, width }) {
  const chosen = indices.filter((index) => choice.has(index));
  const known = (chosen.length ? chosen : indices).filter((index) => RUNS[index].majority !== null);
  const values = [...new Map(known.map((index) => [RUNS[index].majority, RUNS[index].shown.majority]))].slice(0, 4);
  return {
    below: values.map(([value]) => make("line", { class: "majority", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) })),
    above: values.map(([value, words]) => make("text", { class: "tick majority", x: MARGIN.left + 6, y: y(value) - 5 }, `majority class ${words}`)),
  };
}

function chart(id, measure, indices, last) {
  const top = measure === "loss" ? lossTop(indices) : 1;
  const box = byId(id);
  const area = frame(box, top, last);
  const { below, above } = measure === "accuracy" ? majorities(indices, area) : { below: [], above: [] };
  const parts = indices.map((index) => runLines(index, measure, area));
  area.svg.append(...below, ...parts.map((part) => part.group), ...above);
  spread(parts.filter((part, number) => part.end && choice.has(indices[number])).map((part) => part.end));
  box.replaceChildren(area.svg);
  return indices.filter((index) => Math.max(...RUNS[index].curves[`val_${measure}`], ...RUNS[index].curves[`train_${measure}`]) > top);
}

function curves() {
  drawn.clear();
  const indices = lines();
  byId("curves-section").hidden = !indices.length;
  if (!indices.length) return;
  const last = Math.max(...indices.map((index) => Math.max(...RUNS[index].curves.epoch)));
  const beyond = chart("chart-loss", "loss", indices, last);
  chart("chart-accuracy", "accuracy", indices, last);
  const withCurves = RUNS.filter((run) => run.curves !== null).length;
  byId("curves-note").textContent = [
    indices.length < withCurves ? `The first ${MOST_DRAWN} of ${plural(withCurves, "run")} in the order of the table are drawn, and the chosen ones.` : "",
    DATA.points ? `Curves of more than ${DATA.points} epochs show ${DATA.points} of them.` : "",
    beyond.length ? `Above the loss axis: ${beyond.slice(0, 12).map((index) => `#${RUNS[index].number}`).join(", ")}${beyond.length > 12 ? " and others" : ""}.` : "",
  ].join(" ").trim();
  legend();
}

function legend() {
  const chosen = [...choice.colours.keys()];
  byId("curves-legend").replaceChildren(
    ...chosen.map((index) => make("button", { class: "chip", type: "button", style: `--own:${choice.colour(index)}`, title: "Stop highlighting",
      onclick: () => choice.toggle(index), onpointerenter: () => pointed.set(index), onpointerleave: () => pointed.set(null) }, label(index))),
    make("span", { class: "key" }, make("i", { class: "solid" }), "validation"), make("span", { class: "key" }, make("i", { class: "dashed" }), "training"));
}

/** Return a sentence with the last numbers of a run. */
function reading(index) {
  const run = RUNS[index];
  const [trainLoss, loss, trainAccuracy, accuracy] = run.curves === null ? [] : run.curves.last;
  const numbers = run.curves === null ? "no curves" : `after epoch ${run.curves.epoch.at(-1)}: validation loss ${loss}, accuracy ${accuracy}; `
    + `training loss ${trainLoss}, accuracy ${trainAccuracy}`;
  return `${label(index)}: ${numbers}${run.majority === null ? "" : `; majority class ${run.shown.majority}`}`;
}

pointed.listeners.push((index, previous) => {
  (drawn.get(previous) || []).forEach((group) => group.classList.remove("pointed"));
  (drawn.get(index) || []).forEach((group) => { group.classList.add("pointed"); });
  byId("curves-reading").textContent = index === null ? HINT : reading(index);
});
choice.listeners.push(curves);
sorted.listeners.push(curves);
new ResizeObserver(() => {
  const svg = document.querySelector("#chart-loss svg");
  if (svg && Math.abs(svg.width.baseVal.value - byId("chart-loss").clientWidth) > 1) curves();
}).observe(byId("chart-loss"));
byId("curves-reading").textContent = HINT;
curves();

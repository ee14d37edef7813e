"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
const MOST_CHOSEN = 6;

/** Return an element with attributes and children; strings become text, never markup. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "circle", "g"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const byId = (id) => document.getElementById(id);
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
// The end of a path identifies it.
const short = (value) => value.split("/").pop().replace(/^(.{12}).{5,}(.{10})$/u, "$1…$2");
const settingsOf = (run) => run.settings.filter((value) => value !== "").map(short).join(" · ");
const label = (index) => [`#${RUNS[index].number}`, settingsOf(RUNS[index])].filter(Boolean).join(" ");
const thumb = (index) => `data:image/jpeg;base64,${DATA.thumbs[index]}`;

/** The chosen runs; each keeps its colour while it is chosen. */
const choice = {
  colours: new Map(),
  listeners: [],
  has: (index) => choice.colours.has(index),
  colour: (index) => `var(--run${choice.colours.get(index)})`,
  toggle(index) {
    if (!choice.colours.delete(index)) {
      if (choice.colours.size === MOST_CHOSEN) choice.colours.delete(choice.colours.keys().next().value);
      const used = new Set(choice.colours.values());
      choice.colours.set(index, [...Array(MOST_CHOSEN).keys()].find((colour) => !used.has(colour)));
    }
    choice.listeners.forEach((listener) => listener());
  },
};

/** The run under the pointer or the keyboard's focus, or null. */
const pointed = {
  index: null,
  listeners: [],
  set(index) {
    if (index === pointed.index) return;
    const previous = pointed.index;
    pointed.index = index;
    pointed.listeners.forEach((listener) => listener(index, previous));
  },
};

/** Say on top which cities these runs tell apart, when they ran, and what came out. */
function overview() {
  const { targets, cities, days } = DATA.subject;
  const others = targets.length === 1 ? cities.filter((name) => name !== targets[0]) : cities;
  const named = others.length > 6 ? `${others.length} cities` : others.join(", ");
  if (cities.length) byId("title").textContent = others.length < cities.length ? `${targets[0]} against ${named}` : named;
  const states = new Map();
  RUNS.forEach((run) => states.set(run.status, (states.get(run.status) || 0) + 1));
  const counts = [...states].map(([status, count]) => `${count.toLocaleString("en")} ${status}`);
  byId("overview").textContent = RUNS.length ? `${plural(RUNS.length, "run")}: ${counts.join(", ")}.${days.length ? ` Started ${days.join(" to ")}.` : ""}` : "No runs.";
  byId("findings").append(...DATA.sets.filter((set) => set.findings.length).map((set) => make("div", { class: "finding" },
    DATA.sets.length > 1 ? make("h3", {}, set.title) : null, ...set.findings.map((sentence) => make("p", {}, sentence)))));
  byId("findings").append(...DATA.studies.map((study) => make("p", {}, "By what are the cities told apart? ",
    make("a", { href: study.href }, `Study of ${study.run}`))));
  if (DATA.same.length) {
    byId("shared").append("The same in all: ", ...DATA.same.flatMap(([key, value], number) => [
      number ? ", " : "", make("span", { class: "nowrap" }, `${key}=${value}`),
    ]), ".");
  }
}
overview();

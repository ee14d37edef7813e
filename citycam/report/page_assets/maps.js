/** Return the bytes of a base64 text, of a kind of array. */
function bytes(text, kind = Uint8Array) {
  return kind.from(atob(text), (letter) => letter.charCodeAt(0));
}

// Red, green and blue of 256 colours from 0 to the maximum: matplotlib's inferno, as in the overlays.
const COLOURS = bytes(
  "AAAEAQAFAQEGAQEIAgEKAgIMAgIOAwIQBAMSBAMUBQQXBgQZBwUbCAUdCQYfCgciCwckDAgmDQgpDgkrEAktEQowEgoyFAs0FQs3Fgs5GAw8GQ" +
  "w+GwxBHAxDHgxFHwxIIQxKIwxMJAxPJgxRKAtTKQtVKwtXLQtZLwpbMQpcMgpeNApfNglhOAliOQljOwlkPQllPglmQApnQgpoRApoRQppRwtq" +
  "SQtqSgxrTAxrTQ1sTw1sUQ5sUg5tVA9tVQ9tVxBuWRBuWhFuXBJuXRJuXxNuYRNuYhRuZBVuZRVuZxZuaRZuahdubBhubRhubxlucRluchpudB" +
  "pudRtudxxteBxteh1tfB1tfR5tfx5sgB9sgiBshCBrhSFrhyFriCJqiiJqjCNpjSNpjyRpkCVokiVokyZnlSZnlydmmCdmmihlmylknSlknypj" +
  "oCpjoitioyxhpSxgpi1gqC5fqS5eqy9erTBdrjBcsDFbsTJaszJatDNZtjRYtzVXuTVWujZVvDdUvThTvzlSwDpRwTpQwztPxDxOxj1Nxz5MyD" +
  "9LykBKy0FJzEJIzkNHz0RG0EVF0kZE00dD1EhC1UpB10s/2Ew+2U092k4821A73VE63lI431M34FU24VY14lc041kz5Fox5Vww5l0v514u6GAt" +
  "6WEr6mMq62Qp62Yo7Gcm7Wkl7mok72wj724h8G8g8XEf8XMd8nQc83Yb83gZ9HkY9XsX9X0V9n4U9oAT94IS94QQ+IUP+IcO+IkM+YsL+YwK+Y" +
  "4J+pAI+pIH+pQH+5YG+5cG+5kG+5sG+50H/J8H/KEI/KMJ/KUK/KYM/KgN/KoP/KwR/K4S/LAU/LIW/LQY+7Ya+7gd+7of+7wh+74j+sAm+sIo" +
  "+sQq+sYt+ccv+cky+cs1+M03+M8699E999NA9tVD9tdG9dlJ9dtM9N1P9N9T9OFW8+Na8+Vd8uZh8uhl8upp8ext8e1x8e918fF58vJ98vSC8/" +
  "WG8/aK9PiO9fmS9vqW+Pua+fyd+v2h/P+k",
);

const OPACITY = 0.55;
const PALE = 0.35;
const COARSE = 7;
const MAPPED = Object.keys(DATA.maps.runs).map(Number);
const FINE = MAPPED.some((run) => Object.values(DATA.maps.runs[run].methods).some((method) => method.lowest));
const view = { picture: 0, panels: [], against: false };
// Of evidence for and against, where both are shown.
const FOR = [214, 92, 20];
const AGAINST = [36, 104, 178];

/** Return a picture's pixels, about 192 along the longer side, or null without a thumbnail; decoded once. */
const decoded = new Map();
function pixels(index) {
  if (!decoded.has(index)) {
    decoded.set(index, index === null ? Promise.resolve(null) : (async () => {
      const image = new Image();
      image.src = thumb(index);
      await image.decode();
      const scale = 192 / Math.max(image.naturalWidth, image.naturalHeight);
      const canvas = make("canvas", { width: Math.round(image.naturalWidth * scale), height: Math.round(image.naturalHeight * scale) });
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.drawImage(image, 0, 0, canvas.width, canvas.height);
      return pen.getImageData(0, 0, canvas.width, canvas.height);
    })());
  }
  return decoded.get(index);
}

const grids = new Map();
function grid(run, method, position) {
  const { methods } = DATA.maps.runs[run];
  const [height, width] = size(methods[method]);
  const key = `${run} ${method}`;
  if (!grids.has(key)) grids.set(key, bytes(methods[methods[method].like || method].grids, Int8Array));
  return grids.get(key).subarray(position * height * width, (position + 1) * height * width);
}

/** Return the number of rows and of columns of a method's maps. */
function size(method) {
  return DATA.maps.cells[method.cells].map((centres) => centres.length);
}

/** Return, for each of the pixels along a side, the cell whose centre is nearest to it. */
function nearest(centres, count) {
  let cell = 0;
  return Array.from({ length: count }, (_, pixel) => {
    while (cell + 1 < centres.length && (pixel + 0.5) / count >= (centres[cell] + centres[cell + 1]) / 2) cell += 1;
    return cell;
  });
}

/** Draw the map's cells over a grey copy of the picture, or alone without a thumbnail. */
async function paint(canvas, picture, run, method, position) {
  const image = await pixels(DATA.maps.pictures[picture][2]);
  canvas.width = image ? image.width : 192;
  canvas.height = image ? image.height : 192;
  const pen = canvas.getContext("2d");
  if (DATA.maps.runs[run].methods[method].peaks[position] === null) {
    if (image) pen.putImageData(image, 0, 0);
    return;
  }
  const cells = grid(run, method, position);
  const its = DATA.maps.runs[run].methods[method];
  const [down, across] = DATA.maps.cells[its.cells];
  const [rows, columns] = [nearest(down, canvas.height), nearest(across, canvas.width)];
  const colour = !its.lowest ? evidence : view.against ? bothSides(its.peaks[position], -its.lowest[position]) : image ? null : evidence;
  const out = pen.createImageData(canvas.width, canvas.height);
  for (let y = 0, to = 0; y < canvas.height; y += 1) {
    const row = rows[y] * across.length;
    for (let x = 0; x < canvas.width; x += 1, to += 4) {
      const grey = image ? 0.299 * image.data[to] + 0.587 * image.data[to + 1] + 0.114 * image.data[to + 2] : 128;
      const cell = cells[row + columns[x]];
      out.data.set(colour ? colour(cell, grey, image ? OPACITY : 1) : reveal(cell, grey, image.data.subarray(to, to + 3)), to);
      out.data[to + 3] = 255;
    }
  }
  pen.putImageData(out, 0, 0);
}

/** Return the colour of a cell over a grey value: its positive part, from dark to bright. */
function evidence(cell, grey, opacity) {
  const at = 3 * Math.round(Math.max(cell, 0) * 255 / 127);
  return [0, 1, 2].map((part) => (1 - opacity) * grey + opacity * COLOURS[at + part]);
}

/** Return the picture's own colour where the evidence is, and pale grey elsewhere, as overlays of maps of pixels do. */
function reveal(cell, grey, own) {
  const share = Math.sqrt(Math.max(cell, 0) / 127);
  return [0, 1, 2].map((part) => share * own[part] + (1 - share) * (255 - PALE * (255 - grey)));
}

/** Return a function like `evidence` that shows both signs, more of their colour the larger the value. */
function bothSides(highest, lowest) {
  const most = Math.max(highest, lowest) || 1;
  return (cell, grey) => {
    const strength = Math.abs(cell) / 127 * (cell > 0 ? highest : lowest) / most;
    return (cell > 0 ? FOR : AGAINST).map((part) => (1 - strength) * grey + strength * part);
  };
}

function select(title, options, value, change) {
  return make("select", { "aria-label": title, onchange: (event) => change(event.target.value) },
    ...options.map(([key, text]) => make("option", { value: key, selected: String(key) === String(value) }, text)));
}

function verdict(maps, position) {
  const right = maps.correct[position] === 1;
  return make("p", { class: right ? "verdict right" : "verdict wrong" }, right ? "✓ right: " : "✗ wrong: ",
    `${maps.words[maps.predicted[position]]} ${maps.percent[position]}\u00a0%`);
}

function panel(chosen, number) {
  const maps = DATA.maps.runs[chosen.run];
  const position = maps.pictures.indexOf(view.picture);
  const canvas = make("canvas", { width: 192, height: 192, role: "img" });
  const its = maps.methods[chosen.method];
  const blank = position >= 0 && its.peaks[position] === null;
  const small = Math.min(...size(its)) < COARSE;
  if (position >= 0) paint(canvas, view.picture, chosen.run, chosen.method, position);
  canvas.setAttribute("aria-label", `${chosen.method} of run ${label(chosen.run)}${blank ? ", blank" : ""}`);
  const facts = position < 0 ? [make("p", { class: "quiet" }, "This run does not explain this picture.")] : [
    verdict(maps, position),
    make("p", { class: "quiet" }, `evidence for ${maps.words[its.targets[its.targets.length > 1 ? position : 0]]}`),
    make("p", { class: "quiet" }, blank ? "no evidence" : `maximum ${its.peaks[position]} · ${view.against && its.lowest ? `minimum ${its.lowest[position]} · ` : ""}`,
      blank ? null : make("span", { class: small ? "coarse" : null }, size(its).join(" × "))),
  ];
  return make("div", { class: "panel" },
    make("div", { class: "picks" },
      select("Run", MAPPED.map((run) => [run, label(run)]), chosen.run, (run) => {
        chosen.run = Number(run);
        if (!(chosen.method in DATA.maps.runs[chosen.run].methods)) chosen.method = Object.keys(DATA.maps.runs[chosen.run].methods)[0];
        panels();
      }),
      make("div", { class: "row" },
        select("Method", Object.keys(maps.methods).map((name) => [name, name]), chosen.method, (method) => { chosen.method = method; panels(); }),
        make("button", { type: "button", class: "remove", "aria-label": "Remove this map", onclick: () => { view.panels.splice(number, 1); panels(); } }, "×"))),
    make("div", { class: blank ? "canvas blank" : "canvas" }, position < 0 ? null : canvas, blank ? make("span", { class: "stamp" }, "blank map") : null),
    ...facts);
}

function plainPicture() {
  const [name, city, index] = DATA.maps.pictures[view.picture];
  const shown = index === null ? make("span", { class: "stamp" }, "no thumbnail") : make("img", { src: thumb(index), alt: `${city}: ${name}` });
  return make("div", { class: "panel plain" }, make("div", { class: "picks" }, make("p", {}, make("strong", {}, city)), make("p", { class: "quiet name", title: name }, name)),
    make("div", { class: "canvas" }, shown), make("p", { class: "quiet" }, "the picture, with its true city above"));
}

/** The training pictures that the body finds most like the one that is shown. */
function nearestPictures() {
  const known = DATA.maps.nearest[view.picture] || [];
  if (!known.length) return null;
  return make("div", { class: "panel nearest" }, make("div", { class: "picks" }, make("p", {}, make("strong", {}, "Most like it in training"))),
    ...known.map(([index, city, likeness]) => make("figure", {},
      index === null ? make("span", { class: "stamp" }, "no thumbnail") : make("img", { src: thumb(index), alt: `training picture of ${city}` }),
      make("figcaption", { class: "quiet" }, `${city} · likeness ${likeness}`))));
}

function panels() {
  const missing = MAPPED.flatMap((run) => Object.keys(DATA.maps.runs[run].methods).map((method) => ({ run, method })))
    .find((pair) => !view.panels.some((shown) => shown.run === pair.run && shown.method === pair.method));
  byId("panels").replaceChildren(...[plainPicture(), nearestPictures()].filter(Boolean), ...view.panels.map(panel),
    make("button", { type: "button", class: "add", onclick: () => { view.panels.push({ ...(missing || view.panels[0]) }); panels(); } }, "+ Add a map"));
}

function wrongIn(picture) {
  return MAPPED.filter((run) => {
    const position = DATA.maps.runs[run].pictures.indexOf(picture);
    return position >= 0 && DATA.maps.runs[run].correct[position] === 0;
  }).length;
}

function strip() {
  return make("div", { class: "strip", role: "group", "aria-label": "Explained pictures" }, ...DATA.maps.pictures.map(([name, city, index], picture) => {
    const wrong = wrongIn(picture);
    return make("button", { type: "button", "aria-pressed": String(picture === view.picture), title: `${city}: ${name}${wrong ? `, predicted wrongly by ${plural(wrong, "run")}` : ""}`,
      onclick: (event) => {
        view.picture = picture;
        document.querySelectorAll(".strip button").forEach((button) => button.setAttribute("aria-pressed", String(button === event.currentTarget)));
        panels();
      } },
    index === null ? make("span", { class: "stamp" }, `${picture + 1}`) : make("img", { src: thumb(index), alt: `${city} ${picture + 1}`, loading: "lazy" }),
    wrong ? make("span", { class: "wrong-count" }, `✗ ${wrong}`) : null);
  }));
}

function scale() {
  const ramp = make("canvas", { width: 256, height: 1, class: "ramp", "aria-hidden": "true" });
  const pen = ramp.getContext("2d");
  const row = pen.createImageData(256, 1);
  const both = bothSides(1, 1);
  for (let level = 0; level < 256; level += 1) {
    const colour = view.against ? both(level - 128, 128) : COLOURS.subarray(3 * level, 3 * level + 3);
    row.data.set([...colour, 255], 4 * level);
  }
  pen.putImageData(row, 0, 0);
  const ends = view.against ? ["evidence against ", " evidence for"] : ["0 ", " maximum of each map"];
  return make("p", { class: "scale", id: "scale" }, ends[0], ramp, ends[1],
    !FINE ? null : make("label", { class: "against" }, make("input", { type: "checkbox", checked: view.against, onchange: (event) => {
      view.against = event.target.checked;
      byId("scale").replaceWith(scale());
      panels();
    } }), " show evidence against, too, in maps of pixels"));
}

function mapNotes() {
  const sizes = new Map();
  MAPPED.forEach((run) => Object.values(DATA.maps.runs[run].methods).forEach((method) => sizes.set(size(method).join(" × "), Math.min(...size(method)))));
  const coarse = [...sizes].filter(([, side]) => side < COARSE).map(([size]) => size);
  const same = [...new Set(MAPPED.map((run) => DATA.maps.runs[run].same_maps).filter((sentence) => typeof sentence === "string"))];
  const shown = DATA.maps.pictures.length;
  return [
    "A map shows where the evidence for a class is: its positive part, divided by its own maximum, over a grey copy of the picture. Bright cells hold much evidence, dark cells none or evidence against the class. Two maps of equal brightness may differ in strength: compare the maxima below them.",
    FINE ? "A map of pixels (integrated) shows the picture itself: in colour where the evidence is, pale where there is none or evidence against." : "",
    `Size of the maps: ${[...sizes.keys()].join(", ")}; every square is one number.`,
    ...same,
    DATA.maps.explained > shown ? `To keep this page small, it shows ${shown} of ${DATA.maps.explained} explained pictures; the others are in the folders of the runs.` : "",
    DATA.maps.left_out.length ? `To keep this page small, the maps of ${plural(DATA.maps.left_out.length, "run")} are left out; they are in the folders of those runs.` : "",
  ].filter(Boolean).map((sentence) => make("p", { class: "quiet" }, sentence)).concat(coarse.length ? [make("p", { class: "notice" },
    make("strong", {}, "Coarse maps. "), `${coarse.join(", ")} numbers for a whole picture are too few to point at an object.`)] : []);
}

function maps() {
  byId("maps-section").hidden = !MAPPED.length || !DATA.maps.pictures.length;
  if (byId("maps-section").hidden) return;
  // The finest maps first: they show the thing itself.
  const fine = (run) => (method) => -size(DATA.maps.runs[run].methods[method])[0];
  const first = (run) => Object.keys(DATA.maps.runs[run].methods).sort((a, b) => fine(run)(a) - fine(run)(b));
  view.panels = MAPPED.length === 1 ? first(MAPPED[0]).slice(0, 4).map((method) => ({ run: MAPPED[0], method }))
    : MAPPED.slice(0, 8).map((run) => ({ run, method: first(run)[0] }));
  byId("maps").append(...mapNotes(), scale(), make("h3", {}, "Picture"), strip(), make("h3", {}, "Maps"), make("div", { id: "panels" }));
  panels();
}
maps();

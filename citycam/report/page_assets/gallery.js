const WITH_GALLERY = Object.keys(DATA.galleries).map(Number);

/** Show a picture as large as its thumbnail allows, with its name and the answer. */
function enlarge(index, name, own, predicted) {
  const box = byId("large");
  box.replaceChildren(make("form", { method: "dialog" }, make("button", { class: "remove", "aria-label": "Close" }, "×")),
    index === null ? make("span", { class: "stamp" }, "no thumbnail") : make("img", { src: thumb(index), alt: name }),
    make("p", {}, make("strong", {}, name)), answer(own, predicted));
  box.showModal();
}

/** Return in words what a run says of a picture: the true class, and the answer where it is another. */
function answer(own, predicted) {
  return predicted ? make("span", { class: "answer" }, make("span", { class: "wrong" }, `✗ answer: ${predicted}`), make("span", { class: "share" }, `truth: ${own}`))
    : make("span", { class: "answer" }, make("span", { class: "share" }, own));
}

function card([index, name, own, predicted]) {
  return make("button", { type: "button", class: predicted ? "card wrong" : "card", title: `${name} (click to enlarge)`, onclick: () => enlarge(index, name, own, predicted) },
    index === null ? make("span", { class: "stamp" }, "no thumbnail") : make("img", { src: thumb(index), alt: name, loading: "lazy" }), answer(own, predicted));
}

const cards = (pictures) => (pictures.length ? make("div", { class: "cards" }, ...pictures.map(card)) : make("p", { class: "quiet" }, "none"));

function city([name, { typical, untypical }]) {
  return make("article", {}, make("h3", {}, name),
    make("div", { class: "two" }, make("div", {}, make("h4", {}, "most typical, predicted rightly"), cards(typical)), make("div", {}, make("h4", {}, "least typical"), cards(untypical))));
}

function pair([name, count, pictures]) {
  return make("article", {}, make("h4", {}, make("strong", {}, name), count ? `: ${plural(count, "picture")}` : ""),
    pictures.length ? cards(pictures) : make("p", { class: "quiet" }, "no thumbnails of this pair"));
}

function gallery(index) {
  const { cities, pairs } = DATA.galleries[index];
  byId("gallery-body").replaceChildren(...cities.map(city), make("h3", {}, "Most confused pairs"),
    pairs.length ? make("div", { class: "pairs" }, ...pairs.map(pair)) : make("p", { class: "quiet" }, "Every prediction is right."));
}

function galleries() {
  byId("gallery-section").hidden = !WITH_GALLERY.length;
  if (!WITH_GALLERY.length) return;
  const all = RUNS.filter((run) => run.status === "completed").length;
  byId("gallery").append(
    make("p", { class: "quiet" }, "Beside a class stands its predicted probability. Typical validation pictures are right predictions whose true class has the highest one, untypical pictures those where it is lowest. ✗ marks a wrong prediction: first the answer, then the truth."
      + (WITH_GALLERY.length < all ? ` To keep this page small, only ${WITH_GALLERY.length} of ${plural(all, "run")} are shown.` : ""), make("span", { class: "screen" }, " Click a picture to enlarge it.")),
    make("p", { class: "row" }, make("label", { for: "gallery-run" }, "Run"),
      make("select", { id: "gallery-run", onchange: (event) => gallery(Number(event.target.value)) }, ...WITH_GALLERY.map((index) => make("option", { value: index }, label(index))))),
    make("div", { id: "gallery-body" }));
  gallery(WITH_GALLERY[0]);
}
galleries();
// Two runs are highlighted when the page opens, as an example of choosing.
RUNS.map((_, index) => index).filter((index) => curved(index) && RUNS[index].status === "completed").slice(0, 2).forEach((index) => choice.toggle(index));

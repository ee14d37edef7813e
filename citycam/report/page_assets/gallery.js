const WITH_GALLERY = Object.keys(DATA.galleries).map(Number);

function card([index, name, probability, predicted]) {
  return make("figure", { class: predicted === null ? "card" : "card wrong", title: name },
    index === null ? make("span", { class: "stamp" }, "no thumbnail") : make("img", { src: thumb(index), alt: name, loading: "lazy" }),
    make("figcaption", {}, predicted === null ? "" : `✗ ${predicted} `, probability === null ? "" : make("span", { class: "share" }, `p ${decimal(probability, 2)}`)));
}

const cards = (pictures) => make("div", { class: "cards" }, ...pictures.map(card));

function city([name, { typical, untypical }]) {
  return make("article", {}, make("h3", {}, name),
    make("div", { class: "two" }, make("div", {}, make("h4", {}, "most typical"), cards(typical)), make("div", {}, make("h4", {}, "least typical"), cards(untypical))));
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
    make("p", { class: "quiet" }, "Typical validation pictures are those whose own class has the highest predicted probability p, untypical ones those where it is lowest. ✗ marks a wrong prediction and names the predicted class."
      + (WITH_GALLERY.length < all ? ` To keep this page small, only ${WITH_GALLERY.length} of ${plural(all, "run")} are shown.` : "")),
    make("p", { class: "row" }, make("label", { for: "gallery-run" }, "Run"),
      make("select", { id: "gallery-run", onchange: (event) => gallery(Number(event.target.value)) }, ...WITH_GALLERY.map((index) => make("option", { value: index }, label(index))))),
    make("div", { id: "gallery-body" }));
  gallery(WITH_GALLERY[0]);
}
galleries();
// Two runs are highlighted when the page opens, as an example of choosing.
RUNS.map((_, index) => index).filter((index) => curved(index) && RUNS[index].status === "completed").slice(0, 2).forEach((index) => choice.toggle(index));

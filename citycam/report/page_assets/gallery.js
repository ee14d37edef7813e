const SHOWN_OFF = Object.keys(DATA.galleries).map(Number);

function card([place, name, share, taken]) {
  return make("figure", { class: taken === null ? "card" : "card wrong", title: name },
    place === null ? make("span", { class: "stamp" }, "no thumbnail") : make("img", { src: thumb(place), alt: name, loading: "lazy" }),
    make("figcaption", {}, taken === null ? "" : `✗ ${taken} `, share === null ? "" : make("span", { class: "share" }, `p ${decimal(share, 2)}`)));
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

function gallery(place) {
  const { cities, pairs } = DATA.galleries[place];
  byId("gallery-body").replaceChildren(...cities.map(city), make("h3", {}, "Most confused pairs"),
    pairs.length ? make("div", { class: "pairs" }, ...pairs.map(pair)) : make("p", { class: "quiet" }, "No picture was confused."));
}

function galleries() {
  byId("gallery-section").hidden = !SHOWN_OFF.length;
  if (!SHOWN_OFF.length) return;
  const all = RUNS.filter((run) => run.status === "completed").length;
  byId("gallery").append(
    make("p", { class: "quiet" }, "Typical are the validation pictures to whose own class the run gives the highest probability p, untypical those with the lowest. ✗ marks a wrong prediction, with what the picture was taken for."
      + (SHOWN_OFF.length < all ? ` To keep this page small it holds ${SHOWN_OFF.length} of ${plural(all, "run")}.` : "")),
    make("p", { class: "row" }, make("label", { for: "gallery-run" }, "Run"),
      make("select", { id: "gallery-run", onchange: (event) => gallery(Number(event.target.value)) }, ...SHOWN_OFF.map((place) => make("option", { value: place }, label(place))))),
    make("div", { id: "gallery-body" }));
  gallery(SHOWN_OFF[0]);
}
galleries();
// Something is highlighted when the page opens, so that it shows what choosing does.
RUNS.map((_, place) => place).filter((place) => curved(place) && RUNS[place].status === "completed").slice(0, 2).forEach((place) => choice.toggle(place));

"""index.html of a study: one offline page that people read from top to bottom, without scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from citycam.errors import DamagedFile
from citycam.files import read_file, reason_of, write_text
from citycam.report.elements import DISTINCTIVE, FREQUENT, NEITHER, STUDY_PAGE, City, Crop, Element, Estimate, Study
from citycam.report.template import asset, filled
from citycam.words import counted, decimal, printable

# Bytes of a crop or picture: more than any of ours has.
_MOST = 2**20
# Elements of a city on its card; the others are in elements.csv.
_SHOWN = 6


def write_study_page(folder: Path, study: Study) -> None:
    """Write index.html into the ``folder`` of a study, whose crops are there.

    Raises:
        DamagedFile: a crop is missing or damaged.
    """
    write_text(folder / STUDY_PAGE, page(folder, study))


def page(folder: Path, study: Study) -> str:
    """Return the page. All text is escaped; pictures are embedded."""
    tables = "elements.csv, cities.csv and occurrence.csv"
    made = f"Made by <code>{_text(study.command)}</code>; every number is in {tables}."
    own = {
        "/*css*/": asset("page.css"),
        "<!--suspicious-->": "".join(f'<p class="notice">{_text(text)}</p>' for text in study.suspicious),
        "<!--lead-->": f'<p class="lead">{escape(_lead(study))}</p>',
        "<!--notes-->": "".join(f'<p class="notice">{escape(note)}</p>' for note in study.notes),
        "<!--links-->": "".join(f'<a href="#city-{n}">{_text(city.name)}</a>' for n, city in enumerate(study.cities)),
        "<!--cities-->": "".join(_city(folder, study, number) for number in range(len(study.cities))),
        "<!--matrix-->": _matrix(study),
        "<!--end-->": f'<p class="quiet">{made}</p>',
    }
    return filled("study.html", own)


def sentence_of(city: City) -> str:
    """Return what a city looks like in one sentence, with numbers of elements.csv."""
    distinctive = [element for element in city.elements if element.verdict == DISTINCTIVE and not element.suspicious]
    best = [element for element in distinctive if element.same_as is None][:3] or distinctive[:1]
    if best:
        parts = [
            f"{_name(element)} (in {_percent(element.here)} of its pictures, {_percent(element.elsewhere)} elsewhere)"
            for element in best
        ]
        return f"By what the network tells {city.name}: {_listed(parts)}."
    if any(element.verdict == FREQUENT for element in city.elements):
        return (
            f"Things that are frequent in {city.name} were found; that the network tells the city by them is not shown."
        )
    return f"Nothing was found by which the network tells {city.name} that holds on pictures it was not found on."


def _lead(study: Study) -> str:
    tested = sum(city.testing for city in study.cities)
    distinctive = sum(element.verdict == DISTINCTIVE for element in study.elements)
    return (
        f"{study.backbone} at {study.image_size} px tells {len(study.cities)} cities apart. Here is by what: "
        f"{counted(distinctive, 'distinctive element')}, counted in each city that shares one, from "
        f"{counted(study.candidates, 'group')} of alike places in training pictures, tested on "
        f"{counted(tested, 'other picture')}."
    )


def _city(folder: Path, study: Study, number: int) -> str:
    city = study.cities[number]
    shown = [element for element in city.elements if element.verdict != NEITHER][:_SHOWN]
    fooled = [(element, why) for element in shown for why in element.suspicious]
    warnings = [f"{_title(element)} may be no thing of the city: {why}" for element, why in fooled]
    notices = "".join(f'<p class="notice">{escape(printable(text))}</p>' for text in (*warnings, *city.notes))
    words = f'<p class="sentence">{_text(sentence_of(city))}</p><p>{_text(_told(study, city))}</p>'
    elements = "".join(_element(folder, study, element) for element in shown)
    parts = f"{words}{notices}{elements}{_typical(folder, city)}"
    return f'<article class="city" id="city-{number}"><h2>{_text(city.name)}</h2>{parts}</article>'


def _typical(folder: Path, city: City) -> str:
    """Return the pictures that the network is surest of; nothing where it is right in none."""
    if not city.typical:
        return ""
    pictures = "".join(
        f'<figure><img src="{_embedded(folder / whole.file)}" alt="{_text(whole.picture)}" loading="lazy"></figure>'
        for whole in city.typical
    )
    title = f"Pictures that it is surest are of {city.name}"
    return f'<div class="element"><h3>{_text(title)}</h3><div class="typical">{pictures}</div></div>'


def _told(study: Study, city: City) -> str:
    """Return in words how well the network tells a city."""
    if city.recall.value is None:
        return "None of its pictures was tested."
    bounds = "" if city.recall.low is None else f" (95 %: {_share(city.recall.low)} to {_share(city.recall.high)})"
    taken = ""
    if city.taken_for is not None and city.taken_share:
        taken = f" Where it is wrong, it most often answers {city.taken_for} ({_share(city.taken_share)} of all)."
    return (
        f"The network answers {_percent(city.recall)} of {counted(city.testing, 'tested picture')}"
        f"{study.of_walks(city.walks)} right{bounds}.{taken}"
    )


def _element(folder: Path, study: Study, element: Element) -> str:
    shared = f" · shared with {', '.join(element.shared_with)}" if element.shared_with else ""
    same = f" · mostly at the places of element {element.same_as}" if element.same_as is not None else ""
    label = f" · {element.label}, in {_share(element.label_share)} of the crops' places" if element.label else ""
    return (
        f'<div class="element"><h3>{_text(f"{_title(element)}: {element.verdict}")}</h3>'
        f'<p class="quiet">{_text(f"{_chance(element)}{shared}{same}{label}")}</p>'
        f'<div class="crops">{"".join(_crop(folder, crop) for crop in element.crops)}</div>'
        f'<div class="bars">{_bar("here", element.here, "")}{_bar("elsewhere", element.elsewhere, "elsewhere")}</div>'
        f"<p>{_text(_loss(study, element))}</p></div>"
    )


def _chance(element: Element) -> str:
    lift = "never elsewhere" if element.lift is None else f"{element.lift:.1f} times as often as elsewhere"
    return f"{lift}, q {_small(element.q)}"


def _loss(study: Study, element: Element) -> str:
    """Return in words what the network loses without an element."""
    if element.loss.value is None:
        return "No tested picture of the city has it."
    loss, share = element.loss, element.superiority
    bounds = "" if loss.low is None else f" [{decimal(loss.low, 1)}, {decimal(loss.high, 1)}]"
    weak = f" These are few {study.units}." if element.weak else ""
    return (
        f"Blurring it in {counted(element.blurred, 'picture')}{study.of_walks(element.walks)} costs more of the city's "
        f"evidence than blurring the same shape at {_percent(share)} of other places (50 % if it does not matter; q "
        f"{_small(element.used_q)}); "
        f"the mean difference is {decimal(loss.value, 1)}{bounds}.{weak}"
    )


def _crop(folder: Path, crop: Crop) -> str:
    name = _text(crop.picture)
    place = f"left:{100 * crop.column:.1f}%;top:{100 * crop.row:.1f}%"
    return (
        f'<details><summary><img src="{_embedded(folder / crop.file)}" alt="crop of {name}" width="112" height="112">'
        f'</summary><figure><span class="picture"><img src="{_embedded(folder / crop.whole)}" alt="{name}">'
        f'<span class="mark" style="{place}"></span></span><figcaption>{name}</figcaption></figure></details>'
    )


def _bar(title: str, share: Estimate, kind: str) -> str:
    value = share.value or 0.0
    span = ""
    if share.low is not None and share.high is not None:
        span = f'<b style="left:{100 * share.low:.1f}%;width:{100 * (share.high - share.low):.1f}%"></b>'
    return (
        f'<span>{title}</span><span class="bar"><i class="{kind}" style="width:{100 * value:.1f}%"></i>{span}</span>'
        f"<span>{_percent(share)}</span>"
    )


def _matrix(study: Study) -> str:
    verdicts = {(element.city, element.number): element.verdict for element in study.elements}
    kept = {number for (_, number), verdict in verdicts.items() if verdict != NEITHER}
    shown = [one for one in study.occurrence if one.number in kept]
    if not shown:
        return '<p class="quiet">No element was left.</p>'
    head = "".join(f"<th>{one.number}</th>" for one in shown)
    rows = ""
    for place, city in enumerate(study.cities):
        values = "".join(_cell(one.shares[place], verdicts.get((city.name, one.number))) for one in shown)
        rows += f"<tr><td>{_text(city.name)}</td>{values}</tr>"
    return (
        f'<div class="scroll"><table class="plain"><thead><tr><th>city</th>{head}</tr></thead><tbody>{rows}</tbody>'
        "</table></div>"
    )


def _cell(share: float | None, verdict: str | None) -> str:
    words = _share(share)
    shade = "" if share is None else f' style="background:color-mix(in srgb,var(--run0) {60 * share:.0f}%,transparent)"'
    return f'<td class="share"{shade}>{f"<strong>{words}</strong>" if verdict == DISTINCTIVE else words}</td>'


def _embedded(path: Path) -> str:
    try:
        content = read_file(path, _MOST)
    except (OSError, ValueError) as error:
        raise DamagedFile(path, reason_of(error)) from error
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"


def _title(element: Element) -> str:
    return f"{element.name} (element {element.number})" if element.name else f"Element {element.number}"


def _name(element: Element) -> str:
    if element.name:
        return element.name
    return f"element {element.number}" + (f", {element.label}" if element.label else "")


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{'; '.join(parts[:-1])}; and {parts[-1]}"


def _percent(estimate: Estimate) -> str:
    return _share(estimate.value)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _small(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {decimal(value, 3)}"


def _text(words: str) -> str:
    return escape(printable(words))

"""comparison.html in headless Chromium, if it is installed."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from citycam.files import write_csv
from citycam.report.page import write_page
from citycam.report.ranking import arrange
from citycam.sweep.runs import read_runs
from tests.report.page_runs import make_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="install chromium to test the page in a browser")
EVIL = "<script>document.title='broken'</script>"
ORDER = "[...document.querySelectorAll('#runs tbody .choose')].map((button) => button.textContent)"


def ask(page: Path, script: str, width: int = 1280) -> Any:
    """Run ``script``, the body of an async function, in a copy of the page and return its result."""
    probe = (
        "<script>window.onerror = (message) => { window.failure = message; };</script>",
        f"<script>(async () => {{ let answer; try {{ answer = await (async () => {{ {script} }})(); }}"
        " catch (error) { answer = { failure: String(error) }; }"
        " const output = document.createElement('pre'); output.id = 'answer';"
        " output.textContent = JSON.stringify(window.failure ? { failure: window.failure } : answer);"
        " document.body.append(output); })();</script>",
    )
    copy = page.with_suffix(".probe.html")
    text = page.read_text().replace("<body>", "<body>" + probe[0]).replace("</body>", probe[1] + "</body>")
    copy.write_text(text)
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    command += [f"--user-data-dir={page.parent / 'profile'}", f"--window-size={width},1000", copy.as_uri()]
    settings = os.environ | {"HOME": str(page.parent)}
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=settings).stdout
    output = re.search(r'<pre id="answer">(.*?)</pre>', printed, re.DOTALL)
    assert output, printed[-2000:]
    answer = json.loads(html.unescape(output[1]))
    assert not (isinstance(answer, dict) and "failure" in answer), answer
    return answer


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Write the page of three runs with maps, one of them with markup in its names, and of one that failed."""
    make_run(tmp_path / "s" / "0", overrides=("epochs=5", "note=a"), accuracy=0.7)
    make_run(tmp_path / "s" / "1", overrides=("epochs=10", "note=b"), accuracy=0.9, size=(4, 4))
    make_run(tmp_path / "s" / "2", overrides=("epochs=2", f"note={EVIL}"), accuracy=0.52, cities=(EVIL, "b"))
    make_run(tmp_path / "s" / "3", overrides=("epochs=7",), status="failed", error=EVIL, final={}, pictures=0)
    write_page(tmp_path / "comparison.html", read_runs(tmp_path / "s"))
    return tmp_path / "comparison.html"


def test_a_column_sorts_both_ways_with_missing_values_last(page: Path) -> None:
    script = f"""
      const heads = [...document.querySelectorAll('#runs th button')];
      const by = (title) => heads.find((head) => head.textContent === title).click();
      const orders = [{ORDER}];
      for (const title of ['accuracy [95 %]', 'accuracy [95 %]', 'epochs']) {{ by(title); orders.push({ORDER}); }}
      return [orders, document.querySelector('#runs th[aria-sort=ascending]').textContent];"""
    orders, sorted_by = ask(page, script)
    assert orders == [list("1234"), list("2134"), list("3124"), list("3142")]
    assert sorted_by == "epochs"


def test_a_chosen_run_is_highlighted_in_table_and_curves(page: Path) -> None:
    script = """
      const state = () => [[...document.querySelectorAll('tr.chosen .choose')].map((element) => element.textContent),
        [...document.querySelectorAll('#chart-accuracy .run.chosen .end')].map((element) => element.textContent).sort(),
        document.querySelectorAll('#curves-legend .chip').length];
      const states = [state()];
      document.querySelectorAll('#runs .choose')[2].click(); states.push(state());
      const line = document.querySelector('#chart-loss .run:not(.chosen) .hit');
      line.dispatchEvent(new MouseEvent('click', { bubbles: true })); states.push(state());
      document.querySelectorAll('#curves-legend .chip')[0].click(); states.push(state());
      document.querySelectorAll('#runs .choose')[1].focus();
      const reading = document.querySelector('#curves-reading').textContent;
      return [states, reading, document.querySelectorAll('#chart-accuracy line.majority').length];"""
    states, reading, lines = ask(page, script)
    assert states[0] == [["1", "2"], ["#1", "#2"], 2]
    assert states[1] == [["1", "2", "3"], ["#1", "#2", "#3"], 3]
    assert states[2][0] == list("1234")
    assert states[3][0] == list("234")
    assert reading.startswith("#2 10 · b: after epoch 5: validation loss 0.240")
    assert lines == 1


def test_maps_of_one_picture_are_beside_each_other_with_blank_and_wrong_ones_marked(page: Path) -> None:
    script = """
      const frames = () => new Promise((done) => setTimeout(done, 300));
      const text = () => [...document.querySelectorAll('.panel:not(.plain)')].map((element) => element.textContent);
      const seen = { first: text().length, coarse: document.querySelector('#maps .notice').textContent };
      document.querySelectorAll('.strip button')[1].click(); seen.wrong = text();
      document.querySelectorAll('.strip button')[2].click();
      seen.blank = document.querySelectorAll('.canvas.blank').length;
      document.querySelector('.add').click(); seen.added = text().length;
      const method = document.querySelector('.panel:not(.plain) select[aria-label=Method]');
      method.value = 'smoothgradcampp'; method.dispatchEvent(new Event('change')); await frames();
      const canvas = document.querySelector('.panel:not(.plain) canvas');
      seen.shape = [canvas.width, canvas.height];
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      const colours = Array.from({ length: pixels.length / 4 }, (_, at) => pixels.slice(4 * at, 4 * at + 3).join());
      seen.colours = new Set(colours).size;
      document.querySelector('.remove').click(); seen.removed = text().length;
      return seen;"""
    seen = ask(page, script)
    assert (seen["first"], seen["added"], seen["removed"]) == (3, 4, 3)
    assert seen["coarse"].startswith("Coarse maps. 4 × 4 numbers")
    assert all("✗ wrong: " in text for text in seen["wrong"])
    assert seen["blank"] == 3
    assert seen["shape"] == [192, 144], "the picture's own shape"
    assert seen["colours"] > 64, "a picture below 64 cells"


def test_ranks_sort_by_what_they_mean_and_figures_are_those_of_the_tables(tmp_path: Path) -> None:
    known = {"data": {"digest": "d", "kind": "folder", "target": "arden"}, "classes": ["arden", "brill"]}
    for number, accuracy in enumerate((0.5, 145 / 210, 0.688, 144 / 210)):
        make_run(tmp_path / "s" / f"{number}", overrides=(f"epochs={number}",), accuracy=accuracy, **known)
    for number, wrong in enumerate((105, 65, 65, 66)):
        rows = [[f"{place}.jpg", "arden", "brill" if place < wrong else "arden"] for place in range(210)]
        write_csv(tmp_path / "s" / f"{number}" / "predictions.csv", ["path", "label", "predicted"], rows)
        split = [[f"{place}.jpg", f"{place:032x}", "arden", None, "val"] for place in range(210)]
        write_csv(tmp_path / "s" / f"{number}" / "split.csv", ["path", "digest", "city", "group", "part"], split)
    (tmp_path / "s" / "2" / "predictions.csv").unlink()
    comparables = arrange(read_runs(tmp_path / "s"))
    write_page(tmp_path / "comparison.html", [row for its in comparables for row in its.rows], comparables)
    script = """
      const ranks = () => [...document.querySelectorAll('#runs td.rank')].map((cell) => cell.textContent);
      const head = [...document.querySelectorAll('#runs th button')].find((button) => button.textContent === 'rank');
      const first = document.querySelector('#runs td.accuracy').textContent;
      const before = ranks(); head.click(); const up = ranks(); head.click();
      return [before, up, ranks(), first, document.querySelector('#title').textContent,
        document.querySelector('.finding p').textContent];"""
    before, up, down, accuracy, title, finding = ask(tmp_path / "comparison.html", script)
    assert before == ["best", "untested", "≈ best", "below"]
    assert up == ["best", "≈ best", "below", "untested"]
    assert down == up[::-1]
    assert accuracy == "0.690 [0.64, 0.74]"
    assert title == "Comparison of runs"
    assert finding.startswith("Best: #1 (epochs 1), accuracy 0.690 [0.64, 0.74]")


def test_a_picture_is_enlarged_and_its_answer_is_not_taken_for_the_truth(page: Path) -> None:
    script = """
      const wrong = document.querySelector('.card.wrong'); wrong.click();
      const box = document.querySelector('#large');
      const words = wrong.querySelector('.answer').innerText;
      return [words, box.open, box.querySelectorAll('img').length, box.textContent];"""
    words, is_open, pictures, text = ask(page, script)
    assert [line for line in words.splitlines() if line] == ["✗ answer: brill", "truth: arden 0.02"]
    assert is_open
    assert pictures == 1
    assert "arden/x" in text


@pytest.mark.parametrize("width", [1400, 500])
def test_what_ranks_is_on_the_screen(page: Path, width: int) -> None:
    script = """
      const cells = (kind) => [...document.querySelectorAll(`#runs td.${kind}`)];
      const right = (kind) => Math.max(...cells(kind).map((cell) => cell.getBoundingClientRect().right));
      return [right('accuracy'), right('balanced'), right('marks'), innerWidth];"""
    *rights, inside = ask(page, script, width)
    assert max(rights) <= inside


def test_every_run_has_its_own_gallery(page: Path) -> None:
    script = """
      const names = '#gallery h3, #gallery h4 strong';
      const heads = () => [...document.querySelectorAll(names)].map((element) => element.textContent);
      const before = heads(); const select = document.querySelector('#gallery-run');
      select.value = 2; select.dispatchEvent(new Event('change'));
      return [before, heads(), document.querySelectorAll('.card.wrong').length];"""
    before, after, wrong = ask(page, script)
    assert before == ["arden", "brill", "Most confused pairs", "arden as brill"]
    assert after == [EVIL, "b", "Most confused pairs", f"{EVIL} as b"]
    assert wrong == 1


def test_markup_in_names_is_text_and_failures_are_shown(page: Path) -> None:
    title, scripts, notice = ask(
        page, "return [document.title, document.scripts.length, document.querySelector('.notice.error').textContent];"
    )
    assert title == "citycam: comparison of runs"
    assert scripts == 4, "the page's two, and two of this test"
    assert EVIL in notice
    assert notice.startswith("failed #4")


def test_sections_without_content_are_hidden(tmp_path: Path) -> None:
    (make_run(tmp_path / "s" / "0", pictures=0) / "metrics.csv").unlink()
    write_page(tmp_path / "comparison.html", read_runs(tmp_path / "s"))
    shown = "return ['curves', 'maps', 'gallery'].map((name) => document.getElementById(`${name}-section`).hidden);"
    assert ask(tmp_path / "comparison.html", shown) == [True, True, True]


def on_paper(page: Path) -> Path:
    """Return a copy of the page to which the rules for print apply on the screen."""
    text = page.read_text()
    assert text.count("@media print {") == 1
    paper = page.with_name("paper.html")
    paper.write_text(text.replace("@media print {", "@media all {"))
    return paper


def test_what_is_drawn_for_a_wide_window_fits_paper(page: Path) -> None:
    script = """
      document.documentElement.style.width = '1032px';  // landscape A4 less its margins; nothing is drawn again
      return [...document.querySelectorAll('.chart svg')].map((svg) => [svg.width.baseVal.value,
        svg.getBoundingClientRect().right - svg.parentElement.getBoundingClientRect().right]);"""
    drawn = ask(on_paper(page), script, 1480)
    assert len(drawn) == 2
    for width, beyond in drawn:
        assert width > 500
        assert beyond < 1


@pytest.mark.parametrize("settings", [3, 25])
def test_a_table_of_many_settings_is_not_cut_on_paper(settings: int, tmp_path: Path) -> None:
    for number in range(2):
        words = tuple(f"augment.setting{key}={number}mobilenetv2_100" for key in range(settings))
        make_run(tmp_path / "s" / f"{number}", overrides=words)
    write_page(tmp_path / "page.html", read_runs(tmp_path / "s"))
    script = """
      document.documentElement.style.width = '1032px';
      const cell = document.querySelector('#runs td.words');
      return [document.getElementById('runs').getBoundingClientRect().right, cell.getClientRects().length,
        cell.firstChild.getClientRects().length];"""
    right, _, lines = ask(on_paper(tmp_path / "page.html"), script)
    assert right <= 1033
    assert (lines > 1) is (settings == 25)  # words are broken only where they must be


def test_paper_has_no_words_about_clicking_and_no_dark_colours(page: Path) -> None:
    script = """
      const shown = [...document.querySelectorAll('body *')].filter((element) => element.childElementCount === 0
        && element.checkVisibility() && !element.closest('script, style, pre'));
      return [shown.map((one) => one.textContent).join(' '), getComputedStyle(document.body).backgroundColor];"""
    words, colour = ask(on_paper(page), script)
    assert "Click" not in words
    assert "most typical" in words
    assert colour == "rgb(255, 255, 255)"
    assert "@media screen and (prefers-color-scheme: dark)" in page.read_text()

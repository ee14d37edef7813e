"""The page of a study in headless Chromium, if it is installed: on a screen, on a phone, and on paper."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from citycam.report.elements import CROPS, FREQUENT, STUDY_PAGE, USED
from citycam.report.page_study import write_study_page
from tests.report.test_page_browser import CHROMIUM, ask
from tests.report.test_page_study import make_element, make_study

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="install chromium to test the page in a browser")
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
# Whether anything is wider than the window, and what a click on a crop shows.
LOOK = """
  const wide = [...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll')
    && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((one) => one.className);
  const crop = document.querySelector('.crops details');
  const shown = () => crop.querySelector('figure').checkVisibility({ contentVisibilityAuto: true });
  const before = shown(); crop.querySelector('summary').click();
  await new Promise((done) => setTimeout(done, 300)); const after = shown();
  const picture = crop.querySelector('.picture').getBoundingClientRect();
  const mark = crop.querySelector('.mark').getBoundingClientRect();
  const at = [(mark.left + mark.width / 2 - picture.left) / picture.width,
    (mark.top + mark.height / 2 - picture.top) / picture.height];
  const bar = document.querySelector('.bar').getBoundingClientRect();
  const own = document.querySelector('.bar i').getBoundingClientRect();
  return { wide, before, after, at, share: own.width / bar.width,
    loaded: [...document.images].every((one) => one.naturalWidth > 0),
    heads: [...document.querySelectorAll('h3')].map((one) => one.textContent) };"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Write a page of four cities."""
    (tmp_path / CROPS).mkdir()
    for name, side in (("a.jpg", 112), ("whole.jpg", 256)):
        Image.effect_noise((side, side), 60).convert("RGB").save(tmp_path / CROPS / name)
    (city,) = make_study(make_element(), make_element(FREQUENT, 4), make_element(USED, 5)).cities
    names = ["york", "a city with a very long name " * 4, "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"]
    study = make_study(make_element())
    cities = tuple(dataclasses.replace(city, name=name) for name in names)
    occurrence = tuple(dataclasses.replace(one, shares=(0.25, None, 1.0)) for one in study.occurrence)
    write_study_page(tmp_path, dataclasses.replace(study, cities=cities, occurrence=occurrence))
    return tmp_path / STUDY_PAGE


@pytest.mark.parametrize("width", [1280, 500])
def test_a_person_sees_crops_and_the_pictures_behind_them(page: Path, width: int) -> None:
    page.write_text(POLICY.sub("", page.read_text(), count=1))  # it allows no script, and so no test
    seen = ask(page, LOOK, width)
    assert seen["wide"] == []
    assert (seen["before"], seen["after"]) == (False, True)
    assert seen["at"] == pytest.approx([0.75, 0.25], abs=0.02)
    assert seen["share"] == pytest.approx(0.72, abs=0.02)
    assert seen["loaded"]
    assert seen["heads"][0] == "Element 3: distinctive"


def test_the_page_can_be_printed(page: Path) -> None:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"]
    command += [f"--print-to-pdf={page.parent / 'a.pdf'}", page.as_uri()]
    settings = os.environ | {"HOME": str(page.parent)}
    subprocess.run(command, capture_output=True, timeout=120, check=True, env=settings)
    paper = (page.parent / "a.pdf").read_bytes()
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Subtype /Image") >= 2  # the crop and the whole picture


def test_the_page_allows_no_script(page: Path) -> None:
    (policy,) = POLICY.findall(page.read_text())
    assert "default-src 'none'" in policy
    assert "script-src" not in policy

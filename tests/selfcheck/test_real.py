"""The real thing: toytown's own body, and photographs with a pretrained one."""

from __future__ import annotations

from pathlib import Path

import pytest

from citycam.report.verdicts import BLIND, FAULTY, FINDS, WEAK, SelfCheck, read_check
from citycam.selfcheck.faulty import FAULTY as VARIANTS
from tests.conftest import ROOT
from tests.selfcheck.conftest import Check

SHARED = ROOT.parent / "shared"
PHOTOGRAPHS, WEIGHTS = SHARED / "datasets" / "city7", SHARED / "weights" / "mobilenetv2_100.safetensors"
RANK = (BLIND, WEAK, FINDS)

pytestmark = pytest.mark.slow


def read(results: Path) -> SelfCheck:
    """The one result below a folder."""
    (path,) = results.glob("*/selfcheck.json")
    return read_check(path)


def assert_faults_are_seen(result: SelfCheck) -> None:
    """Faulty variants are at most weak, and never better than their right form."""
    methods = result.marks[0].methods
    for name, its in methods.items():
        if its.kind == FAULTY:
            assert its.verdict in (WEAK, BLIND)
            right = methods[VARIANTS[name].right]
            assert RANK.index(str(its.verdict)) <= RANK.index(str(right.verdict))


def test_on_toytown_grad_cam_does_not_pass(check: Check) -> None:
    outcome = check(small=False)
    result = read(outcome.results)
    assert result.verdicts["gradcam"] != FINDS
    assert_faults_are_seen(result)


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="../shared/datasets/city7 does not exist")
@pytest.mark.skipif(not WEIGHTS.exists(), reason="../shared/weights/mobilenetv2_100.safetensors does not exist")
def test_on_photographs_grad_cam_is_blind(check: Check) -> None:
    outcome = check(
        "data=folder",
        f"data.root={PHOTOGRAPHS}",
        "data.target=paris",
        "backbone=mobilenetv2_100",
        f"backbone.weights={WEIGHTS}",
        "image_size=96",
        small=False,
    )
    result = read(outcome.results)
    assert result.verdicts["gradcam"] == BLIND
    assert_faults_are_seen(result)
    (mark,) = result.marks
    assert all(cue.used for cue in mark.cues)
    integrated = mark.methods["integrated"]
    assert integrated.cue.value >= 3 * integrated.decoy.value
    assert integrated.energy.low > max(its.energy.high for its in mark.methods.values() if its.kind == "control")

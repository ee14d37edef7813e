"""The training pictures most like the explained ones: from the bank's features, written and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from citycam.bank.frozen import FrozenBody
from citycam.data.inputs import PlannedRun, load_inputs
from citycam.errors import DamagedFile
from citycam.explain.nearest import COUNT
from citycam.explain.sample import validation_sample
from citycam.sweep.gate import read_request
from citycam.sweep.ledger import Ledger
from citycam.sweep.stored import read_nearest, read_split
from tests.conftest import Outcome, small_settings

Train = Callable[..., Outcome]


def test_nearest_are_the_training_pictures_with_the_highest_cosine(
    train: Train, cities: Path, tiny_weights: Path
) -> None:
    (run,) = train("explain.methods=[cam]").runs
    nearest = read_nearest(run)
    request = read_request([*small_settings(cities, tiny_weights), "epochs=1", "explain.methods=[cam]"])
    assert request is not None
    config = request.jobs[0].config
    resolved = Ledger(run.parent).resolved(request.jobs[0].hash)
    assert resolved is not None
    plan = PlannedRun(config, load_inputs(config), resolved)
    pictures, inputs = plan.inputs.catalog.pictures, plan.inputs
    body = FrozenBody(plan)
    known = body.reader(training=True, epochs=1)(inputs.train, 0).numpy()
    mean = known.mean(axis=0, dtype=np.float64)
    rows = validation_sample(config.explain, inputs)
    assert set(nearest) == {pictures[row].digest for row in rows}
    for row in rows.tolist():
        own = body.reader(training=False, epochs=1)(np.array([row]), 0).numpy()[0] - mean
        shares = [float(own @ (one - mean) / np.linalg.norm(own) / np.linalg.norm(one - mean)) for one in known]
        best = sorted(shares, reverse=True)[:COUNT]
        assert [share for _, _, share in nearest[pictures[row].digest]] == pytest.approx(best, abs=1e-4)
    parts = {its.digest: (its.part, its.city) for its in read_split(run)}
    for its in nearest.values():
        assert all(parts[digest] == ("train", city) for digest, city, _ in its)
        assert all((run / "thumbs" / f"{digest}.jpg").exists() for digest, _, _ in its)


@pytest.mark.slow
def test_a_body_that_trains_and_a_run_without_a_bank_have_none(train: Train) -> None:
    for word in ("backbone.finetune=conv_head", "bank.enabled=false"):
        outcome = train(word, "explain.methods=[cam]", "explain.pictures=1", f"sweep.name={word[:4]}")
        assert outcome.code == 0, outcome.err
        (run,) = (path.parent for path in outcome.results.parent.glob(f"{word[:4]}/*/run.json"))
        with pytest.raises(FileNotFoundError):
            read_nearest(run)


DAMAGE = {
    "no table": b"\xff\xfe",
    "a column too few": b"digest,nearest\na,b\n",
    "no digest": b"digest,nearest_digest,nearest,city,likeness\n../x,../y,n,c,0.5\n",
    "no number": b"digest,nearest_digest,nearest,city,likeness\n%s,%s,n,c,nan\n" % (b"a" * 32, b"b" * 32),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_table_is_refused(damage: str, tmp_path: Path) -> None:
    (tmp_path / "explain").mkdir()
    (tmp_path / "explain" / "nearest.csv").write_bytes(DAMAGE[damage])
    with pytest.raises(DamagedFile):
        read_nearest(tmp_path)

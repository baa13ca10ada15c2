"""Standard errors of ratios in a sweep: fill rates and values by place in the queue, mark-outs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from small_study import small_study

import mcmm
from mcmm.comparison import ratio_of_sums
from mcmm.errors import InputError
from mcmm.metrics import PLACES
from mcmm.moments import BATCHES
from mcmm.reports.findings import Findings
from mcmm.reports.queue import HORIZONS, _estimate, queues_of

PAIRS = [
    *((f"queue_{kind}_{place}", f"queue_steps_{place}") for kind in ("fills", "value") for place in PLACES),
    *((f"markout_{h}", f"markout_volume_{h}") for h in HORIZONS),
]
BOOK = {"venue": "book", "steps": 60}


def batched(values: np.ndarray) -> np.ndarray:
    """Sums by batch of rows of values."""
    padded = np.zeros((len(values), -(-values.shape[1] // BATCHES) * BATCHES))
    padded[:, : values.shape[1]] = values
    return padded.reshape(len(values), -1, BATCHES).sum(axis=1)


@pytest.mark.parametrize("paths", [1, 2, 40, BATCHES])
def test_of_a_path_a_batch_it_is_the_simulations_own(paths: int) -> None:
    values = np.random.default_rng(paths).gamma(2.0, size=(2, paths))
    assert ratio_of_sums(*batched(values), paths) == pytest.approx(_estimate(*values), rel=1e-12, nan_ok=True)


def test_nothing_to_share_by_is_not_known() -> None:
    assert all(math.isnan(each) for each in ratio_of_sums(np.zeros(BATCHES), np.zeros(BATCHES), 100))


@pytest.mark.slow
@pytest.mark.parametrize("paths", [100, 640])
def test_intervals_hold_the_ratio_as_often_as_they_say(paths: int) -> None:
    """100 paths make batches of one and of two: each counts by its size."""
    random = np.random.default_rng(8)
    held, variances, ratios = [], [], []
    for _ in range(4000):
        of = random.gamma(4.0, size=paths)
        ratio, error = ratio_of_sums(*batched(np.stack([of * random.normal(0.5, 0.4, paths), of])), paths)
        held.append(abs(ratio - 0.5) < 1.9983 * error)  # Student's t, 63 degrees of freedom
        variances.append(error * error)
        ratios.append(ratio)
    assert np.mean(held) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000) + 0.003)
    assert np.mean(variances) == pytest.approx(np.var(ratios), rel=0.12)


def test_a_sweeps_errors_are_those_of_the_simulation() -> None:
    """Sixty-four batches know an error to 9%; four times that, where orders were often enough to say."""
    study = small_study(paths=2000, scenario=BOOK, points={"axes": {"quoting.base_spread": [0.02, 0.06]}})
    result = mcmm.sweep(study, jobs=2)
    found = result.ratios(PAIRS)
    queues = queues_of(Findings.of(result))
    compared = 0
    for point in range(2):
        run = mcmm.simulate(study.scenario_at(point), paths=2000, seed=study.seed, jobs=2)
        rows = dict(zip(run.scenario.columns, run.values, strict=True))
        for pair, (ratio, error) in zip(PAIRS, found[:, point], strict=True):
            expected = _estimate(*(rows[name] for name in pair))
            assert ratio == pytest.approx(expected[0], rel=1e-9, nan_ok=True)
            if np.count_nonzero(rows[pair[1]]) > 500:
                assert error == pytest.approx(expected[1], rel=0.36)
                compared += 1
        value, error = queues[point].value["front"]
        assert (value, error) == pytest.approx(
            100.0 * found[PAIRS.index(("queue_value_front", "queue_steps_front")), point]
        )
        table = result.ratio("markout_10", "markout_volume_10")
        assert table.iloc[point].tolist() == found[-2, point].tolist()
    assert compared > 12


def test_paths_of_several_rounds_and_chunks_count_together(tmp_path: Path) -> None:
    precise = {"metric": "pnl_fair.mean", "standard_error": 0.02, "first_paths": 256, "most_paths": 2048}
    axes = {"quoting.base_spread": [0.02, 0.3]}
    tables = small_study(scenario=BOOK, points={"axes": axes}).to_dict() | {"precision": precise}
    tables.pop("paths")
    study = mcmm.Study(**tables)
    result = mcmm.sweep(study, out=tmp_path / "run", jobs=2)
    assert max(result.paths_of(point) for point in range(2)) > 256
    found = result.ratio("queue_fills_front", "queue_steps_front")
    for point in range(2):
        values = np.stack([result.values(point, f"queue_{kind}_front") for kind in ("fills", "steps")])
        expected = ratio_of_sums(*batched(values), values.shape[1])
        assert found.iloc[point].tolist() == pytest.approx(expected, rel=1e-9)


def test_a_study_too_large_to_keep_the_sums_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mcmm.study.MANY_POINTS", 1)
    study = small_study(paths=100, scenario=BOOK, points={"axes": {"quoting.base_spread": [0.02, 0.06]}})
    result = mcmm.sweep(study, jobs=1)
    with pytest.raises(
        InputError, match=r"ratio: must be of pnl_settled, .* in a study of 2 points, got queue_fills_front"
    ):
        result.ratio("queue_fills_front", "queue_steps_front")
    with pytest.raises(InputError, match=r"metric: must be one of .*, got 'queue_fills'"):
        result.ratio("queue_fills", "queue_steps_front")
    assert result.ratio("pnl_fair", "pnl")["standard_error"].gt(0.0).all()
    assert all(math.isnan(error) for _, error in queues_of(Findings.of(result))[0].rate.values())
    mcmm.report(result)
    assert "mark-outs, with standard errors" not in " ".join(capsys.readouterr().out.split())

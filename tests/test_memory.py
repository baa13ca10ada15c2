"""Memory of a sweep: it does not grow with the paths of a point."""

from __future__ import annotations

import sys

import pytest
from small_study import start

SWEEP = """
    import resource, sys
    from small_study import small_study
    from mcmm.runner import sweep
    points = {"axes": {"quoting.base_spread": [0.04]}}
    study = small_study(scenario={"steps": 1}, paths=int(sys.argv[1]), points=points)
    result = sweep(study, jobs=2)
    assert result.summary["pnl.count"][0] == study.paths
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="what a process held is told otherwise elsewhere"
)
def test_a_points_paths_take_no_more_memory_the_more_there_are() -> None:
    """Two and a half million more paths would take 620 MB, were their rows held."""
    held = []
    for paths in (500_000, 3_000_000):
        out, err = start(SWEEP, paths).communicate(timeout=120)
        assert not err, err
        held.append(int(out) / 1e3)
    assert held[1] - held[0] < 100, held

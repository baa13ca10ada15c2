"""Hold the panel's values to their frozen hashes in data/golden.json, or freeze them anew.

From the root of the clone:

    python tests/golden.py              the build chosen at import (MCMM_ISA overrides), on 1 and 2 jobs
    python tests/golden.py --sweeps     through sweeps, too: threading and loky, on 1 and 2 jobs
    python tests/golden.py --write      freeze what this build gives: a new scenario, a new major version

What is checked is the mcmm that is installed, or the one on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import panel

import mcmm
from mcmm import chunks, engine, runner

GOLDEN = Path(__file__).parent / "data" / "golden.json"
JOBS = (1, 2)
BACKENDS = ("threading", "loky")


def load() -> dict[str, str]:
    """The frozen hashes, by scenario."""
    return dict(json.loads(GOLDEN.read_text("utf-8")))


def write() -> str:
    """Freeze this build's values; say what changed."""
    old = load() if GOLDEN.exists() else {}
    new = {name: panel.digest(name) for name in panel.SCENARIOS}
    GOLDEN.write_text(json.dumps(new, indent=2) + "\n", "utf-8")
    changed = [name for name in new if name in old and old[name] != new[name]]
    told = {"new": new.keys() - old.keys(), "gone": old.keys() - new.keys(), "changed": changed}
    return "; ".join(f"{word}: {', '.join(sorted(names)) or 'none'}" for word, names in told.items())


def swept(name: str, jobs: int, backend: str) -> str:
    """The hash, its first paths taken from a sweep of two points, a chunk each."""
    scenario = mcmm.Scenario.from_dict(panel.SCENARIOS[name])
    axes = {"steps": [scenario.steps, scenario.steps - 1]}
    study = mcmm.Study(
        name=name,
        scenario=scenario,
        paths=panel.FROZEN,
        seed=panel.SEED,
        points={"axes": axes},
        keep_paths=True,  # or its paths would be simulated again here, and not be the workers'
    )
    assert len(chunks.plan(study)) == study.count
    result = runner.sweep(study, jobs=jobs, backend=backend, policy=panel.named_policy(name))
    return panel.digest(
        name, panel.plain(np.array([result.values(0, metric) for metric in scenario.columns]))
    )


def failures(sweeps: bool) -> list[str]:
    """What differs from the frozen hashes, each with the way it was computed."""
    engine._SLICE = 1  # the smallest slices there can be, a block each, so that two jobs share a run
    chunks._SMALLEST = 1  # and chunks of a point each
    frozen = load()
    found = [f"{name}: is in one of panel and golden.json" for name in frozen.keys() ^ panel.SCENARIOS.keys()]
    ways = [
        (f"simulate, jobs {jobs}", partial(panel.digest, jobs=jobs), list(panel.SCENARIOS)) for jobs in JOBS
    ]
    if sweeps:
        ways += [
            (f"sweep, {backend}, jobs {jobs}", partial(swept, jobs=jobs, backend=backend), panel.SWEPT)
            for backend in BACKENDS
            for jobs in JOBS
        ]
    for way, digest, names in ways:
        wrong = [name for name in names if digest(name) != frozen.get(name)]
        print(f"{'differ' if wrong else 'same':>6}  {len(names)} scenarios, {way}", flush=True)
        found.extend(f"{name}: {way}" for name in wrong)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tests/golden.py", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--write", action="store_true", help="freeze this build's values anew")
    parser.add_argument("--sweeps", action="store_true", help="through sweeps, too")
    parser.add_argument("--isa", help="fail if another build than this one was chosen at import")
    parser.add_argument("--compiler", help="fail if another compiler built it")
    options = parser.parse_args()
    core = engine.core_info()
    print(f"mcmm {mcmm.__version__} of {Path(mcmm.__file__).parent}: {core['isa']}, {core['compiler']}")
    wanted = f"{options.isa or 'any build'}, {options.compiler or 'any compiler'}"
    if options.isa not in (None, core["isa"]) or not core["compiler"].startswith(options.compiler or ""):
        print(f"error: wanted {wanted}", file=sys.stderr)
        return 1
    if options.write:
        print(write())
        return 0
    found = failures(options.sweeps)
    for failure in found:
        print(f"error: not the frozen bits: {failure}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

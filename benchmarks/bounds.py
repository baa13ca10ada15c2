"""What bounds the reduced bot and the default: ``python -m benchmarks.bounds``.

Interleaved in one process: the draws of the bot's steps alone, as the core makes them; the whole of it; the
default scenario; the vectorised Numba peer. Beside them what the arithmetic comes to if it were written for
that scenario alone and nothing ever waited: the vector operations that model.md leaves no choice about,
counted by hand below, two a cycle.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from benchmarks import cases
from benchmarks.timing import circumstances, interleave, measured, per_path_step, ratio, table

__all__ = ["BESIDES", "OPERATIONS", "main"]

PATHS = 4096

# What, its operations on vectors of 512 bits, and the path-steps that share them: two a floor, ceiling or
# narrowing; what is whole numbers is counted as if all of it were held in 32 bits.
OPERATIONS = (
    ("draws: six rounds of AES, words to lanes, five purposes of four steps each", 200, 64),
    ("two normals of two words: logarithm, root, sine, cosine", 67, 32),
    ("sizes by a search in a register; who comes, which side, informed or not", 21, 16),
    ("walk: drift, step, bounds, to single precision; back again", 9, 8),
    ("logistic in single precision", 25, 16),
    ("half-spread and both prices to the tick, in double precision", 24, 8),
    ("whole numbers: window, sizes, volume, fills, inventory, spread", 37, 16),
    ("who is picked off, what is paid, cash, fair value and what informed takers earn", 13, 8),
    ("mid after a fill, with its defence", 12, 8),
    ("both pnls, peaks, drawdowns, exposure, the breaker", 16, 8),
)
# What the default scenario does besides.
BESIDES = (
    ("default: draws of a sixth purpose", 40, 64),
    ("default: how far from fair the uninformed would pay, in double precision, to single", 8, 8),
    ("default: exponential in single precision, and who stays", 18, 16),
    ("default: both prices shaded by the imbalance", 3, 8),
)
A_CYCLE = 2.0


def main(argv: list[str] | None = None) -> None:
    """Time, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bounds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--gigahertz", type=float, default=2.95, help="the processor's, for what is counted")
    options = parser.parse_args(argv)
    from mcmm import Scenario
    from mcmm._isa import core
    from mcmm.plan import make_plan

    scenario = Scenario.from_dict(cases.SCENARIOS["reduced"])
    plan = make_plan(scenario)
    assert isinstance(plan, core.Plan)
    run, steps = cases.core("reduced")
    default, default_steps = cases.core("default")
    subjects = {
        "draws alone": per_path_step(lambda paths, seed: core.draw_alone(plan, seed, paths), PATHS, steps),
        "the reduced bot": per_path_step(run, PATHS, steps),
        "the default scenario": per_path_step(default, PATHS, default_steps),
        "Numba, vectorised": per_path_step(cases.peer("numba_vector")[0], PATHS, steps),
    }
    times = interleave(subjects, options.rounds)
    peer = "Numba, vectorised"
    rows = [
        f"| {name} | {statistics.median(times[name]):.2f} | {measured(ratio(times, name, peer))} |"
        for name in subjects
    ]
    sys.stdout.write(circumstances(options.rounds, PATHS) + "\n\n")
    sys.stdout.write(table("| timed | ns a path-step | of the peer's time |", rows) + "\n\n")
    counted, besides = (
        [(what, count / lanes) for what, count, lanes in counts] for counts in (OPERATIONS, BESIDES)
    )
    bot = ("**all of the reduced bot**", sum(operations for _, operations in counted))
    other = ("**all of the default**", bot[1] + sum(operations for _, operations in besides))
    rows = [
        f"| {what} | {operations:.2f} | {operations / A_CYCLE / options.gigahertz:.2f} |"
        for what, operations in [*counted, bot, *besides, other]
    ]
    head = f"| counted | operations a path-step | ns at {A_CYCLE:.0f} a cycle, {options.gigahertz} GHz |"
    sys.stdout.write(table(head, rows) + "\n")


if __name__ == "__main__":
    main()

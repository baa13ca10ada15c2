"""The core's other builds, each in a process of its own, for a build is chosen once, at import.

A worker (``python -m benchmarks.builds``, under MCMM_ISA) reads a scenario's name, paths and seed from a
line, runs it, and answers with the nanoseconds of processor time that a path-step took. It sleeps between its
turns, so builds can be timed in the same interleaved rounds as all else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from benchmarks.cases import core
from benchmarks.timing import Subject, per_path_step

__all__ = ["Worker"]

ROOT = Path(__file__).resolve().parent.parent


class Worker(AbstractContextManager["Worker"]):
    """A process with one build of the core."""

    def __init__(self, isa: str) -> None:
        import mcmm

        # The mcmm that is timed here, wherever it is, and the benchmarks of this clone.
        places = [str(Path(mcmm.__file__).parent.parent), str(ROOT)]
        self.isa = isa
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.builds"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "MCMM_ISA": isa, "PYTHONPATH": os.pathsep.join(places)},
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process: its input is at an end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def subject(self, scenario: str, paths: int) -> Subject:
        """Nanoseconds per path-step of a named scenario on this build."""

        def timed(seed: int) -> float:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(f"{paths} {seed} {scenario}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            if not answer:
                raise SystemExit(f"error: the {self.isa} build's process ended with {self.process.wait()}")
            return float(answer)

        return timed


def main() -> None:
    for line in sys.stdin:
        paths, seed, name = line.rstrip("\n").split(" ", 2)
        run, steps = core(name)
        print(per_path_step(run, int(paths), steps)(int(seed)), flush=True)


if __name__ == "__main__":
    main()

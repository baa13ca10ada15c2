"""Packing: how many chunks make a task, from the rate at which workers were seen to work.

A task should take about half a second: long beside what it costs to hand it out, short beside the sweep. What
a task holds depends on the clock; what a chunk holds, and so what is stored, does not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcmm.chunks import Plan

__all__ = ["Packer", "task_seconds"]

# What a task should take. A scheduler hands out some 200 tasks a second without strain: with many workers,
# longer ones.
_SECONDS = 0.5
_TASKS_A_SECOND = 200
# Path-steps a second of one worker, until it is known; on the low side, as a first task that is short costs
# little and a long one holds everybody up.
_RATE = 50e6
# How much of what was measured before counts beside a new measurement.
_MEMORY = 0.8
# What is left is shared out so that each worker still gets this many tasks: they then end together.
_TASKS_LEFT = 3
# The most rows of a task that keeps them, 60 MB, and the most points, 25 MB of what is kept of them.
_ROWS, _POINTS = 262_144, 1024


def task_seconds(workers: int) -> float:
    """Return how long a task should take where there are so many workers."""
    return max(_SECONDS, workers / _TASKS_A_SECOND)


class Packer:
    """Cuts the chunks that are left into tasks.

    Parameters
    ----------
    plan : Plan
        All chunks of the study.
    left : ndarray of bool, shape (chunks,)
        Which of them are to be computed; the caller clears what is done.
    fences : ndarray of int
        Chunks at which a new task must begin, in order; the last is how many there are.
    workers : int
        How many share the work.
    work : int
        How many usual path-steps one of these takes as long as, `mcmm.venue.work`.

    Attributes
    ----------
    rate : float
        Path-steps a second of one worker, as measured so far.
    """

    def __init__(
        self,
        plan: Plan,
        left: npt.NDArray[np.bool_],
        fences: npt.NDArray[np.int64],
        workers: int,
        work: int = 1,
    ) -> None:
        self.rate = _RATE / work
        self._fences = fences
        self._plan = plan
        self._left = left
        self._workers = workers
        self._steps, self._seconds = 0.0, 0.0
        self._next = 0
        self._path_steps = 0

    def begin(self, workers: int) -> None:
        """Begin a round: whatever is left may be handed out, to so many workers."""
        self._workers = workers
        self._next = 0
        costs = np.diff(self._plan.path_step_ends)
        self._path_steps = int(costs[self._left].sum())

    def measured(self, path_steps: int, seconds: float) -> None:
        """Take note of what a worker did and how long it took."""
        self._steps = _MEMORY * self._steps + path_steps
        self._seconds = _MEMORY * self._seconds + seconds
        self.rate = self._steps / max(self._seconds, 1e-6)

    def longest(self) -> float:
        """Return how many seconds the longest task of this study should take."""
        chunk = int(np.diff(self._plan.path_step_ends).max())
        return max(task_seconds(self._workers), chunk / self.rate)

    def take(self) -> tuple[int, int] | None:
        """Return the next task: its first chunk and the one after its last; None once there is none."""
        ahead = self._left[self._next :]
        skipped = int(ahead.argmax()) if ahead.size else 0
        if not ahead.size or not ahead[skipped]:
            return None
        first = self._next + skipped
        share = self._path_steps / (_TASKS_LEFT * self._workers)
        wanted = min(task_seconds(self._workers) * self.rate, share)
        ends, rows, points = self._plan.path_step_ends, self._plan.row_ends, self._plan.point_ends
        stop = min(
            int(np.searchsorted(ends, ends[first] + wanted, side="right")) - 1,
            int(np.searchsorted(rows, rows[first] + _ROWS, side="right")) - 1,
            int(np.searchsorted(points, points[first] + _POINTS, side="right")) - 1,
            int(self._fences[np.searchsorted(self._fences, first, side="right")]),
        )
        stop = max(stop, first + 1)
        done = np.flatnonzero(~self._left[first:stop])
        stop = first + int(done[0]) if done.size else stop
        self._next = stop
        self._path_steps -= self._plan.path_steps(first, stop)
        return first, stop

"""Whole points: what is kept of points whose paths are all at hand, of many of them in one pass.

It is what `mcmm.summaries` makes of each of them alone, bit for bit. A point of a large study has a thousand
paths and takes a few milliseconds, of which numbers made one point at a time would cost a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mcmm import moments
from mcmm.summaries import fill_moments, quantile_places, rows_of, summary_names
from mcmm.tails import TailTable

__all__ = ["WholePoints"]

FloatArray = npt.NDArray[np.float64]


class WholePoints:
    """Points with all of their paths, of as many paths each.

    Parameters
    ----------
    metrics : tuple of str
        The metrics of their paths.
    points : sequence of int
        Their numbers.
    paths : int
        How many each has, `mcmm.summaries.EXACT_PATHS` at most.
    all_rows : bool
        Keep the batches of all rows, not only of the money's.

    Attributes
    ----------
    form : Form
        What is summed up.
    level : int
        That of the sums' node.
    sums : ndarray of shape (points, form.width)
        The sums of each point.
    columns : ndarray of shape (points, columns)
        Their rows of the summary, in the order of `mcmm.summaries.summary_names`; once `close` is called.
    """

    def __init__(
        self, metrics: tuple[str, ...], points: Sequence[int], paths: int, *, all_rows: bool
    ) -> None:
        rows = rows_of(metrics)
        self.metrics = metrics
        self.points = points
        self.paths = paths
        self.form = rows.form(all_rows=all_rows)
        self.level = 0
        self.sums: FloatArray = np.empty((len(points), self.form.width))
        self.columns: FloatArray = np.empty((len(points), len(summary_names(metrics))))
        self._tails = TailTable(quantile_places(metrics), len(points), paths)
        self._places = np.array(rows.tail_places, dtype=np.intp)
        together = min(self._tails.together, len(points))
        self._samples: FloatArray = np.empty((together, len(rows.tails), paths))
        self._added = self._waiting = 0

    @property
    def distributions(self) -> list[dict[str, FloatArray]]:
        """The points' distributions, as `mcmm.distributions.Distribution.pack` has them."""
        return self._tails.distributions

    def add(self, values: FloatArray) -> None:
        """Take the paths of the next point, shape (metrics, paths), in path order; none is kept."""
        self.level = moments.tally_whole(values, self.form, self.sums[self._added])
        np.take(values, self._places, axis=0, out=self._samples[self._waiting], mode="clip")
        self._added += 1
        self._waiting += 1
        if self._waiting == len(self._samples):
            self._sort()

    def close(self, controls: Sequence[bool]) -> None:
        """Summarise the points, all of which were added.

        Parameters
        ----------
        controls : sequence of bool
            Whether the control variates' means are 0 at each, `mcmm.controls.controls_known`.
        """
        self._sort()
        self._tails.fill(self.columns)
        counts, totals, squares, _ = self.form.split(self.sums)
        fill_moments(self.columns, self.metrics, counts, totals, squares, controls)

    def _sort(self) -> None:
        self._tails.add(self._samples[: self._waiting])
        self._waiting = 0

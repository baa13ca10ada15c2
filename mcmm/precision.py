"""Precision on demand: how many paths a point gets when a study asks for a standard error and not for paths.

A point starts with `Precision.first` paths; as long as its standard error is above the target, its paths are
doubled, up to a cap. Path i of a point is the same however it came to be wanted.

Looking again and again, and stopping when the error looks small, favours errors that came out too small. Two
rules keep the intervals honest. Nothing is looked at before 50 paths lie in the tail that the metric is
about, so that the error is not a guess. And every interval is stretched for all the looks that the cap allows
(Bonferroni): with K of them a 95% interval is one at 1 - 0.05 / K, so the chance that the truth is outside
of the interval at any of the looks, whichever was the last, is at most 5%.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from mcmm.axes import TABLE
from mcmm.moments import LEAF
from mcmm.summaries import error_column, tail_share

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Precision"]

_IN_TAIL = 50
_FEWEST = 1024
MAX_PATHS = 100_000_000


class Precision(BaseModel):
    """A target in place of a number of paths.

    Attributes
    ----------
    metric : str
        A column of the summary that has a standard error; without a metric's name it is pnl_settled's, so
        ``"expected_shortfall_99"`` is ``"pnl_settled.expected_shortfall_99"``.
    standard_error : float
        The target, in the metric's unit, > 0.
    first_paths : int, optional
        Paths of the first look, a power of 2 that is >= 256 and leaves 50 paths in the metric's tail; by
        default the smallest that is >= 1024 too.
    most_paths : int
        The cap.
    """

    model_config = TABLE

    metric: str
    standard_error: float = Field(gt=0, allow_inf_nan=False)
    first_paths: int | None = Field(default=None, ge=LEAF, le=MAX_PATHS)
    most_paths: int = Field(default=1 << 20, ge=LEAF, le=MAX_PATHS)

    @property
    def column(self) -> str:
        """The metric as a column of the summary."""
        return self.metric if "." in self.metric else f"pnl_settled.{self.metric}"

    @property
    def first(self) -> int:
        """Paths of the first look."""
        if self.first_paths is not None:
            return self.first_paths
        return 1 << (max(_FEWEST, self.fewest) - 1).bit_length()

    @property
    def fewest(self) -> int:
        """The fewest paths worth a look."""
        return math.ceil(_IN_TAIL / tail_share(self.column) - 1e-9)

    @property
    def totals(self) -> tuple[int, ...]:
        """How many paths a point has at each look that the cap allows."""
        totals = [self.first]
        while totals[-1] < self.most_paths:
            totals.append(min(2 * totals[-1], self.most_paths))
        return tuple(totals)

    @property
    def confidence(self) -> float:
        """The level of one look's interval that makes 95% of all looks together."""
        return 1.0 - 0.05 / len(self.totals)

    def check(self, columns: tuple[str, ...]) -> None:
        """Raise ValueError if the metric is none of the columns or has no error, or the paths do not fit."""
        if self.column not in columns or error_column(self.column) not in columns:
            raise ValueError(f"precision.metric: must be a column with a standard error, got {self.metric!r}")
        if self.first & (self.first - 1):
            raise ValueError(f"precision.first_paths: must be a power of 2, got {self.first}")
        if self.first < self.fewest:
            raise ValueError(
                f"precision.first_paths: must be >= {self.fewest}, for {_IN_TAIL} paths in the tail, "
                f"got {self.first}"
            )
        if self.most_paths < self.first:
            raise ValueError(f"precision.most_paths: must be >= {self.first}, got {self.most_paths}")

    def met(self, columns: Mapping[str, float]) -> bool:
        """Tell whether a point's summary is precise enough.

        A chance of which hardly a case was seen looks more certain than it is; two cases and two more paths
        without are added (Agresti & Coull, The American Statistician 52, 1998).
        """
        error = columns[error_column(self.column) or ""]
        if self.column.endswith("chance"):
            count = columns[self._count] + 4.0
            share = (columns[self.column] * (count - 4.0) + 2.0) / count
            error = math.sqrt(share * (1.0 - share) / count)
        return error <= self.standard_error

    @property
    def _count(self) -> str:
        """The column with the number of paths behind the metric."""
        return f"{'trips' if self.column == 'halt.chance' else self.column.rpartition('.')[0]}.count"

    def note(self, summary: pd.DataFrame, metric: str) -> str:
        """Say whether a sweep's points have what was asked for, and what the looks did to the intervals.

        Parameters
        ----------
        summary : DataFrame
            Of all points.
        metric : str
            What to call the metric.
        """
        columns = [self.column, error_column(self.column) or "", self._count]
        rows = summary[list(dict.fromkeys(columns))]
        unmet = [
            str(point)
            for point, row in zip(rows.index, rows.to_dict("records"), strict=True)
            if not self.met({str(name): float(value) for name, value in row.items()})
        ]
        asked = f"A standard error of {self.standard_error:g} was asked for of the {metric}"
        if not unmet:
            found = "every point has it"
        else:
            listed = ", ".join(unmet[:8]) + (f" and {len(unmet) - 8:,} more" if len(unmet) > 8 else "")
            found = (
                f"not reached with the most paths allowed, {self.totals[-1]:,}, by "
                f"{len(unmet):,} of {len(rows):,} point{'s' * (len(rows) > 1)}: {listed}"
            )
        if len(self.totals) == 1:
            return f"{asked}: {found}."
        return (
            f"{asked}: {found}. Paths were added in up to {len(self.totals)} looks, and every 95% interval "
            f"is wide enough for all of them together (one look's is at {self.confidence:.2%}; Bonferroni)."
        )

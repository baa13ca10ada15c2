"""Details: what a report works out beyond the summary, each when it is first asked for and once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mcmm.reports.drivers import Drivers, find_drivers
from mcmm.reports.limits import ShadowPrices, shadow_prices
from mcmm.reports.samples import Sample, read_samples
from mcmm.reports.timeline import Timeline, make_timeline

if TYPE_CHECKING:
    from mcmm.reports.findings import Findings

__all__ = ["Details"]


@dataclass(frozen=True)
class Details:
    """The parts of a report that look at paths; the page, the terminal and the files for machines share them.

    Attributes
    ----------
    findings : Findings
        The sweep and what it says.
    """

    findings: Findings

    @cached_property
    def samples(self) -> dict[int, Sample]:
        """Points looked at path by path, by row."""
        return read_samples(self.findings)

    @cached_property
    def drivers(self) -> Drivers | None:
        """What drives the study's numbers."""
        return find_drivers(self.findings)

    @cached_property
    def prices(self) -> ShadowPrices | None:
        """What the recommended point's limits cost and save."""
        return shadow_prices(self.findings)

    @cached_property
    def timeline(self) -> Timeline | None:
        """The recommended point's way through time."""
        return make_timeline(self.findings)

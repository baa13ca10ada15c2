"""What the oracle only counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Sums:
    """What is only counted, and decides nothing."""

    fills: int = 0
    volume: int = 0
    ticks_traded: float = 0
    unwound_dollars: float = 0.0
    fees: float = 0.0
    at_fair: float = 0.0  # what was sold, less what was bought, at the fair values of the time
    informed_volume: int = 0
    informed_pnl: float = 0.0
    quoted_steps: int = 0
    spread_ticks: float = 0
    inventory_limit_steps: int = 0
    exposure_limit_steps: int = 0
    outages: int = 0
    max_inventory: int = 0
    max_exposure: float = 0.0
    peak: float = 0.0
    peak_fair: float = 0.0
    max_drawdown: float = 0.0
    max_drawdown_fair: float = 0.0

"""Monte Carlo simulation of a market maker in binary event contracts.

A scenario says what the market and the maker do, `simulate` runs many independent paths of it, `sweep` runs a
study of many scenarios, and `report` shows the distributions.

>>> import mcmm
>>> run = mcmm.simulate(mcmm.Scenario(steps=200), paths=1000, seed=7)
>>> run.summary()  # doctest: +SKIP

The names below are imported when they are first used, so that ``import mcmm`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcmm import errors as errors
    from mcmm.bot import Bot as Bot
    from mcmm.bot import ExecutionEngine as ExecutionEngine
    from mcmm.bot import MarketMaker as MarketMaker
    from mcmm.calibration import calibrate as calibrate
    from mcmm.calibration.certificate import Certificate as Certificate
    from mcmm.engine import simulate as simulate
    from mcmm.fitting import fit as fit
    from mcmm.logger import Logger as Logger
    from mcmm.quotes import MarketState as MarketState
    from mcmm.quotes import Order as Order
    from mcmm.recorded import replay as replay
    from mcmm.reports import report as report
    from mcmm.runner import sweep as sweep
    from mcmm.scenario import Scenario as Scenario
    from mcmm.simulation import Simulation as Simulation
    from mcmm.splitting import rare_event as rare_event
    from mcmm.store import SweepResult as SweepResult
    from mcmm.study import Study as Study
    from mcmm.tape import read_tape as read_tape
    from mcmm.verification import Verification as Verification
    from mcmm.verification import verify as verify

__version__ = "0.1.0"

__all__ = [
    "Bot",
    "Certificate",
    "ExecutionEngine",
    "Logger",
    "MarketMaker",
    "MarketState",
    "Order",
    "Scenario",
    "Simulation",
    "Study",
    "SweepResult",
    "Verification",
    "__version__",
    "calibrate",
    "errors",
    "fit",
    "rare_event",
    "read_tape",
    "replay",
    "report",
    "simulate",
    "sweep",
    "verify",
]

_HOME = {
    "Bot": "mcmm.bot",
    "ExecutionEngine": "mcmm.bot",
    "MarketMaker": "mcmm.bot",
    "Logger": "mcmm.logger",
    "MarketState": "mcmm.quotes",
    "Order": "mcmm.quotes",
    "Certificate": "mcmm.calibration.certificate",
    "calibrate": "mcmm.calibration",
    "Scenario": "mcmm.scenario",
    "Simulation": "mcmm.simulation",
    "Study": "mcmm.study",
    "Verification": "mcmm.verification",
    "SweepResult": "mcmm.store",
    "rare_event": "mcmm.splitting",
    "fit": "mcmm.fitting",
    "read_tape": "mcmm.tape",
    "replay": "mcmm.recorded",
    "report": "mcmm.reports",
    "simulate": "mcmm.engine",
    "sweep": "mcmm.runner",
    "verify": "mcmm.verification",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name == "errors":
        return import_module("mcmm.errors")
    if name not in _HOME:
        raise AttributeError(f"module 'mcmm' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})

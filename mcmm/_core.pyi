from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

TRACE_COLUMNS: tuple[str, ...]
CHECKPOINT_COLUMNS: tuple[str, ...]
METRIC_ROWS: int
BLOCK: int
POLICY_ROWS: int
POLICY_STATE_ROWS: int

class Plan:
    def __init__(
        self,
        fields: Mapping[str, float],
        size_thresholds: NDArray[np.int32],
        bisects: bool,
        orders: NDArray[np.float64] | None = None,
        pieces: NDArray[np.float64] | None = None,
        policy_settings: NDArray[np.float64] | None = None,
        policy: object = None,
        venue: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
    ) -> None: ...
    def run(
        self,
        seed: int,
        first_path: int,
        out: NDArray[np.float64],
        trace: NDArray[np.float64] | None = None,
        stop: NDArray[np.int32] | None = None,
        checkpoints: NDArray[np.float64] | None = None,
    ) -> None: ...

class PortfolioPlan:
    def __init__(self, plans: Sequence[Plan], fields: Mapping[str, float]) -> None: ...
    def run(
        self,
        seed: int,
        first_path: int,
        out: NDArray[np.float64],
        trace: NDArray[np.float64] | None = None,
        stop: NDArray[np.int32] | None = None,
        checkpoints: NDArray[np.float64] | None = None,
    ) -> None: ...

def state_bytes(plan: Plan) -> int: ...
def run_until(
    plan: Plan,
    seed: int,
    first_path: int,
    at_fair: bool,
    level: float,
    states: NDArray[np.int8] | None,
    starts: NDArray[np.int64] | None,
    entrances: NDArray[np.int8],
    crossed: NDArray[np.int64],
    reached: NDArray[np.float64],
    stop: NDArray[np.int32] | None = None,
) -> int: ...
def play_book(
    plan: Plan,
    seed: int,
    first_path: int,
    states: NDArray[np.int32],
    events: NDArray[np.int64],
    steps: int,
    watched: bool = False,
) -> None: ...
def book_bytes() -> int: ...
def sum_paths(
    values: NDArray[np.float64],
    rows: NDArray[np.int32],
    pairs: NDArray[np.int32],
    batched: int,
    first_leaf: int,
) -> list[
    tuple[int, int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
]: ...
def sum_neighbours(
    one: tuple[NDArray[np.float64], ...], other: tuple[NDArray[np.float64], ...], pairs: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def tree_sums(values: NDArray[np.float64], out: NDArray[np.float64]) -> None: ...
def isa() -> str: ...
def supported() -> tuple[str, ...]: ...
def compiler() -> str: ...
def stream(most: int = 512) -> str: ...
def words(seed: int, path: int, quad: int, label: int) -> tuple[int, int, int, int]: ...
def keyed_words(
    key_low: int, key_high: int, low: int, high: int, rounds: int = 7
) -> tuple[int, int, int, int]: ...
def draws(seed: int, path: int, quad: int, label: int) -> list[list[int]]: ...
def uniform_of(draw: int) -> float: ...
def normals_of(radius_draw: int, angle_draw: int) -> tuple[float, float]: ...
def single_exponential(x: float) -> float: ...
def single_logistic(x: float) -> float: ...
def exponential(x: float) -> float: ...
def exponential_less_one(x: float) -> float: ...
def logarithm_of_one_plus(x: float) -> float: ...
def logarithm(x: float) -> float: ...
def logit(p: float) -> float: ...
def normal_cdf(x: float) -> float: ...
def normal_quantile(p: float) -> float: ...

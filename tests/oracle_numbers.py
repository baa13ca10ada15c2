"""The oracle's numbers, told from docs/reproducibility.md alone: keyed draws and elementary functions."""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from itertools import pairwise

from mcmm.scenario import Scenario

# ---- the draws

OUTCOME, FAIR_VALUE, NEWS, NEWS_DIRECTION, ARRIVAL, INFORMED, HERDING = range(7)
SIDE, SENSITIVITY, SIZE, REFERENCE, DISCONNECT, BID_HIT, ASK_HIT = range(7, 14)
COMMON, COMMON_OUTCOME = 14, 15

ROUNDS = 7
MASK = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32 with 7 rounds: four random words of a counter and a key."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        even = c0 * 0xD2511F53
        odd = c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (odd >> 32) ^ c1 ^ k0, odd & MASK, (even >> 32) ^ c3 ^ k1, even & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def words(seed: int, path: int, quad: int, label: int) -> tuple[int, int, int, int]:
    """The words of steps 4 quad .. 4 quad + 3 for one purpose."""
    return philox((path & MASK, path >> 32, quad, label), (seed & MASK, seed >> 32))


def uniform_of(word: int) -> float:
    return (word + 0.5) / 2.0**32


def normals_of(a: int, b: int) -> tuple[float, float]:
    """Box and Muller on two words: the normals of an even step and of the odd one after it."""
    radius = math.sqrt(-2.0 * log(uniform_of(a)))
    angle = ((b % 2**30) - 536870911.5) * 1.4629180792671596e-09
    along = radius * cos(angle)
    if b >> 30 & 1:
        along = -along
    across = radius * sin(angle)
    return (across, along) if b >> 31 & 1 else (along, across)


class Draws:
    """What one market draws on one path, by step and purpose; `correlation` is that of the shocks."""

    def __init__(self, seed: int, path: int, market: int = 0, correlation: float = 0.0) -> None:
        self.seed = seed
        self.path = path
        self.market = market
        self.correlation = correlation
        self.blocks: dict[int, tuple[int, tuple[int, int, int, int]]] = {}

    def label(self, purpose: int) -> int:
        """The common factor is no market's own."""
        return purpose if purpose in (COMMON, COMMON_OUTCOME) else purpose + 256 * self.market

    def block(self, step: int, purpose: int) -> tuple[int, int, int, int]:
        quad, block = self.blocks.get(purpose, (-1, (0, 0, 0, 0)))
        if quad != step // 4:
            block = words(self.seed, self.path, step // 4, self.label(purpose))
            self.blocks[purpose] = step // 4, block
        return block

    def uniform(self, step: int, purpose: int) -> float:
        return uniform_of(self.block(step, purpose)[step % 4])

    def normal(self, step: int, purpose: int) -> float:
        w0, w1, w2, w3 = self.block(step, purpose)
        pair = (w0, w1) if step % 4 < 2 else (w2, w3)
        return normals_of(*pair)[step % 2]

    def joined(self, common: float, own: float) -> float:
        return math.sqrt(self.correlation) * common + math.sqrt(1 - self.correlation) * own

    def shock(self, step: int) -> float:
        """z of section 3."""
        own = self.normal(step, FAIR_VALUE)
        return self.joined(self.normal(step, COMMON), own) if self.correlation > 0 else own

    def happens(self, chance: float, step: int, purpose: int) -> bool:
        return self.uniform(step, purpose) < chance


# ---- elementary functions


def horner(z: float, *coefficients: float) -> float:
    result = coefficients[0]
    for c in coefficients[1:]:
        result = result * z + c
    return result


def poly(z: float, *coefficients: float) -> float:
    """Even powers by Horner's rule in z * z, odd ones likewise, then even + z * odd."""
    upwards = coefficients[::-1]
    return horner(z * z, *upwards[0::2][::-1]) + z * horner(z * z, *upwards[1::2][::-1])


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10


def exp(x: float) -> float:
    x = clip(x, -708.0, 708.0)
    n = round(x * 1.4426950408889634)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    q = poly(
        r, 2.7476790096898015e-07, 2.7634990140239235e-06, 2.4801931736045805e-05, 0.0001984118523787202,
        0.0013888888516215539, 0.00833333337086881, 0.04166666666813647, 0.16666666666611557,
        0.49999999999998324,
    )  # fmt: skip
    return math.ldexp(1.0 + (r + (r * r) * q), n)


def expm1(x: float) -> float:
    """e^x - 1."""
    x = clip(x, -708.0, 708.0)
    n = round(x * 1.4426950408889634)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    q = poly(
        r, 2.7476790096898015e-07, 2.7634990140239235e-06, 2.4801931736045805e-05, 0.0001984118523787202,
        0.0013888888516215539, 0.00833333337086881, 0.04166666666813647, 0.16666666666611557,
        0.49999999999998324,
    )  # fmt: skip
    scale = math.ldexp(1.0, n)
    return (scale - 1.0) + scale * (r + (r * r) * q)


ROOT_HALF: float = struct.unpack(">d", bytes.fromhex("3FE6A09E667F3BCD"))[0]


def log(x: float) -> float:
    m, e = math.frexp(x)
    if m < ROOT_HALF:
        m, e = 2.0 * m, e - 1
    f = m - 1
    s = f / (2 + f)
    z = s * s
    q = poly(
        z, 0.08409940373172661, 0.090618185715507, 0.11111685936506535, 0.14285708563343494,
        0.20000000026148487, 0.33333333333293574,
    )  # fmt: skip
    t = s + s
    return e * LN2_HIGH + (t + (t * (z * q) + e * LN2_LOW))


def log1p(x: float) -> float:
    """ln(1 + x)."""
    u = 1 + x
    return log(u) + (x - (u - 1)) / u


def softplus(x: float) -> float:
    """ln(1 + e^x)."""
    return max(x, 0.0) + log1p(exp(-abs(x)))


def logit(p: float) -> float:
    return clip(log(p / (1 - p)), -36, 36)


def sin(a: float) -> float:
    z = a * a
    q = poly(
        z, -2.4761698572890472e-08, 2.755535839638177e-06, -0.00019841263826007795, 0.008333333325277371,
        -0.16666666666631624,
    )  # fmt: skip
    return a + a * (z * q)


def cos(a: float) -> float:
    z = a * a
    q = poly(
        z, 2.0647741160710326e-09, -2.755556718692808e-07, 2.480158097200794e-05, -0.0013888888878275164,
        0.041666666666602264,
    )  # fmt: skip
    return (1.0 - 0.5 * z) + (z * z) * q


def logistic(x: float) -> float:
    return 1 / (1 + exp(-x))


def normal_cdf(x: float) -> float:
    a = min(abs(x), 37)
    q = poly(
        (a - 5) / (a + 5), -1.5256117611258456e-08, -1.221812554357404e-08, 1.7042640740221202e-07,
        1.0354421054622649e-07, -1.2836923304083832e-06, -4.744279621608721e-08, 9.046500980767409e-06,
        -9.908893418326176e-06, -5.3602832636009436e-05, 0.0001823385121818197, 7.790513946664955e-06,
        -0.0016760732437959079, 0.006522000822010912, -0.01517041529685341, 0.024536963230986683,
        -0.026401042972576918, 0.010002352385736364, 0.031030368426107, -0.09155228183401533,
        0.46151582985003725,
    )  # fmt: skip
    tail = exp(-0.5 * (a * a)) * (q / (1 + a))
    return 1 - tail if x > 0 else tail


def normal_density(x: float) -> float:
    return exp(-0.5 * (x * x)) * 0.3989422804014327


# Wichura's coefficients, highest power first: near the middle, in the tails, far out.
CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2,
     2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4,
     1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5,
     1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0,
     5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7,
     1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def normal_quantile(p: float) -> float:
    """AS 241, routine PPND16."""
    q = p - 0.5
    if abs(q) <= 0.425:
        z = 0.180625 - q * q
        return q * (horner(z, *CENTRE[0]) / horner(z, *CENTRE[1]))
    r = math.sqrt(-log(min(p, 1 - p)))
    z, (numerator, denominator) = (r - 1.6, TAIL) if r <= 5 else (r - 5, FAR)
    x = horner(z, *numerator) / horner(z, *denominator)
    return -x if q < 0 else x


# ---- takers' sizes


def size_weights(scenario: Scenario) -> list[float]:
    """The weight of each size from 1 to size_max."""
    flow = scenario.flow
    sizes = range(1, flow.size_max + 1)
    match flow.size_distribution:
        case "fixed":
            return [1.0 if size == flow.size_mean else 0.0 for size in sizes]
        case "geometric":
            weights = [1.0]
            for _ in sizes[1:]:
                weights.append(weights[-1] * (1 - 1 / flow.size_mean))
            return weights
        case "lognormal":
            mu = log(flow.size_mean) - flow.size_sigma * flow.size_sigma / 2
            below = [normal_cdf((log(k + 0.5) - mu) / flow.size_sigma) for k in range(flow.size_max + 1)]
            return [upto - before for before, upto in pairwise(below)]
        case "empirical":
            table = dict.fromkeys(sizes, 0.0)
            for size, weight in flow.size_table:
                if size in table:
                    table[size] += weight
            return list(table.values())


@lru_cache(maxsize=64)
def size_thresholds(scenario: Scenario) -> tuple[float, ...]:
    """t_k: a taker wants more than k contracts if u >= t_k."""
    weights = size_weights(scenario)
    upto = []
    total = 0.0
    for weight in weights:
        total += weight
        upto.append(total)
    one_contract = scenario.quoting.policy == "avellaneda_stoikov" and not scenario.bounded
    count = scenario.flow.size_max - 1
    if scenario.quoting.policy != "custom":  # which may quote any size
        count = min(count, (1 if one_contract else scenario.quoting.quote_size) - 1)
    return tuple(math.floor(x / total * 2**32 + 0.5) / 2**32 for x in upto[:count])

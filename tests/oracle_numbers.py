"""The oracle's numbers, told from docs/reproducibility.md alone: keyed draws and elementary functions."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from mcmm.scenario import Scenario

Single = np.float32
single = np.float32

# ---- the draws

OUTCOME, FAIR_VALUE, NEWS, NEWS_DIRECTION, ARRIVAL, INFORMED, HERDING = range(7)
SIDE, SENSITIVITY, SIZE, REFERENCE, DISCONNECT, BID_HIT, ASK_HIT = range(7, 14)
COMMON, COMMON_OUTCOME = 14, 15
BOOK_FLOW, BOOK_WARMUP, PATIENCE = 16, 17, 18

ROUNDS = 7
MASK, MASK_64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def doubled(a: int) -> int:
    """A byte times x in the field of AES."""
    return (a << 1) ^ (0x11B if a & 0x80 else 0)


def substitution_box() -> list[int]:
    """FIPS 197, section 5.1.1: the inverse in the field, then an affine map; 3 generates the field."""
    powers = [1]
    for _ in range(254):
        powers.append(powers[-1] ^ doubled(powers[-1]))
    inverse = {power: powers[-place % 255] for place, power in enumerate(powers)} | {0: 0}
    box = []
    for a in range(256):
        b = inverse[a]
        turned = [b << by | b >> (8 - by) for by in range(5)]
        box.append((turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ turned[4] ^ 0x63) & 0xFF)
    return box


BOX = substitution_box()


# SubBytes and MixColumns of a byte in row 0 of a column, as the column's word; in row r it is turned by r.
MIXED = [doubled(s) | s << 8 | s << 16 | (doubled(s) ^ s) << 24 for s in BOX]


def turned(word: int, row: int) -> int:
    return (word << 8 * row | word >> 32 - 8 * row) & MASK


def aes_round(columns: Sequence[int], key: Sequence[int], last: bool = False) -> list[int]:
    """SubBytes, ShiftRows, MixColumns (not in the last round), AddRoundKey; a column's row 0 is lowest."""
    result = []
    for c in range(4):
        word = key[c]
        for row in range(4):
            byte = columns[(c + row) % 4] >> 8 * row & 0xFF
            word ^= BOX[byte] << 8 * row if last else turned(MIXED[byte], row)
        result.append(word)
    return result


def ars(counter: Sequence[int], key: Sequence[int], rounds: int = ROUNDS) -> tuple[int, ...]:
    """ARS4x32: four random words of a counter and a key of four words each."""
    low, high = key[0] | key[1] << 32, key[2] | key[3] << 32
    state = [word ^ k for word, k in zip(counter, key, strict=True)]
    for number in range(1, rounds + 1):
        low, high = (low + 0x9E3779B97F4A7C15) & MASK_64, (high + 0xBB67AE8584CAA73B) & MASK_64
        round_key = (low & MASK, low >> 32, high & MASK, high >> 32)
        state = aes_round(state, round_key, last=number == rounds)
    return tuple(state)


def words(seed: int, path: int, quad: int, label: int) -> tuple[int, ...]:
    """The words of steps 4 quad .. 4 quad + 3 for one purpose."""
    return ars((path & MASK, path >> 32, quad, label), (seed & MASK, seed >> 32, 0, 0))


def uniform_of(draw: int) -> float:
    return (draw + 0.5) / 2.0**31


def normals_of(a: int, b: int) -> tuple[float, float]:
    """Box and Muller on two draws, in single precision: the normals of an even step and of the next."""
    radius = np.sqrt(minus_twice_log(single(a | 1)))
    angle = single(2 * (b % 2**29) - (2**29 - 1)) * single(1.462918119976564e-09)
    along = radius * single_cos(angle)
    if b >> 29 & 1:
        along = -along
    across = radius * single_sin(angle)
    return (float(across), float(along)) if b >> 30 & 1 else (float(along), float(across))


class Draws:
    """What one market draws on one path, by step and purpose; `correlation` is that of the shocks."""

    def __init__(self, seed: int, path: int, market: int = 0, correlation: float = 0.0) -> None:
        self.seed = seed
        self.path = path
        self.market = market
        self.correlation = correlation
        self.blocks: dict[int, tuple[int, tuple[int, ...]]] = {}

    def label(self, purpose: int) -> int:
        """The common factor is no market's own."""
        return purpose if purpose in (COMMON, COMMON_OUTCOME) else purpose + 256 * self.market

    def block(self, step: int, purpose: int) -> tuple[int, ...]:
        """The draws of four steps: the upper 31 bits of a block's words."""
        quad, block = self.blocks.get(purpose, (-1, ()))
        if quad != step // 4:
            drawn = words(self.seed, self.path, step // 4, self.label(purpose))
            block = tuple(word >> 1 for word in drawn)
            self.blocks[purpose] = step // 4, block
        return block

    def uniform(self, step: int, purpose: int) -> float:
        return uniform_of(self.block(step, purpose)[step % 4])

    def normal(self, step: int, purpose: int) -> float:
        a, b, c, d = self.block(step, purpose)
        pair = (a, b) if step % 4 < 2 else (c, d)
        return normals_of(*pair)[step % 2]

    def joined(self, common: float, own: float) -> float:
        return math.sqrt(self.correlation) * common + math.sqrt(1 - self.correlation) * own

    def shock(self, step: int) -> float:
        """z of section 3."""
        own = self.normal(step, FAIR_VALUE)
        return float(single(self.joined(self.normal(step, COMMON), own))) if self.correlation > 0 else own

    def happens(self, chance: float, step: int, purpose: int) -> bool:
        return self.uniform(step, purpose) < chance

    def happens_in_single(self, chance: Single, step: int, purpose: int) -> bool:
        """For a chance in single precision: the draw's upper 23 bits."""
        draw = self.block(step, purpose)[step % 4] >> 8
        return bool((draw + 0.5) / 2**23 < chance)


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
ROOT_HALF_SINGLE: float = struct.unpack(">f", bytes.fromhex("3F3504F3"))[0]


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


# ---- in single precision: every operation rounds to it


def single_poly(z: Single, *coefficients: float) -> Single:
    """As poly."""
    upwards = [single(c) for c in reversed(coefficients)]
    square = z * z
    even, odd = upwards[0::2][::-1], upwards[1::2][::-1]
    results = []
    for chain in (even, odd):
        result = chain[0]
        for c in chain[1:]:
            result = result * square + c
        results.append(result)
    return results[0] + z * results[1]


def minus_twice_log(draw: Single) -> Single:
    """-2 ln(draw / 2^31)."""
    fraction, exponent = math.frexp(float(draw))  # exact
    if fraction < ROOT_HALF_SINGLE:
        fraction, exponent = 2 * fraction, exponent - 1
    f = single(fraction) - single(1)
    q = single_poly(
        f, 0.15807287395000458, -0.2524747848510742, 0.2599698007106781, -0.28428712487220764,
        0.3328249454498291, -0.400020956993103, 0.5000061392784119, -0.6666666269302368,
    )  # fmt: skip
    square = f * f
    return single(exponent - 31) * single(-1.3862943649291992) + ((square - (f + f)) + (square * f) * q)


def single_exp(x: Single) -> Single:
    # The sum with 1.5 * 2^23 leaves no room for a fraction.
    shifter = single(1.5 * 2**23)
    n = (x * single(1.4426950216293335) + shifter) - shifter
    r = (x - n * single(0.693359375)) + n * single(0.00021219444170128554)
    q = single_poly(
        r, 0.0013926918618381023, 0.008363766595721245, 0.04166654869914055, 0.16666573286056519, 0.5
    )
    return single(math.ldexp(float(single(1) + (r + (r * r) * q)), int(n)))


def single_logistic(x: Single) -> Single:
    return single(1) / (single(1) + single_exp(-x))


def single_sin(a: Single) -> Single:
    z = a * a
    q = (single(-0.00019587890710681677) * z + single(0.008332747966051102)) * z + single(-0.166666641831398)
    return a + a * (z * q)


def single_cos(a: Single) -> Single:
    z = a * a
    q = (single(2.454794230288826e-05) * z + single(-0.001388830249197781)) * z + single(0.0416666641831398)
    return (single(1) - single(0.5) * z) + (z * z) * q


def density_lift(v: Single) -> Single:
    """What phi(Phi^-1(p)) / (p (1 - p)) is more than at p = 1/2, of v = -2 ln(4 p (1 - p))."""
    u = v * single(0.0833333358168602) - single(1)
    return v * single_poly(
        u, -6.520577881019562e-05, 0.00017210669466294348, 1.8937542336061597e-05, -0.0005608834908343852,
        0.0008697811281308532, -0.0004580519744195044, -0.0008961168932728469, 0.003228801768273115,
        -0.005657040048390627, 0.0057951402850449085, 0.000799992703832686, -0.025702567771077156,
        0.1586318165063858,
    )  # fmt: skip


def density_at_quantile(p: float) -> float:
    """phi(Phi^-1(p))."""
    product = p * (1 - p)
    return product * (1.5957691216057308 + float(density_lift(minus_twice_log(single(product * 2**33)))))


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
    # A policy of one's own may quote any size, and a book holds others.
    if scenario.quoting.policy != "custom" and scenario.venue == "quote":
        count = min(count, (1 if one_contract else scenario.quoting.quote_size) - 1)
    return tuple(math.floor(x / total * 2**31 + 0.5) / 2**31 for x in upto[:count])

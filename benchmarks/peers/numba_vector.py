"""The reduced bot as the best Numba we could write: a block of paths as a struct of arrays, loops over lanes.

The state of a block lies in arrays on the stack, so LLVM knows that they do not overlap, and each phase of a
step is a branch-free loop over the lanes that it turns into AVX-512 (or AVX2) code. Choices, each measured:

- Loops are short. With quote, match and update in one loop the whole takes a fifth longer: the processor's
  window then holds too few lanes to hide the latency of the chain within one.
- Random numbers come from one xoroshiro128+ a lane (Blackman and Vigna 2018): one word makes two normals (Box
  and Muller 1958), another the taker and its size, by comparing integers. Normals in float32 gained nothing.
- log, sine, cosine and exp are polynomials fitted when the module is imported, to 1e-9 or better.
- The state of the walk is the odds p / (1 - p): a step multiplies them by the exponential of a small number,
  which needs no range reduction (7% of the whole). That holds for small volatilities; the fit checks it.
- Mids, cash and inventory are float64, the imbalance window counts in 16 bits, and what follows from other
  numbers at the end of the path is not summed along it.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import float64, int16, int32, int64, njit, types, uint32, uint64
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from benchmarks import peers as c

__all__ = ["run", "vector_instructions"]

LANES = 64
PAIRS = LANES // 2
FAST = {"contract", "nsz", "nnan", "ninf", "arcp"}

EXPONENT_SHIFT = uint64(52)
MANTISSA = uint64((1 << 52) - 1)
ONE = uint64(0x3FF0000000000000)
SIGN = uint64(1 << 63)
LOW = uint64(0xFFFFFFFF)
GOLDEN = uint64(0x9E3779B97F4A7C15)
SQUARED_RADIUS = -2.0 * math.log(2.0)
INFORMED, BUYER, ARRIVAL = (
    np.uint32(round(bound * 2**32)) for bound in (c.INFORMED_BOUND, c.BUYER_BOUND, c.ARRIVAL_BOUND)
)
TAIL_1, TAIL_2, TAIL_3, TAIL_4, TAIL_5, TAIL_6, TAIL_7, TAIL_8, TAIL_9 = (
    np.uint32(round(chance * 2**32)) for chance in c.SIZE_TAIL
)
FIRST_WORD_BOUND = uint64(round(c.INITIAL_PROBABILITY * 2**53))
INITIAL_ODDS = c.INITIAL_PROBABILITY / (1.0 - c.INITIAL_PROBABILITY)
LEAST_ODDS, MOST_ODDS = math.exp(-c.LOG_ODDS_LIMIT), math.exp(c.LOG_ODDS_LIMIT)
LARGEST_MOVE = 7.0 * c.VOLATILITY + c.DRIFT  # no 32-bit radius reaches seven standard deviations
BASE = c.HALF_SPREAD - c.GRACE
SHARE = c.HALF_SPREAD * c.IMBALANCE_FACTOR
SLOPE = c.HALF_SPREAD * c.INVENTORY_FACTOR / c.INVENTORY_LIMIT
LIMIT = float(c.INVENTORY_LIMIT)
SIZE_SLOPE = c.QUOTE_SIZE / LIMIT
SHADE_FROM = c.DEFENSIVE_THRESHOLD * LIMIT
SHADE = c.DEFENSIVE_SHADE / LIMIT
TICKS = float(c.TICKS)
TOP, TOP_BID = TICKS - 1.0, TICKS - 2.0
# Quoted steps and the sum of their spreads share a number: the count in units of this, the ticks below.
COUNT = 2.0**26


def _lanes(numba_type, count=LANES):
    """A function that reserves an array on the calling kernel's stack, aligned to a cache line."""

    @intrinsic
    def reserve(typing_context):
        def generate(context, builder, signature, args):
            # Left to itself LLVM uses half of AVX-512's width on Intel, and takes a fifth longer.
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
            element = context.get_data_type(numba_type)
            with builder.goto_entry_block():
                memory = builder.alloca(ir.ArrayType(element, count))
                memory.align = 64
            return builder.bitcast(memory, element.as_pointer())

        return types.CPointer(numba_type)(), generate

    return reserve


doubles, words, halves = _lanes(types.float64), _lanes(types.uint64), _lanes(types.uint32)
shorts, integers = _lanes(types.int16), _lanes(types.int32)
ring_of_shorts = _lanes(types.int16, LANES * c.WINDOW)


def _llvm(name, arity):
    """A function of doubles that is one LLVM intrinsic; Numba's max becomes a compare and a masked store."""
    double = ir.DoubleType()

    def generate(context, builder, signature, args):
        function = builder.module.declare_intrinsic(name, [double], ir.FunctionType(double, [double] * arity))
        return builder.call(function, args, fastmath=("nnan", "nsz"))

    if arity == 1:
        return intrinsic(lambda typing_context, x: (types.float64(types.float64), generate))
    return intrinsic(lambda typing_context, x, y: (types.float64(types.float64, types.float64), generate))


fabs, floor, ceil = (_llvm(f"llvm.{name}", 1) for name in ("fabs", "floor", "ceil"))
fmax, fmin = _llvm("llvm.maxnum", 2), _llvm("llvm.minnum", 2)


def _bitcast(result, argument, ir_type):
    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir_type)

    return intrinsic(lambda typing_context, x: (result(argument), generate))


bits_of = _bitcast(types.uint64, types.float64, ir.IntType(64))
double_of = _bitcast(types.float64, types.uint64, ir.DoubleType())


def _horner(coefficients):
    constant = float(coefficients[0])
    if len(coefficients) == 1:
        return njit(lambda x: constant, fastmath=FAST)
    rest = _horner(coefficients[1:])
    return njit(lambda x: constant + x * rest(x), fastmath=FAST)


def _two_chains(coefficients):
    """Even and odd powers apart: half the latency of one chain."""
    even, odd = _horner(coefficients[0::2]), _horner(coefficients[1::2])
    return njit(lambda x: even(x * x) + x * odd(x * x), fastmath=FAST)


def _fit(function, low, high, terms):
    """Coefficients of the polynomial through the Chebyshev nodes, its error checked on a fine grid."""
    polynomial = Chebyshev.interpolate(function, terms - 1, domain=[low, high]).convert(kind=Polynomial)
    grid = np.linspace(low, high, 10_001)
    error = np.max(np.abs(polynomial(grid) - function(grid)))
    if error > 1e-9:
        raise ArithmeticError(f"a polynomial of {terms} terms is off by {error:.1e} on [{low}, {high}]")
    return polynomial.coef


def _sine_over(y):
    return math.pi / 2.0 * np.sinc(np.sqrt(np.maximum(y, 0.0)) / 2.0)


def _cosine(y):
    return np.cos(math.pi / 2.0 * np.sqrt(np.maximum(y, 0.0)))


log2_of = _horner(_fit(np.log2, 1.0, 2.0, 13))
sine_over = _horner(_fit(_sine_over, 0.0, 1.0, 6))
cosine = _horner(_fit(_cosine, 0.0, 1.0, 7))
exp_of = _two_chains(_fit(np.exp, -LARGEST_MOVE, LARGEST_MOVE, 7))

# Inlined by Numba itself: LLVM would vectorise a phase compiled apart before it knows what cannot overlap.
phase = njit(inline="always")


@phase
def _rotated(x, k):
    return (x << uint64(k)) | (x >> uint64(64 - k))


@phase
def _next_word(a, b, i):
    """One step of lane i's xoroshiro128+."""
    first, second = a[i], b[i]
    word = first + second
    second ^= first
    a[i] = _rotated(first, 24) ^ second ^ (second << uint64(16))
    b[i] = _rotated(second, 37)
    return word


@phase
def _mixed(x):
    """The finaliser of splitmix64."""
    x = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> uint64(27))) * uint64(0x94D049BB133111EB)
    return x ^ (x >> uint64(31))


@phase
def _draw_normals(a, b, word, square, normal):
    """Box and Muller: a word's low half is the radius, all of it the angle, bit 32 the half of the plane."""
    for i in range(PAIRS):
        w = _next_word(a, b, i)
        uniform = bits_of(float64(int64((w & LOW) + uint64(1))))
        exponent = float64(int64(uniform >> EXPONENT_SHIFT) - int64(1023 + 32))
        mantissa = double_of((uniform & MANTISSA) | ONE)
        square[i] = fmax(0.0, SQUARED_RADIUS * (exponent + log2_of(mantissa)))
        word[i] = w
    for i in range(PAIRS):
        w = word[i]
        radius = double_of(bits_of(math.sqrt(square[i])) ^ ((w << uint64(31)) & SIGN))
        angle = float64(int64(w)) * 2.0**-63
        y = angle * angle
        normal[i] = radius * cosine(y)
        normal[i + PAIRS] = radius * (angle * sine_over(y))


@phase
def _draw_takers(a, b, who, coin, size):
    """Who comes, and the size wanted: 0 where nobody comes."""
    for i in range(LANES):
        word = _next_word(a, b, i)
        who[i] = uint32(word >> uint64(32))
        coin[i] = uint32(word & LOW)
    for i in range(LANES):
        tail = coin[i]
        wanted = (
            int32(1)
            + int32(tail < TAIL_1)
            + int32(tail < TAIL_2)
            + int32(tail < TAIL_3)
            + int32(tail < TAIL_4)
            + int32(tail < TAIL_5)
            + int32(tail < TAIL_6)
            + int32(tail < TAIL_7)
            + int32(tail < TAIL_8)
            + int32(tail < TAIL_9)
        )
        size[i] = int16(wanted if who[i] < ARRIVAL else 0)


@phase
def _quote(mid, half_at_zero, inventory, max_drawdown, bid, ask, spreads):
    for i in range(LANES):
        half = half_at_zero[i] + SLOPE * fabs(inventory[i])
        low = fmin(fmax(floor(mid[i] - half), 1.0), TOP_BID)
        high = fmin(fmax(ceil(mid[i] + half), low + 1.0), TOP)
        bid[i], ask[i] = low, high
        spreads[i] += (high - low) + COUNT if max_drawdown[i] < c.DRAWDOWN_LIMIT else 0.0


@phase
def _match(fair, who, size, bid, ask, inventory, max_drawdown, volume, traded, cash, traded_at_fair):
    """The signed taker volume filled; the quoted size falls on the side that would add to the inventory."""
    for i in range(LANES):
        low, high, value = bid[i], ask[i], fair[i]
        informed = 1.0 if value > high else (-1.0 if value < low else 0.0)
        side = informed if who[i] < INFORMED else (1.0 if who[i] < BUYER else -1.0)
        side = side if max_drawdown[i] < c.DRAWDOWN_LIMIT else 0.0
        room = LIMIT + fmin(0.0, side * inventory[i])
        filled = side * fmin(float64(size[i]), ceil(room * SIZE_SLOPE - c.GRACE))
        volume[i] = filled
        traded[i] = int16(filled)
        cash[i] += filled * (high if side > 0.0 else low)
        traded_at_fair[i] += filled * value


@phase
def _update(volume, inventory, max_inventory, mid, cash, peak, max_drawdown):
    for i in range(LANES):
        filled = volume[i]
        held = inventory[i] - filled
        inventory[i] = held
        max_inventory[i] = fmax(max_inventory[i], fabs(held))
        defence = SHADE * (held - fmin(fmax(held, -SHADE_FROM), SHADE_FROM))
        moved = mid[i] + (c.FILL_SHADE * filled - (defence if filled != 0.0 else 0.0))
        moved = fmin(fmax(moved, 1.0), TOP)
        mid[i] = moved
        pnl = cash[i] + held * moved
        highest = fmax(peak[i], pnl)
        peak[i] = highest
        max_drawdown[i] = fmax(max_drawdown[i], highest - pnl)


@phase
def _slide_window(slot, ring, oldest, traded, signed, total, fills, contracts):
    """The window takes this step's volume and gives up what the next step no longer sees."""
    following = slot + 1 if slot + 1 < c.WINDOW else 0
    for i in range(LANES):
        oldest[i] = ring[following * LANES + i]
    for i in range(LANES):
        filled, gone = traded[i], oldest[i]
        ring[slot * LANES + i] = filled
        signed[i] = int16(signed[i] + filled - gone)
        total[i] = int16(total[i] + abs(filled) - abs(gone))
        contracts[i] = int16(contracts[i] + abs(filled))
        fills[i] = int16(fills[i] + int16(filled != 0))


@phase
def _walk(odds, drift, normal, fair, signed, total, half_at_zero):
    """The next fair value, and the part of the next half spread that does not depend on the inventory."""
    for i in range(LANES):
        odds[i] = fmin(fmax(odds[i] * exp_of(drift[i] + c.VOLATILITY * normal[i]), LEAST_ODDS), MOST_ODDS)
    for i in range(LANES):
        fair[i] = TICKS * odds[i] / (1.0 + odds[i])
        half_at_zero[i] = BASE + SHARE * float64(abs(signed[i])) / fmax(float64(total[i]), 1.0)


@njit(nogil=True, cache=False, fastmath=FAST, error_model="numpy")
def _run(out, paths, steps, seed):
    a, b, word, who, coin = words(), words(), words(), halves(), halves()
    square, normal, odds, drift, outcome = doubles(), doubles(), doubles(), doubles(), doubles()
    fair, signed, total, size, traded, oldest = doubles(), shorts(), shorts(), shorts(), shorts(), shorts()
    mid, half_at_zero, bid, ask, spreads = doubles(), doubles(), doubles(), doubles(), doubles()
    inventory, cash, volume, traded_at_fair = doubles(), doubles(), doubles(), doubles()
    peak, max_drawdown, max_inventory = doubles(), doubles(), doubles()
    ring, recent_fills, recent_contracts = ring_of_shorts(), shorts(), shorts()
    fills, contracts = integers(), integers()
    for first in range(0, paths, LANES):
        for i in range(LANES * c.WINDOW):
            ring[i] = 0
        for i in range(LANES):
            state = seed * uint64(0xD1342543DE82EF95) + uint64(first + i) * (GOLDEN + GOLDEN)
            a[i], b[i] = _mixed(state + GOLDEN), _mixed(state + GOLDEN + GOLDEN)
            outcome[i] = 1.0 if (_next_word(a, b, i) >> uint64(11)) < FIRST_WORD_BOUND else 0.0
            drift[i] = c.DRIFT if outcome[i] > 0.5 else -c.DRIFT
            odds[i] = INITIAL_ODDS
            fair[i] = mid[i] = c.INITIAL_PROBABILITY * TICKS
            half_at_zero[i] = BASE
            spreads[i] = inventory[i] = cash[i] = traded_at_fair[i] = 0.0
            peak[i] = max_drawdown[i] = max_inventory[i] = 0.0
            signed[i] = total[i] = recent_fills[i] = recent_contracts[i] = 0
            fills[i] = contracts[i] = 0
        for base in range(0, steps, c.WINDOW):
            for slot in range(min(c.WINDOW, steps - base)):
                _draw_normals(a, b, word, square, normal)
                _draw_takers(a, b, who, coin, size)
                _quote(mid, half_at_zero, inventory, max_drawdown, bid, ask, spreads)
                _match(
                    fair, who, size, bid, ask, inventory, max_drawdown, volume, traded, cash, traded_at_fair
                )
                _update(volume, inventory, max_inventory, mid, cash, peak, max_drawdown)
                _slide_window(slot, ring, oldest, traded, signed, total, recent_fills, recent_contracts)
                _walk(odds, drift, normal, fair, signed, total, half_at_zero)
            for i in range(LANES):
                fills[i] += recent_fills[i]
                contracts[i] += recent_contracts[i]
                recent_fills[i] = recent_contracts[i] = 0
        for i in range(min(LANES, paths - first)):
            path = first + i
            quoted = np.floor(spreads[i] / COUNT)
            out[0, path] = fills[i]
            out[1, path] = contracts[i]
            out[2, path] = (cash[i] + inventory[i] * mid[i]) * c.TICK
            out[3, path] = (cash[i] + inventory[i] * fair[i]) * c.TICK
            out[4, path] = (cash[i] + inventory[i] * outcome[i] * TICKS) * c.TICK
            out[5, path] = (cash[i] - traded_at_fair[i]) * c.TICK
            out[6, path] = (inventory[i] * fair[i] + traded_at_fair[i]) * c.TICK
            out[7, path] = max_drawdown[i] * c.TICK
            out[8, path] = max_inventory[i]
            out[9, path] = (spreads[i] - quoted * COUNT) / quoted * c.TICK
            out[10, path] = max_drawdown[i] >= c.DRAWDOWN_LIMIT


def run(paths: int, steps: int, seed: int) -> NDArray[np.float64]:
    """Simulate the reduced bot; a row per metric of ``peers.METRICS``, a column per path."""
    out = np.empty((len(c.METRICS), paths))
    _run(out, paths, steps, np.uint64(seed))
    return out


def vector_instructions() -> dict[str, int]:
    """How many of the kernel's instructions use registers of 512, 256, 128 bits, or a single double."""
    run(1, 1, 0)
    (assembly,) = _run.inspect_asm().values()
    counts = Counter({"zmm": 0, "ymm": 0, "xmm": 0, "scalar": 0})
    for line in assembly.splitlines():
        if re.match(r"\s+v\w+sd\s", line):
            counts["scalar"] += 1
        elif register := re.search(r"%([xyz]mm)\d", line):
            counts[register[1]] += 1
    return dict(counts)

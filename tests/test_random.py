"""Draws and elementary functions: published vectors, the frozen layout, error bounds, and the look of chance.

The bounds are those that docs/reproducibility.md states.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterable
from fractions import Fraction

import mpmath
import numpy as np
import oracle_numbers as told
import pytest
from numpy.typing import NDArray
from scipy import stats

from mcmm._isa import core

Function = Callable[[float], float]
Exact = Callable[[mpmath.mpf], mpmath.mpf]

ONES = 0xFFFFFFFF
# Random123's kat_vectors for ars4x32 with 10 rounds: counter, key, words.
KNOWN = [
    (
        (0x886A3F24, 0xD308A385, 0x2E8A1913, 0x44737003),
        (0, 1, 0, 0),
        (0x41E2795A, 0xF4C16966, 0x19D92CF2, 0x2CA279A9),
    ),
    (
        (0xE6212845, 0x7713D038, 0xCF6654BE, 0x6C0CE934),
        (0, 0x00010000, 0, 0),
        (0x7995D3ED, 0xD1FF5DD4, 0xA66C5408, 0xB7B57F46),
    ),
    (
        (0x223809A4, 0xD0319F29, 0x98FA2E08, 0x896C4EEC),
        (0, 0, 0, 0x00800000),
        (0x197B4A3B, 0xEF928010, 0x96E75BD3, 0xA2D1E856),
    ),
    (
        (0xE6212845, 0x7713D038, 0xCF6654BE, 0x6C0CE934),
        (0, 0, 0, 0x80000000),
        (0xD45AF446, 0x218FE8D8, 0x47653A38, 0xA1D863E2),
    ),
]
# Frozen: (seed, path, step, purpose), the word, the normal.
LAYOUT = [
    ((0, 0, 0, 0), 0xDACF61FF, "-0x1.683ff60000000p-2"),
    ((0, 0, 1, 1), 0x64816A7E, "0x1.5a52600000000p-6"),
    ((1, 0, 0, 0), 0xC9F36349, "-0x1.309a420000000p-4"),
    ((0, 1, 0, 0), 0x345732FC, "0x1.c693d80000000p+0"),
    ((7, 1000, 5, 4), 0xDA9A3888, "-0x1.9150e60000000p+0"),
    ((2**32, 2**32, 4, 1), 0x6B9E9A00, "0x1.4e78b80000000p+0"),
    ((2**64 - 1, 2**48 - 1, 10**8 - 1, 13), 0xD7F1B036, "-0x1.6f76c40000000p-1"),
    ((20240607, 123456789, 4097, 9), 0x7DD4C4CB, "0x1.344e5e0000000p-1"),
]


# ---- draws


def test_a_round_is_that_of_aes() -> None:
    """FIPS 197, appendix B: the state after the first round's key is the start of the second round."""
    start = bytes.fromhex("193de3bea0f4e22b9ac68d2ae9f84808")
    key = bytes.fromhex("a0fafe1788542cb123a339392a6c7605")
    after = bytes.fromhex("a49c7ff2689f352b6b5bea43026a5049")
    told_words = told.aes_round(struct.unpack("<4I", start), struct.unpack("<4I", key))
    assert struct.pack("<4I", *told_words) == after
    # And the last round, to the cipher's published result.
    start = bytes.fromhex("eb40f21e592e38848ba113e71bc342d2")
    key = bytes.fromhex("d014f9a8c9ee2589e13f0cc8b6630ca6")
    after = bytes.fromhex("3925841d02dc09fbdc118597196a0b32")
    told_words = told.aes_round(struct.unpack("<4I", start), struct.unpack("<4I", key), last=True)
    assert struct.pack("<4I", *told_words) == after


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_ars_gives_the_published_words(
    counter: tuple[int, ...], key: tuple[int, ...], words: tuple[int, ...]
) -> None:
    halves = [low | high << 32 for low, high in (key[:2], key[2:], counter[:2], counter[2:])]
    assert core.keyed_words(*halves, 10) == words
    assert told.ars(counter, key, 10) == words


@pytest.mark.parametrize(("name", "word", "normal"), LAYOUT)
def test_the_layout_is_frozen(name: tuple[int, int, int, int], word: int, normal: str) -> None:
    seed, path, step, purpose = name
    words = core.words(seed, path, step // 4, purpose)
    assert words[step % 4] == word
    pair = words[:2] if step % 4 < 2 else words[2:]
    assert core.normals_of(*(w >> 1 for w in pair))[step % 2].hex() == normal
    draws = told.Draws(seed, path)
    assert draws.uniform(step, purpose) == core.uniform_of(word >> 1)
    assert draws.normal(step, purpose).hex() == normal


def test_core_and_oracle_draw_alike() -> None:
    dice = random.Random(3)
    for _ in range(2_000):
        seed, path = dice.getrandbits(64), dice.getrandbits(48)
        quad, label = dice.getrandbits(25), dice.getrandbits(16)
        words = core.words(seed, path, quad, label)
        assert words == told.words(seed, path, quad, label)
        pair = words[0] >> 1, words[1] >> 1
        assert core.normals_of(*pair) == told.normals_of(*pair)


@pytest.mark.parametrize("most", [0, 128, 256, 512])
def test_every_version_of_the_stream_draws_alike(most: int) -> None:
    """Plain C, and the instruction for a round, in registers of each width that there is."""
    chosen = core.stream()
    try:
        named = core.stream(most)
        assert (named == "plain") == (most == 0 or chosen == "plain")
        for seed, path, quad, label in (
            (0, 0, 0, 0),
            (2**64 - 1, 2**48 - 64, 2**25, 515),
            (7, 2**32 - 3, 9, 4),
        ):
            drawn = core.draws(seed, path, quad, label)
            words = [core.words(seed, path + lane, quad, label) for lane in range(core.BLOCK)]
            assert drawn == [[word[k] >> 1 for word in words] for k in range(4)]
    finally:
        assert core.stream() == chosen


@pytest.mark.parametrize("draw", [0, 1, 2**30 - 1, 2**30, 2**31 - 2, 2**31 - 1])
def test_a_uniform_is_exact_and_never_0_or_1(draw: int) -> None:
    assert Fraction(core.uniform_of(draw)) == (draw + Fraction(1, 2)) / 2**31
    assert 0 < core.uniform_of(draw) < 1


# ---- error bounds


def spread(count: int, low: float, high: float, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [dice.uniform(low, high) for _ in range(count)]


def worst(function: Function, exact: Exact, points: Iterable[float], *, relative: bool) -> float:
    """The largest error of a function; its argument is exact."""
    largest = mpmath.mpf(0)
    with mpmath.workprec(160):
        for x in points:
            true = exact(mpmath.mpf(x))
            error = abs(mpmath.mpf(function(x)) - true)
            largest = max(largest, error / abs(true) if relative else error)
    return float(largest)


def exact_quantile(p: mpmath.mpf) -> mpmath.mpf:
    """Newton's method on mpmath's Phi, from where the oracle ends."""
    x = mpmath.mpf(told.normal_quantile(float(p)))
    for _ in range(3):
        x -= (mpmath.ncdf(x) - p) / mpmath.npdf(x)
    return x


def exact_density(p: mpmath.mpf) -> mpmath.mpf:
    return mpmath.npdf(exact_quantile(p))


EXP = [*spread(3000, -708, 708), *spread(1000, -1, 1), 0.0, 708.0, -708.0]
LOG = [
    *(
        math.ldexp(x, round(e))
        for x, e in zip(spread(1500, 0.5, 1), spread(1500, -1021, 1023, 2), strict=True)
    ),
    *spread(1500, 0.5, 2),
    *spread(1000, 1.06, 1.075),  # where the error is largest
    *(1 + x * 10.0**-k for x in spread(20, -1, 1) for k in range(1, 15)),
    *(1.0674442445870198, 5e-10, 2.0**-33, 1 - 2.0**-33),
]
NEAR_EXP = [
    *spread(1000, -708, 708),
    *spread(2000, -2, 2),
    *(s * 10.0**-k for s in (-1, 1) for k in range(1, 15)),
]
NEAR_LOG = [
    *spread(1000, -1, 1),
    *spread(500, 0, 1e6),
    *(s * 10.0**-k for s in (-1, 1) for k in range(1, 15)),
]
PHI = [*spread(1500, -37, 0), *spread(1500, -5, 9), -37.0, 0.0, -0.0]
QUANTILE = [10**e for e in spread(700, -15, -0.3)] + [1 - 10**e for e in spread(700, -15, -0.3, 2)]
QUANTILE += [*spread(700, 0.01, 0.99), 0.5, 0.075, 0.925, 1e-15, 1 - 1e-15]
# Every mid that a grid of a cent can have, and as near to 0 and 1 as the finest grid's.
CENTS = [*(k / 100 for k in range(1, 100)), *spread(600, 0.01, 0.99), 0.010659994074643901]
MIDS = [
    *CENTS,
    *(10**e for e in spread(800, -6, -2)),
    *(1 - 10**e for e in spread(400, -6, -2, 2)),
    *(0.5 + s * 10.0**-k for s in (-1, 1) for k in range(1, 17)),
    *(1e-6, 1 - 1e-6, 1e-6 * (1 - 1e-9), 4.1233998e-05, 3.585200694534239e-05),
]


@pytest.mark.parametrize(
    ("name", "twin", "exact", "points", "bound", "relative"),
    [
        ("exponential", told.exp, mpmath.exp, EXP, 5e-16, True),
        ("logarithm", told.log, mpmath.log, LOG, 6e-16, True),
        ("exponential_less_one", told.expm1, mpmath.expm1, NEAR_EXP, 4e-15, True),
        ("logarithm_of_one_plus", told.log1p, mpmath.log1p, NEAR_LOG, 1e-15, True),
        ("normal_cdf", told.normal_cdf, mpmath.ncdf, PHI, 1e-13, True),
        ("normal_quantile", told.normal_quantile, exact_quantile, QUANTILE, 1e-14, False),
        ("density_at_quantile", told.density_at_quantile, exact_density, MIDS, 2e-7, True),
        ("density_at_quantile", told.density_at_quantile, exact_density, CENTS, 1e-7, True),
        ("density_at_quantile", told.density_at_quantile, exact_density, [0.5, 0.5 - 1e-12], 2e-16, True),
    ],
)
def test_a_function_keeps_its_error_bound(
    name: str, twin: Function, exact: Exact, points: list[float], bound: float, relative: bool
) -> None:
    function: Function = getattr(core, name)
    assert [function(x) for x in points] == [twin(x) for x in points]
    assert worst(function, exact, (x for x in points if x != 1), relative=relative) < bound


def test_the_density_is_as_far_from_0_as_from_1() -> None:
    assert all(core.density_at_quantile(k / 64) == core.density_at_quantile(1 - k / 64) for k in range(1, 64))


def test_exp_saturates() -> None:
    assert core.exponential(-1e9) == core.exponential(-708.0) > 0
    assert core.exponential(1e9) == core.exponential(708.0) < math.inf


def test_phi_saturates() -> None:
    assert core.normal_cdf(-1e9) == core.normal_cdf(-37.0) > 0
    assert core.normal_cdf(1e9) == 1


SINGLE = [float(np.float32(x)) for x in (*spread(3000, -87, 87), *spread(1000, -1, 1), 0.0, 87.0, -87.0)]


@pytest.mark.parametrize(
    ("name", "twin", "exact", "bound"),
    [
        ("single_exponential", told.single_exp, mpmath.exp, 2e-7),
        ("single_logistic", told.single_logistic, lambda x: 1 / (1 + mpmath.exp(-x)), 3e-7),
    ],
)
def test_a_function_in_single_precision_keeps_its_error_bound(
    name: str, twin: Callable[[np.float32], np.float32], exact: Exact, bound: float
) -> None:
    function: Function = getattr(core, name)
    assert [function(x) for x in SINGLE] == [float(twin(np.float32(x))) for x in SINGLE]
    assert worst(function, exact, SINGLE, relative=True) < bound


def exact_normals(radius_draw: int, angle_draw: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Box and Muller's formula: 29 bits of angle within 45 degrees, a sign and a swap."""
    radius = mpmath.sqrt(-2 * mpmath.log(mpmath.mpf(float(np.float32(radius_draw | 1))) / 2**31))
    angle = (angle_draw % 2**29 - mpmath.mpf(2**29 - 1) / 2) / 2**28 * mpmath.pi / 4
    along, across = radius * mpmath.cos(angle), radius * mpmath.sin(angle)
    along = -along if angle_draw & 2**29 else along
    return (across, along) if angle_draw & 2**30 else (along, across)


def test_normals_keep_their_error_bound() -> None:
    dice = random.Random(5)
    pairs = [(dice.getrandbits(31), dice.getrandbits(31)) for _ in range(2_000)]
    # The largest and the smallest radii, at the angles where the sine errs most.
    corners = [dice.getrandbits(2) << 29 | (dice.getrandbits(1) * (2**29 - 1) ^ x) for x in range(500)]
    pairs += [(dice.getrandbits(3), corner) for corner in corners]
    pairs += [(2**31 - 1 - dice.getrandbits(10), corner) for corner in corners]
    top = 2**31 - 1
    pairs += [(a, b) for a in (0, top) for b in (0, 2**28, 2**29 - 1, 2**29, 2**30, top)]
    largest = 0.0
    with mpmath.workprec(120):
        for pair in pairs:
            drawn = core.normals_of(*pair)
            assert drawn == told.normals_of(*pair)
            assert max(map(abs, drawn)) < 6.6
            errors = (abs(a - b) for a, b in zip(drawn, exact_normals(*pair), strict=True))
            largest = max(largest, *map(float, errors))
    assert largest < 2e-6


# ---- that they look random: seeds are fixed, so a failure is never chance

PATHS, QUADS = 5_000, 5


def uniforms(seed: int, purpose: int, first_path: int = 0) -> NDArray[np.float64]:
    """Uniforms of 20 steps of 5,000 paths."""
    words = [core.words(seed, first_path + i, quad, purpose) for i in range(PATHS) for quad in range(QUADS)]
    return (np.array(words, dtype=np.float64).reshape(PATHS, 4 * QUADS) + 0.5) / 2.0**32


def normals(seed: int, purpose: int) -> NDArray[np.float64]:
    words = (core.words(seed, i, quad, purpose) for i in range(PATHS) for quad in range(QUADS))
    draws = ([word >> 1 for word in block] for block in words)
    drawn = [(*core.normals_of(d[0], d[1]), *core.normals_of(d[2], d[3])) for d in draws]
    return np.array(drawn).reshape(PATHS, 4 * QUADS)


@pytest.mark.parametrize("purpose", range(14))
def test_uniforms_are_uniform(purpose: int) -> None:
    u = uniforms(11, purpose).ravel()
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    for bits in (u, u * 2**16 % 1):  # the high half of the words and the low one
        assert stats.chisquare(np.bincount((bits * 256).astype(int), minlength=256)).pvalue > 1e-3


@pytest.mark.parametrize("purpose", [1, 10])
def test_normals_are_normal(purpose: int) -> None:
    z = normals(11, purpose)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        values = z.ravel() ** power
        assert abs(values.mean() - moment) < 4 * values.std() / math.sqrt(z.size)
    # The two of a pair share a radius, so their squares would tell if they were not independent.
    pairs = z.reshape(-1, 2)
    assert uncorrelated(pairs[:, 0], pairs[:, 1])
    assert uncorrelated(pairs[:, 0] ** 2, pairs[:, 1] ** 2)
    assert abs(pairs.sum(axis=1).var() / 2 - 1) < 4 * math.sqrt(2 / len(pairs))


def uncorrelated(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return bool(abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / math.sqrt(a.size))


def test_neighbours_are_independent() -> None:
    u = uniforms(11, 4)
    assert uncorrelated(u[:-1], u[1:]), "paths"
    assert all(uncorrelated(u[:, :-lag], u[:, lag:]) for lag in (1, 2, 3, 4, 5)), "steps"
    assert all(uncorrelated(u, uniforms(11, purpose)) for purpose in (3, 5, 12)), "purposes"
    assert all(uncorrelated(u, uniforms(seed, 4)) for seed in (10, 12, 11 + 2**32)), "seeds"
    assert uncorrelated(u, uniforms(11, 4, first_path=2**32)), "path indices beyond 32 bits"


def test_nothing_repeats() -> None:
    blocks = {
        core.words(seed, path, quad, label)
        for seed in (0, 1, 2**32)
        for path in (0, 1, 2**32, 2**48 - 1)
        for quad in range(50)
        for label in range(14)
    }
    assert len(blocks) == 3 * 4 * 50 * 14

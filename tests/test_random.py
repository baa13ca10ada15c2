"""Draws and elementary functions: published vectors, the frozen layout, error bounds, and the look of chance.

The bounds are those that docs/reproducibility.md states.
"""

from __future__ import annotations

import math
import random
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
# Random123's kat_vectors for philox4x32 with 7 rounds: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A),
    ),
]
# Frozen: (seed, path, step, purpose), the word, the normal.
LAYOUT = [
    ((0, 0, 0, 0), 0x5F6FB709, "0x1.43539f7c2128bp+0"),
    ((0, 0, 1, 1), 0xFEAFE6ED, "-0x1.566269bf3f4abp+0"),
    ((1, 0, 0, 0), 0xF422B57B, "-0x1.060dc2521f2d7p-2"),
    ((0, 1, 0, 0), 0x983A586E, "0x1.a264859cd091dp-2"),
    ((7, 1000, 5, 4), 0x2BB2A0EB, "0x1.23016cda26768p-2"),
    ((2**32, 2**32, 4, 1), 0x3AD39AD5, "0x1.1a3c67389d73cp-1"),
    ((2**64 - 1, 2**48 - 1, 10**8 - 1, 13), 0xE5B99047, "-0x1.0f89738134295p+1"),
    ((20240607, 123456789, 4097, 9), 0x1018CE0B, "-0x1.4292550582e95p-2"),
]


# ---- draws


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_the_published_words(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    path, quad, label = counter[0] | counter[1] << 32, counter[2], counter[3]
    assert core.words(key[0] | key[1] << 32, path, quad, label) == words
    assert told.philox(counter, key) == words


@pytest.mark.parametrize(("name", "word", "normal"), LAYOUT)
def test_the_layout_is_frozen(name: tuple[int, int, int, int], word: int, normal: str) -> None:
    seed, path, step, purpose = name
    words = core.words(seed, path, step // 4, purpose)
    assert words[step % 4] == word
    pair = words[:2] if step % 4 < 2 else words[2:]
    assert core.normals_of(*pair)[step % 2].hex() == normal
    draws = told.Draws(seed, path)
    assert draws.uniform(step, purpose) == core.uniform_of(word)
    assert draws.normal(step, purpose).hex() == normal


def test_core_and_oracle_draw_alike() -> None:
    dice = random.Random(3)
    for _ in range(2_000):
        seed, path = dice.getrandbits(64), dice.getrandbits(48)
        quad, label = dice.getrandbits(25), dice.getrandbits(16)
        words = core.words(seed, path, quad, label)
        assert words == told.words(seed, path, quad, label)
        assert core.normals_of(*words[:2]) == told.normals_of(*words[:2])


@pytest.mark.parametrize("word", [0, 1, 2**31 - 1, 2**31, ONES - 1, ONES])
def test_a_uniform_is_exact_and_never_0_or_1(word: int) -> None:
    assert Fraction(core.uniform_of(word)) == (word + Fraction(1, 2)) / 2**32
    assert 0 < core.uniform_of(word) < 1


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


@pytest.mark.parametrize(
    ("name", "twin", "exact", "points", "bound", "relative"),
    [
        ("exponential", told.exp, mpmath.exp, EXP, 5e-16, True),
        ("logarithm", told.log, mpmath.log, LOG, 6e-16, True),
        ("exponential_less_one", told.expm1, mpmath.expm1, NEAR_EXP, 4e-15, True),
        ("logarithm_of_one_plus", told.log1p, mpmath.log1p, NEAR_LOG, 1e-15, True),
        ("normal_cdf", told.normal_cdf, mpmath.ncdf, PHI, 1e-13, True),
        ("normal_quantile", told.normal_quantile, exact_quantile, QUANTILE, 1e-14, False),
    ],
)
def test_a_function_keeps_its_error_bound(
    name: str, twin: Function, exact: Exact, points: list[float], bound: float, relative: bool
) -> None:
    function: Function = getattr(core, name)
    assert [function(x) for x in points] == [twin(x) for x in points]
    assert worst(function, exact, (x for x in points if x != 1), relative=relative) < bound


def test_exp_saturates() -> None:
    assert core.exponential(-1e9) == core.exponential(-708.0) > 0
    assert core.exponential(1e9) == core.exponential(708.0) < math.inf


def test_phi_saturates() -> None:
    assert core.normal_cdf(-1e9) == core.normal_cdf(-37.0) > 0
    assert core.normal_cdf(1e9) == 1


def exact_normals(radius_word: int, angle_word: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Box and Muller's formula: 30 bits of angle within 45 degrees, a sign and a swap."""
    radius = mpmath.sqrt(-2 * mpmath.log((mpmath.mpf(radius_word) + 0.5) / 2**32))
    angle = (angle_word % 2**30 - mpmath.mpf(2**30 - 1) / 2) / 2**29 * mpmath.pi / 4
    along, across = radius * mpmath.cos(angle), radius * mpmath.sin(angle)
    along = -along if angle_word & 2**30 else along
    return (across, along) if angle_word & 2**31 else (along, across)


def test_normals_keep_their_error_bound() -> None:
    dice = random.Random(5)
    pairs = [(dice.getrandbits(32), dice.getrandbits(32)) for _ in range(2_000)]
    # The largest radii, at the angles where the sine errs most.
    corners = [dice.getrandbits(2) << 30 | (dice.getrandbits(1) * (2**30 - 1) ^ x) for x in range(500)]
    pairs += [(dice.getrandbits(3), corner) for corner in corners]
    pairs += [(a, b) for a in (0, ONES) for b in (0, 2**29, 2**30 - 1, 2**30, 2**31, ONES)]
    largest = 0.0
    with mpmath.workprec(120):
        for pair in pairs:
            drawn = core.normals_of(*pair)
            assert max(map(abs, drawn)) < 6.77
            errors = (abs(a - b) for a, b in zip(drawn, exact_normals(*pair), strict=True))
            largest = max(largest, *map(float, errors))
    assert largest < 3e-14


# ---- that they look random: seeds are fixed, so a failure is never chance

PATHS, QUADS = 5_000, 5


def uniforms(seed: int, purpose: int, first_path: int = 0) -> NDArray[np.float64]:
    """Uniforms of 20 steps of 5,000 paths."""
    words = [core.words(seed, first_path + i, quad, purpose) for i in range(PATHS) for quad in range(QUADS)]
    return (np.array(words, dtype=np.float64).reshape(PATHS, 4 * QUADS) + 0.5) / 2.0**32


def normals(seed: int, purpose: int) -> NDArray[np.float64]:
    words = (core.words(seed, i, quad, purpose) for i in range(PATHS) for quad in range(QUADS))
    drawn = [(*core.normals_of(w[0], w[1]), *core.normals_of(w[2], w[3])) for w in words]
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

"""Sums, means and deviations that have the same bits on every machine.

``numpy.sum`` does not promise that: the order in which it adds depends on the vector width of the processor.
Here every sum is a **fixed binary tree** of elementwise additions (`tree_sum`), and only operations that
IEEE 754 rounds exactly (add, subtract, multiply, divide, square root) touch the values.

Means and deviations are built from blocks of `BLOCK` paths. A sample cut at multiples of `BLOCK` can
therefore be summed up part by part, and merged to the same bits again (`merge_blocks`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BLOCK",
    "Blocks",
    "FloatArray",
    "Moments",
    "block_sums",
    "merge_blocks",
    "row_moments",
    "tree_sum",
]

FloatArray = npt.NDArray[np.float64]

BLOCK = 4096
"""Paths in a block of the tree. It is part of every mean's definition: another value changes last bits."""


class Blocks(NamedTuple):
    """What a mean and a deviation need to know of a sample: three numbers a block of `BLOCK` paths.

    Attributes
    ----------
    counts : ndarray of shape (rows, blocks)
        Values that are not NaN.
    totals : ndarray of shape (rows, blocks)
        Their sum.
    squares : ndarray of shape (rows, blocks)
        The sum of their squared deviations from the block's own mean.
    """

    counts: FloatArray
    totals: FloatArray
    squares: FloatArray


class Moments(NamedTuple):
    """Counts (without NaN), means, standard deviations (n - 1) and standard errors, each of shape (rows,)."""

    counts: FloatArray
    mean: FloatArray
    sd: FloatArray
    standard_error: FloatArray


def tree_sum(values: npt.ArrayLike) -> FloatArray:
    """Sum over the last axis along a fixed binary tree.

    The axis is cut into blocks of `BLOCK` elements, the last one padded with zeros to a power of two. A block
    of 2 h elements is folded (element i plus element i + h) until one is left. The blocks' sums are summed by
    the same rule. The rounding error grows with the logarithm of the length.

    Parameters
    ----------
    values : array_like of shape (..., n)
        n may be 0.

    Returns
    -------
    ndarray of shape (...)
        The sums, the same bits on every machine.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape[-1] == 0:
        return np.zeros(array.shape[:-1])
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    scratch = _scratch(rows)
    while rows.shape[1] > 1:
        rows = np.stack([_fold(block, scratch) for block in _blocks(rows)], axis=1)
    # A sum of negative zeros is 0: the padding adds one or not.
    return (rows[:, 0] + 0.0).reshape(array.shape[:-1])


def block_sums(values: npt.ArrayLike) -> Blocks:
    """Sum up each block of `BLOCK` paths: all that `merge_blocks` needs.

    Parameters
    ----------
    values : array_like of shape (rows, paths)
        NaN is left out.

    Returns
    -------
    Blocks
        Arrays of shape (rows, ceil(paths / BLOCK)). Those of parts of a sample that were cut at multiples of
        `BLOCK` paths, put side by side in path order, are those of the whole sample, bit for bit.
    """
    array = np.asarray(values, dtype=np.float64)
    rows, paths = array.shape
    if paths == 0:
        return Blocks(*np.zeros((3, rows, 0)))
    scratch = _scratch(array)
    room = np.empty((rows, min(BLOCK, paths)))
    parts = [_sum_block(block, scratch, room[:, : block.shape[1]]) for block in _blocks(array)]
    return Blocks(*(np.stack(column, axis=1) for column in zip(*parts, strict=True)))


def merge_blocks(blocks: Blocks) -> Moments:
    """Mean and deviation of a sample from its blocks, in path order.

    The squares are those within the blocks plus those between them, count * (block mean - mean)^2: an
    identity, so nothing is lost to cancellation however far the mean lies from 0.

    Parameters
    ----------
    blocks : Blocks
        Arrays of shape (rows, blocks).

    Returns
    -------
    Moments
        NaN for the mean of no values, and for the deviation and standard error of fewer than two.
    """
    count = tree_sum(blocks.counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = tree_sum(blocks.totals) / count
        gap = blocks.totals / np.maximum(blocks.counts, 1.0) - mean[:, np.newaxis]
        squares = tree_sum(blocks.squares) + tree_sum(blocks.counts * (gap * gap))
        variance = np.where(count > 1.0, squares / (count - 1.0), np.nan)
        return Moments(count, mean, np.sqrt(variance), np.sqrt(variance / count))


def row_moments(values: npt.ArrayLike) -> Moments:
    """Count, mean, standard deviation and standard error of each row.

    Parameters
    ----------
    values : array_like of shape (rows, paths)
        NaN is left out.

    Returns
    -------
    Moments
        Arrays of shape (rows,).
    """
    return merge_blocks(block_sums(values))


def _blocks(rows: FloatArray) -> Iterator[FloatArray]:
    return (rows[:, start : start + BLOCK] for start in range(0, rows.shape[1], BLOCK))


def _scratch(rows: FloatArray) -> list[FloatArray]:
    """Room for every level of the tree over a block, the widest first."""
    depth = (min(BLOCK, rows.shape[1]) - 1).bit_length()
    return [np.empty((rows.shape[0], 1 << level)) for level in reversed(range(depth))]


def _fold(block: FloatArray, scratch: list[FloatArray]) -> FloatArray:
    """Sum each row of a block by elementwise additions, which no machine may reorder."""
    for level in scratch:
        half, width = level.shape[1], block.shape[1]
        if width <= half:
            continue
        if width == 2 * half:
            np.add(block[:, :half], block[:, half:], out=level)
        else:
            np.add(block[:, : width - half], block[:, half:], out=level[:, : width - half])
            level[:, width - half :] = block[:, width - half : half]
        block = level
    return block[:, 0].copy()  # the scratch is used again


def _sum_block(
    block: FloatArray, scratch: list[FloatArray], room: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Count, sum and squared deviations of each row of one block."""
    count = np.full(block.shape[0], float(block.shape[1]))
    total = _fold(block, scratch)
    missing = None
    if np.isnan(total).any():
        missing = np.isnan(block)
        count -= np.count_nonzero(missing, axis=1)
        block = np.where(missing, 0.0, block)
        total = _fold(block, scratch)
    np.subtract(block, (total / np.maximum(count, 1.0))[:, np.newaxis], out=room)
    if missing is not None:
        room[missing] = 0.0
    np.multiply(room, room, out=room)
    return count, total, _fold(room, scratch)

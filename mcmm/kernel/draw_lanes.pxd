"""The draws of a block, four steps at a time, as loops over its lanes.

No rule of the market is written here: each loop reads the lanes, calls the inline rules, and writes the lanes back,
branch-free, so that it compiles to vector code. Settings are read into locals first, or the compiler must fear that a
store to a lane changes them.
"""
from libc.stdint cimport uint64_t

from mcmm.kernel.random cimport Pair, normal_pair, philox_lanes
from mcmm.kernel.special cimport bits_of, double_of
from mcmm.kernel.state cimport LANES


cdef inline void draw(
    double (*draws)[LANES], uint64_t seed, uint64_t path, uint64_t quad, uint64_t label
) noexcept nogil:
    """2^52 + word for four steps: compared with the bound of a chance as they are."""
    philox_lanes(seed, path, quad, label, <uint64_t*>draws, LANES)


cdef inline void draw_normals(
    double (*z)[LANES], uint64_t seed, uint64_t path, uint64_t quad, uint64_t label
) noexcept nogil:
    cdef Py_ssize_t i
    cdef Pair pair
    philox_lanes(seed, path, quad, label, <uint64_t*>z, LANES)
    for i in range(LANES):
        pair = normal_pair(z[0][i], z[1][i])
        z[0][i] = pair.first
        z[1][i] = pair.second
    for i in range(LANES):
        pair = normal_pair(z[2][i], z[3][i])
        z[2][i] = pair.first
        z[3][i] = pair.second


cdef inline void draw_sizes(
    double (*size)[LANES], double (*draws)[LANES], const double* thresholds, Py_ssize_t count
) noexcept nogil:
    """1 + the number of thresholds at or below the draw.

    The table is padded with 2^53, which no draw reaches, to a multiple of three.
    """
    cdef Py_ssize_t i, j, k
    cdef double t0, t1, t2, draw, drawn
    for k in range(4):
        for i in range(LANES):
            size[k][i] = 1.0
        for j in range(0, count, 3):
            t0 = thresholds[j]
            t1 = thresholds[j + 1]
            t2 = thresholds[j + 2]
            for i in range(LANES):
                draw = draws[k][i]
                drawn = size[k][i]
                drawn = drawn + 1.0 if draw >= t0 else drawn
                drawn = drawn + 1.0 if draw >= t1 else drawn
                size[k][i] = drawn + 1.0 if draw >= t2 else drawn


cdef inline void search_sizes(
    double (*size)[LANES], double (*draws)[LANES], const double* thresholds, Py_ssize_t count
) noexcept nogil:
    """The same by bisection, for long tables; the table is padded with 2^53 to one less than a power of two.

    The table is read as bits: of doubles the compiler would fear that a store to a lane changes them, and not gather.
    """
    cdef const uint64_t* bits = <const uint64_t*>thresholds
    cdef Py_ssize_t i, k, half
    cdef uint64_t at
    for k in range(4):
        for i in range(LANES):
            size[k][i] = 1.0
        half = (count + 1) // 2
        while half >= 1:
            for i in range(LANES):
                # 2^52 + a whole number has that number in its low bits: AVX2 cannot convert, but it can mask.
                at = bits_of(size[k][i] + (4503599627370494.0 + half)) & 0xFFFFFFFFULL
                size[k][i] += <double>half if draws[k][i] >= double_of(bits[at]) else 0.0
            half = half // 2

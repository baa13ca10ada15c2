"""The draws of a block, four steps at a time, as loops over its lanes.

No rule of the market is written here: each loop reads the lanes, calls the inline rules, and writes the lanes back,
branch-free, so that it compiles to vector code. Settings are read into locals first, or the compiler must fear that a
store to a lane changes them.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from mcmm.kernel.random cimport Pair, ars_begun, begin_lanes, normal_pair
from mcmm.kernel.state cimport LANES, PURPOSES
from mcmm.kernel.takers cimport SizeGuide, guided_size, searched_size


cdef struct Wanted:
    # draws of one quad of steps: their purposes, as ars.h takes them, and where they go
    int count
    uint64_t highs[PURPOSES]
    int32_t* rows[PURPOSES]


cdef inline void want(Wanted* w, int32_t (*draws)[LANES], uint64_t quad, uint64_t label) noexcept nogil:
    w.highs[w.count] = quad | label << 32
    w.rows[w.count] = <int32_t*>draws
    w.count += 1


cdef inline void draw_wanted(Wanted* w, uint64_t seed, const uint32_t* begun) noexcept nogil:
    """All of them, of the paths that `begin_lanes` began."""
    ars_begun(seed, begun, w.highs, w.rows, w.count, LANES)


cdef inline void draw(
    int32_t (*draws)[LANES], uint64_t seed, uint64_t path, uint64_t quad, uint64_t label
) noexcept nogil:
    """For four steps: compared with the bound of a chance as they are."""
    cdef uint32_t begun[4 * LANES]
    cdef uint64_t high = quad | label << 32
    cdef int32_t* rows = <int32_t*>draws
    begin_lanes(seed, path, begun, LANES)
    ars_begun(seed, begun, &high, &rows, 1, LANES)


cdef inline void make_normal(float (*z)[LANES], int32_t (*draws)[LANES]) noexcept nogil:
    cdef Py_ssize_t i
    cdef Pair pair
    for i in range(LANES):
        pair = normal_pair(draws[0][i], draws[1][i])
        z[0][i] = pair.first
        z[1][i] = pair.second
    for i in range(LANES):
        pair = normal_pair(draws[2][i], draws[3][i])
        z[2][i] = pair.first
        z[3][i] = pair.second


cdef inline void draw_normals(
    float (*z)[LANES], uint64_t seed, uint64_t path, uint64_t quad, uint64_t label
) noexcept nogil:
    cdef int32_t draws[4][LANES]
    draw(draws, seed, path, quad, label)
    make_normal(z, draws)


cdef inline void draw_sizes(
    int32_t (*size)[LANES], int32_t (*draws)[LANES], const int32_t* thresholds, Py_ssize_t count
) noexcept nogil:
    """1 + the number of thresholds below the draw.

    The table is padded with 2^31 - 1, which no draw exceeds, to a multiple of three.
    """
    cdef Py_ssize_t i, j, k
    cdef int32_t t0, t1, t2, draw, drawn
    for k in range(4):
        for i in range(LANES):
            size[k][i] = 1
        for j in range(0, count, 3):
            t0 = thresholds[j]
            t1 = thresholds[j + 1]
            t2 = thresholds[j + 2]
            for i in range(LANES):
                draw = draws[k][i]
                drawn = size[k][i]
                drawn = drawn + 1 if draw > t0 else drawn
                drawn = drawn + 1 if draw > t1 else drawn
                size[k][i] = drawn + 1 if draw > t2 else drawn


cdef inline void guide_to_sizes(
    int32_t (*size)[LANES], int32_t (*draws)[LANES], const SizeGuide* guide, const int32_t* thresholds
) noexcept nogil:
    """The same of long tables, by their guide: one gather a draw.

    What is found so far lies in an array of its own: of the block's the compiler would fear that a store to a lane
    changes the guide, and not gather.
    """
    cdef Py_ssize_t i, k, lane
    cdef int32_t found[LANES], untold
    for k in range(4):
        for i in range(LANES):
            found[i] = guided_size(guide, draws[k][i])
        untold = 0
        for i in range(LANES):
            size[k][i] = found[i]
            untold |= found[i] - 1
        # Few draws: where sizes are so rare that a share has several thresholds, or between two of a table with gaps.
        if untold < 0:
            for lane in range(LANES):
                if found[lane] == 0:
                    size[k][lane] = searched_size(guide, thresholds, draws[k][lane])

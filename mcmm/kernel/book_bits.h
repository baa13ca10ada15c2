/* What the order book needs and C has no operator for. */
#ifndef MCMM_BOOK_BITS_H
#define MCMM_BOOK_BITS_H
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
static inline int mcmm_leading(uint64_t x) { return __builtin_clzll(x); }
static inline int mcmm_trailing(uint64_t x) { return __builtin_ctzll(x); }
#else
static inline int mcmm_leading(uint64_t x) { int n = 0; while (!(x >> 63)) { x <<= 1; n++; } return n; }
static inline int mcmm_trailing(uint64_t x) { int n = 0; while (!(x & 1)) { x >>= 1; n++; } return n; }
#endif

/* Of 128 bits, one of which is set. */
static inline int mcmm_highest(uint64_t low, uint64_t high)
{
    return high ? 127 - mcmm_leading(high) : 63 - mcmm_leading(low);
}

static inline int mcmm_lowest(uint64_t low, uint64_t high)
{
    return low ? mcmm_trailing(low) : 64 + mcmm_trailing(high);
}

/* A whole number from 0 to 2^63 - 1, rounded once, as a cast has it: of its halves, where no vector of it can be cast. */
static inline double mcmm_double_of_whole(int64_t x)
{
#if defined(__AVX512DQ__)
    return (double)x;
#else
    const uint64_t low = ((uint64_t)x & 0xFFFFFFFFu) | 0x4330000000000000u;
    const uint64_t high = ((uint64_t)x >> 32) | 0x4530000000000000u;
    double below, above;
    memcpy(&below, &low, sizeof below);
    memcpy(&above, &high, sizeof above);
    return (above - 19342813118337666422669312.0) + below;
#endif
}

#endif

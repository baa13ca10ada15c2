/* The highest and the lowest bit of two words, which C has no operator for. Integers only. */
#ifndef MCMM_BOOK_BITS_H
#define MCMM_BOOK_BITS_H
#include <stdint.h>

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

#endif

/* One Philox4x32-7 block per path for a whole block of paths; kernel/random.pxd has the same rounds for one path.

   The only loop of the kernel written with intrinsics: it needs a 32 x 32 -> 64 bit multiply in every lane, which the
   compilers do not find (a 64 x 64 bit one is slower on AVX-512, and a sequence of six on AVX2). Integers only, so all
   of its versions agree; the oracle checks them through every path. */
#ifndef MCMM_PHILOX_H
#define MCMM_PHILOX_H
#include <stdint.h>

#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512i mcmm_lanes;
#define MCMM_WIDTH 8
#define MCMM_ALL(x) _mm512_set1_epi64((long long)(x))
#define MCMM_LOAD(p) _mm512_loadu_si512((const void *)(p))
#define MCMM_STORE(p, v) _mm512_storeu_si512((void *)(p), v)
#define MCMM_MULTIPLY(a, b) _mm512_mul_epu32(a, b)
#define MCMM_ADD(a, b) _mm512_add_epi64(a, b)
#define MCMM_XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define MCMM_INTO(a, mask, b) _mm512_ternarylogic_epi64(a, mask, b, 0xEA)
#define MCMM_HIGH(a) _mm512_srli_epi64(a, 32)
#elif defined(__AVX2__)
#include <immintrin.h>
typedef __m256i mcmm_lanes;
#define MCMM_WIDTH 4
#define MCMM_ALL(x) _mm256_set1_epi64x((long long)(x))
#define MCMM_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define MCMM_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define MCMM_MULTIPLY(a, b) _mm256_mul_epu32(a, b)
#define MCMM_ADD(a, b) _mm256_add_epi64(a, b)
#define MCMM_XOR3(a, b, c) _mm256_xor_si256(_mm256_xor_si256(a, b), c)
#define MCMM_INTO(a, mask, b) _mm256_or_si256(_mm256_and_si256(a, mask), b)
#define MCMM_HIGH(a) _mm256_srli_epi64(a, 32)
#elif defined(__SSE2__)
#include <emmintrin.h>
typedef __m128i mcmm_lanes;
#define MCMM_WIDTH 2
#define MCMM_ALL(x) _mm_set1_epi64x((long long)(x))
#define MCMM_LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#define MCMM_STORE(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define MCMM_MULTIPLY(a, b) _mm_mul_epu32(a, b)
#define MCMM_ADD(a, b) _mm_add_epi64(a, b)
#define MCMM_XOR3(a, b, c) _mm_xor_si128(_mm_xor_si128(a, b), c)
#define MCMM_INTO(a, mask, b) _mm_or_si128(_mm_and_si128(a, mask), b)
#define MCMM_HIGH(a) _mm_srli_epi64(a, 32)
#else
typedef uint64_t mcmm_lanes;
#define MCMM_WIDTH 1
#define MCMM_ALL(x) ((uint64_t)(x))
#define MCMM_LOAD(p) (*(const uint64_t *)(p))
#define MCMM_STORE(p, v) (*(uint64_t *)(p) = (v))
#define MCMM_MULTIPLY(a, b) (((a) & 0xFFFFFFFFu) * ((b) & 0xFFFFFFFFu))
#define MCMM_ADD(a, b) ((a) + (b))
#define MCMM_XOR3(a, b, c) ((a) ^ (b) ^ (c))
#define MCMM_INTO(a, mask, b) (((a) & (mask)) | (b))
#define MCMM_HIGH(a) ((a) >> 32)
#endif

static const uint64_t MCMM_COUNT[8] = {0, 1, 2, 3, 4, 5, 6, 7};

/* draws[j][i] = 2^52 + word j of path + i, as the bits of a double;. */
static inline void mcmm_philox_lanes(
    uint64_t seed, uint64_t path, uint64_t quad, uint64_t label, uint64_t *draws, int lanes)
{
    const mcmm_lanes m0 = MCMM_ALL(0xD2511F53u), m1 = MCMM_ALL(0xCD9E8D57u);
    const mcmm_lanes low = MCMM_ALL(0xFFFFFFFFu), whole = MCMM_ALL(0x4330000000000000u);
    for (int i = 0; i < lanes; i += MCMM_WIDTH) {
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        mcmm_lanes index = MCMM_ADD(MCMM_ALL(path + (uint64_t)i), MCMM_LOAD(MCMM_COUNT));
        mcmm_lanes c0 = index, c1 = MCMM_HIGH(index), c2 = MCMM_ALL(quad), c3 = MCMM_ALL(label);
        for (int round = 0; round < 7; round++) {
            /* What piles up above a word's 32 bits is not read by the multiply, and cleared at the end. */
            const mcmm_lanes p0 = MCMM_MULTIPLY(c0, m0), p1 = MCMM_MULTIPLY(c2, m1);
            c0 = MCMM_XOR3(MCMM_HIGH(p1), c1, MCMM_ALL(k0));
            c2 = MCMM_XOR3(MCMM_HIGH(p0), c3, MCMM_ALL(k1));
            c1 = p1;
            c3 = p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        MCMM_STORE(draws + i, MCMM_INTO(c0, low, whole));
        MCMM_STORE(draws + lanes + i, MCMM_INTO(c1, low, whole));
        MCMM_STORE(draws + 2 * lanes + i, MCMM_INTO(c2, low, whole));
        MCMM_STORE(draws + 3 * lanes + i, MCMM_INTO(c3, low, whole));
    }
}

#endif

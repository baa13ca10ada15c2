/* ARS4x32 with 7 rounds (Salmon, Moraes, Dror and Shaw 2011): the round of AES (FIPS 197) with a Weyl sequence for its
   round keys. One block of four 32-bit words per path, for a whole block of paths or for one.

   The only loop of the kernel written with intrinsics: no compiler finds the instruction for a round. Which of its
   versions runs is chosen by what the processor has, not by the build alone; integers only, so all of them agree, and
   the tests hold each to a round told in plain Python. */
#ifndef MCMM_ARS_H
#define MCMM_ARS_H
#include <stdint.h>
#include <string.h>

#define MCMM_ARS_ROUNDS 7
#define MCMM_WEYL_LOW 0x9E3779B97F4A7C15u
#define MCMM_WEYL_HIGH 0xBB67AE8584CAA73Bu

/* ---- plain C, for one path, and for processors without the instruction */

static const uint8_t mcmm_substitutes[256] = {
    0x63, 0x7C, 0x77, 0x7B, 0xF2, 0x6B, 0x6F, 0xC5, 0x30, 0x01, 0x67, 0x2B, 0xFE, 0xD7, 0xAB, 0x76,
    0xCA, 0x82, 0xC9, 0x7D, 0xFA, 0x59, 0x47, 0xF0, 0xAD, 0xD4, 0xA2, 0xAF, 0x9C, 0xA4, 0x72, 0xC0,
    0xB7, 0xFD, 0x93, 0x26, 0x36, 0x3F, 0xF7, 0xCC, 0x34, 0xA5, 0xE5, 0xF1, 0x71, 0xD8, 0x31, 0x15,
    0x04, 0xC7, 0x23, 0xC3, 0x18, 0x96, 0x05, 0x9A, 0x07, 0x12, 0x80, 0xE2, 0xEB, 0x27, 0xB2, 0x75,
    0x09, 0x83, 0x2C, 0x1A, 0x1B, 0x6E, 0x5A, 0xA0, 0x52, 0x3B, 0xD6, 0xB3, 0x29, 0xE3, 0x2F, 0x84,
    0x53, 0xD1, 0x00, 0xED, 0x20, 0xFC, 0xB1, 0x5B, 0x6A, 0xCB, 0xBE, 0x39, 0x4A, 0x4C, 0x58, 0xCF,
    0xD0, 0xEF, 0xAA, 0xFB, 0x43, 0x4D, 0x33, 0x85, 0x45, 0xF9, 0x02, 0x7F, 0x50, 0x3C, 0x9F, 0xA8,
    0x51, 0xA3, 0x40, 0x8F, 0x92, 0x9D, 0x38, 0xF5, 0xBC, 0xB6, 0xDA, 0x21, 0x10, 0xFF, 0xF3, 0xD2,
    0xCD, 0x0C, 0x13, 0xEC, 0x5F, 0x97, 0x44, 0x17, 0xC4, 0xA7, 0x7E, 0x3D, 0x64, 0x5D, 0x19, 0x73,
    0x60, 0x81, 0x4F, 0xDC, 0x22, 0x2A, 0x90, 0x88, 0x46, 0xEE, 0xB8, 0x14, 0xDE, 0x5E, 0x0B, 0xDB,
    0xE0, 0x32, 0x3A, 0x0A, 0x49, 0x06, 0x24, 0x5C, 0xC2, 0xD3, 0xAC, 0x62, 0x91, 0x95, 0xE4, 0x79,
    0xE7, 0xC8, 0x37, 0x6D, 0x8D, 0xD5, 0x4E, 0xA9, 0x6C, 0x56, 0xF4, 0xEA, 0x65, 0x7A, 0xAE, 0x08,
    0xBA, 0x78, 0x25, 0x2E, 0x1C, 0xA6, 0xB4, 0xC6, 0xE8, 0xDD, 0x74, 0x1F, 0x4B, 0xBD, 0x8B, 0x8A,
    0x70, 0x3E, 0xB5, 0x66, 0x48, 0x03, 0xF6, 0x0E, 0x61, 0x35, 0x57, 0xB9, 0x86, 0xC1, 0x1D, 0x9E,
    0xE1, 0xF8, 0x98, 0x11, 0x69, 0xD9, 0x8E, 0x94, 0x9B, 0x1E, 0x87, 0xE9, 0xCE, 0x55, 0x28, 0xDF,
    0x8C, 0xA1, 0x89, 0x0D, 0xBF, 0xE6, 0x42, 0x68, 0x41, 0x99, 0x2D, 0x0F, 0xB0, 0x54, 0xBB, 0x16,
};

static inline uint32_t mcmm_rotated(uint32_t x, int bits) { return (x >> bits) | (x << (32 - bits)); }

/* SubBytes and ShiftRows of one column: byte r comes from row r of column c + r. */
static inline uint32_t mcmm_substituted(const uint32_t *v, int c)
{
    return (uint32_t)mcmm_substitutes[v[c] & 0xFF]
        | (uint32_t)mcmm_substitutes[(v[(c + 1) & 3] >> 8) & 0xFF] << 8
        | (uint32_t)mcmm_substitutes[(v[(c + 2) & 3] >> 16) & 0xFF] << 16
        | (uint32_t)mcmm_substitutes[v[(c + 3) & 3] >> 24] << 24;
}

/* A round of AES on four columns in place; the last one does not mix them. */
static inline void mcmm_aes_round(uint32_t *v, const uint32_t *key, int last)
{
    uint32_t mixed[4];
    for (int c = 0; c < 4; c++) {
        const uint32_t x = mcmm_substituted(v, c);
        const uint32_t twice = ((x & 0x7F7F7F7Fu) << 1) ^ (((x >> 7) & 0x01010101u) * 0x1Bu);
        const uint32_t whole = twice ^ mcmm_rotated(x ^ twice, 8) ^ mcmm_rotated(x, 16) ^ mcmm_rotated(x, 24);
        mixed[c] = (last ? x : whole) ^ key[c];
    }
    memcpy(v, mixed, sizeof mixed);
}

/* The four words of one counter (path, high) and key, in place of the counter's. */
static inline void mcmm_ars(uint64_t key_low, uint64_t key_high, uint64_t low, uint64_t high, int rounds, uint32_t *v)
{
    uint32_t key[4];
    low ^= key_low;
    high ^= key_high;
    v[0] = (uint32_t)low;
    v[1] = (uint32_t)(low >> 32);
    v[2] = (uint32_t)high;
    v[3] = (uint32_t)(high >> 32);
    for (int round = 1; round <= rounds; round++) {
        key_low += MCMM_WEYL_LOW;
        key_high += MCMM_WEYL_HIGH;
        key[0] = (uint32_t)key_low;
        key[1] = (uint32_t)(key_low >> 32);
        key[2] = (uint32_t)key_high;
        key[3] = (uint32_t)(key_high >> 32);
        mcmm_aes_round(v, key, round == rounds);
    }
}

/* ---- the first round, once for a path

   Before it a block is (path ^ seed, high), with one `high` for all paths. SubBytes goes byte by byte, and what follows
   it is linear: so the first round of a block is the exclusive or of a part that only its path has, the round of
   (path ^ seed, 0), and a part that only the draw has, the round of (0, high) with the first key, up to the bytes 0x63
   that zeros become, which the linear part leaves as they are. A draw of a path pays one operation for it. */

#define MCMM_ZEROS_BECOME 0x6363636363636363u

static void mcmm_begin_plain(uint64_t seed, uint64_t path, uint32_t *begun, int lanes)
{
    const uint32_t key[4] = {0, 0, 0, 0};
    for (int i = 0; i < lanes; i++) {
        const uint64_t low = (path + (uint64_t)i) ^ seed;
        begun[4 * i] = (uint32_t)low;
        begun[4 * i + 1] = (uint32_t)(low >> 32);
        begun[4 * i + 2] = begun[4 * i + 3] = 0;
        mcmm_aes_round(begun + 4 * i, key, 0);
    }
}

static void mcmm_ars_plain(
    uint64_t seed, const uint32_t *begun, const uint64_t *highs, int32_t *const *draws, int count, int lanes)
{
    uint32_t v[4], key[4], own[4];
    for (int n = 0; n < count; n++) {
        uint64_t low = seed + MCMM_WEYL_LOW, high = MCMM_WEYL_HIGH;
        own[0] = own[1] = 0;
        own[2] = (uint32_t)highs[n];
        own[3] = (uint32_t)(highs[n] >> 32);
        key[0] = (uint32_t)(low ^ MCMM_ZEROS_BECOME);
        key[1] = (uint32_t)((low ^ MCMM_ZEROS_BECOME) >> 32);
        key[2] = (uint32_t)(high ^ MCMM_ZEROS_BECOME);
        key[3] = (uint32_t)((high ^ MCMM_ZEROS_BECOME) >> 32);
        mcmm_aes_round(own, key, 0);
        for (int i = 0; i < lanes; i++) {
            low = seed + MCMM_WEYL_LOW;
            high = MCMM_WEYL_HIGH;
            for (int j = 0; j < 4; j++)
                v[j] = begun[4 * i + j] ^ own[j];
            for (int round = 2; round <= MCMM_ARS_ROUNDS; round++) {
                low += MCMM_WEYL_LOW;
                high += MCMM_WEYL_HIGH;
                key[0] = (uint32_t)low;
                key[1] = (uint32_t)(low >> 32);
                key[2] = (uint32_t)high;
                key[3] = (uint32_t)(high >> 32);
                mcmm_aes_round(v, key, round == MCMM_ARS_ROUNDS);
            }
            for (int j = 0; j < 4; j++)
                draws[n][j * lanes + i] = (int32_t)(v[j] >> 1);
        }
    }
}

/* ---- with the instruction: registers of P paths each, four at a time, transposed at the end */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MCMM_HAS_AES_CODE 1
#include <cpuid.h>
#include <immintrin.h>

/* NAME##_begin does the first round of every path, NAME the draws of one after another of `highs`. */
#define MCMM_ARS_LANES(NAME, TARGET, V, P, SET, ADD64, XOR, ROUND, LAST, LOW32, HIGH32, LOW64, HIGH64, HALVE, LOAD, \
    STORE) \
    __attribute__((noinline, target(TARGET))) \
    static void NAME##_begin(uint64_t seed, uint64_t path, uint32_t *begun, int lanes) \
    { \
        const V key = SET(seed, 0, 0), none = SET(0, 0, 0), one = SET(1, 0, 0), next = SET(4 * P - 3, 0, 0); \
        V index = SET(path, 0, 4); \
        for (int i = 0; i < lanes; i += 4 * P) \
            for (int m = 0; m < 4; m++) { \
                STORE(begun + 4 * i + 4 * P * m, ROUND(XOR(index, key), none)); \
                index = ADD64(index, m < 3 ? one : next); \
            } \
    } \
    __attribute__((noinline, target(TARGET))) \
    static void NAME(uint64_t seed, const uint32_t *begun, const uint64_t *highs, int32_t *const *draws, int count, \
        int lanes) \
    { \
        V keys[MCMM_ARS_ROUNDS + 1], v[4], a, b, c, d, own; \
        const V weyl = SET(MCMM_WEYL_LOW, MCMM_WEYL_HIGH, 0); \
        keys[0] = SET(seed, 0, 0); \
        for (int round = 1; round <= MCMM_ARS_ROUNDS; round++) \
            keys[round] = ADD64(keys[round - 1], weyl); \
        keys[1] = XOR(keys[1], SET(MCMM_ZEROS_BECOME, MCMM_ZEROS_BECOME, 0)); \
        for (int n = 0; n < count; n++) { \
            int32_t *to = draws[n]; \
            own = ROUND(SET(0, highs[n], 0), keys[1]); \
            for (int i = 0; i < lanes; i += 4 * P) { \
                for (int m = 0; m < 4; m++) \
                    v[m] = XOR(own, LOAD(begun + 4 * i + 4 * P * m)); \
                for (int round = 2; round < MCMM_ARS_ROUNDS; round++) \
                    for (int m = 0; m < 4; m++) \
                        v[m] = ROUND(v[m], keys[round]); \
                for (int m = 0; m < 4; m++) \
                    v[m] = LAST(v[m], keys[MCMM_ARS_ROUNDS]); \
                a = LOW32(v[0], v[1]); \
                b = LOW32(v[2], v[3]); \
                c = HIGH32(v[0], v[1]); \
                d = HIGH32(v[2], v[3]); \
                STORE(to + i, HALVE(LOW64(a, b), 1)); \
                STORE(to + lanes + i, HALVE(HIGH64(a, b), 1)); \
                STORE(to + 2 * lanes + i, HALVE(LOW64(c, d), 1)); \
                STORE(to + 3 * lanes + i, HALVE(HIGH64(c, d), 1)); \
            } \
        } \
    }

/* Every 128 bits hold (low, high); low grows by `step` from one to the next. */
#define MCMM_SET_1(low, high, step) _mm_set_epi64x((long long)(high), (long long)(low))
#define MCMM_LOAD_1(p) _mm_loadu_si128((const __m128i *)(p))
#define MCMM_STORE_1(p, v) _mm_storeu_si128((__m128i *)(p), v)
MCMM_ARS_LANES(mcmm_ars_aes, "aes,sse2", __m128i, 1, MCMM_SET_1, _mm_add_epi64, _mm_xor_si128, _mm_aesenc_si128,
    _mm_aesenclast_si128, _mm_unpacklo_epi32, _mm_unpackhi_epi32, _mm_unpacklo_epi64, _mm_unpackhi_epi64,
    _mm_srli_epi32, MCMM_LOAD_1, MCMM_STORE_1)

#if defined(__AVX2__)
#define MCMM_SET_2(low, high, step) _mm256_set_epi64x((long long)(high), (long long)((low) + step), \
    (long long)(high), (long long)(low))
#define MCMM_LOAD_2(p) _mm256_loadu_si256((const __m256i *)(p))
#define MCMM_STORE_2(p, v) _mm256_storeu_si256((__m256i *)(p), v)
MCMM_ARS_LANES(mcmm_ars_vaes_256, "vaes,avx2", __m256i, 2, MCMM_SET_2, _mm256_add_epi64, _mm256_xor_si256,
    _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_unpacklo_epi32, _mm256_unpackhi_epi32,
    _mm256_unpacklo_epi64, _mm256_unpackhi_epi64, _mm256_srli_epi32, MCMM_LOAD_2, MCMM_STORE_2)
#endif

#if defined(__AVX512F__)
#define MCMM_SET_4(low, high, step) _mm512_set_epi64((long long)(high), (long long)((low) + 3 * step), \
    (long long)(high), (long long)((low) + 2 * step), (long long)(high), (long long)((low) + step), \
    (long long)(high), (long long)(low))
#define MCMM_LOAD_4(p) _mm512_loadu_si512((const void *)(p))
#define MCMM_STORE_4(p, v) _mm512_storeu_si512((void *)(p), v)
MCMM_ARS_LANES(mcmm_ars_vaes_512, "vaes,avx512f", __m512i, 4, MCMM_SET_4, _mm512_add_epi64, _mm512_xor_si512,
    _mm512_aesenc_epi128, _mm512_aesenclast_epi128, _mm512_unpacklo_epi32, _mm512_unpackhi_epi32,
    _mm512_unpacklo_epi64, _mm512_unpackhi_epi64, _mm512_srli_epi32, MCMM_LOAD_4, MCMM_STORE_4)
#endif
#endif

typedef void (*mcmm_begin_function)(uint64_t, uint64_t, uint32_t *, int);
typedef void (*mcmm_ars_function)(
    uint64_t, const uint32_t *, const uint64_t *, int32_t *const *, int, int);

static mcmm_begin_function mcmm_begin_chosen = mcmm_begin_plain;
static mcmm_ars_function mcmm_ars_chosen = mcmm_ars_plain;
static const char *mcmm_ars_name = "plain";

/* Choose the widest version that this build has and this processor can run, none wider than `most` bits (0: plain C).
   Called when the module is imported, before any thread runs it. */
static const char *mcmm_choose_ars(int most)
{
    mcmm_begin_chosen = mcmm_begin_plain;
    mcmm_ars_chosen = mcmm_ars_plain;
    mcmm_ars_name = "plain";
#if defined(MCMM_HAS_AES_CODE)
    unsigned int a, b, c, d;
    const int aes = __get_cpuid_count(1, 0, &a, &b, &c, &d) && (c >> 25 & 1);
    const int vaes = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c >> 9 & 1);
    (void)vaes;
    if (aes && most >= 128) {
        mcmm_begin_chosen = mcmm_ars_aes_begin;
        mcmm_ars_chosen = mcmm_ars_aes;
        mcmm_ars_name = "aes";
    }
#if defined(__AVX2__)
    if (aes && vaes && most >= 256) {
        mcmm_begin_chosen = mcmm_ars_vaes_256_begin;
        mcmm_ars_chosen = mcmm_ars_vaes_256;
        mcmm_ars_name = "vaes 256";
    }
#endif
#if defined(__AVX512F__)
    if (aes && vaes && most >= 512) {
        mcmm_begin_chosen = mcmm_ars_vaes_512_begin;
        mcmm_ars_chosen = mcmm_ars_vaes_512;
        mcmm_ars_name = "vaes 512";
    }
#endif
#endif
    return mcmm_ars_name;
}

/* What all draws of `lanes` paths, a multiple of 16, have in common: 4 words a path. */
static inline void mcmm_begin_lanes(uint64_t seed, uint64_t path, uint32_t *begun, int lanes)
{
    mcmm_begin_chosen(seed, path, begun, lanes);
}

/* draws[n][j][i] = the upper 31 bits of word j of path + i, for the quad and the label that
   highs[n] = quad | label << 32 names. */
static inline void mcmm_ars_begun(
    uint64_t seed, const uint32_t *begun, const uint64_t *highs, int32_t *const *draws, int count, int lanes)
{
    mcmm_ars_chosen(seed, begun, highs, draws, count, lanes);
}

#endif

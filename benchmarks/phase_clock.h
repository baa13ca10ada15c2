/* Where a step's time and instructions go. benchmarks/phases.py puts the calls into a copy of the core:
 *
 * clock_enter(phase)  at the head of a phase: what follows belongs to it
 * clock_lap(loop)     after a loop over the lanes: what went by since the last call is that loop's
 * clock_step()        at the head of a step
 *
 * Fences on both sides of the counter keep one loop's instructions out of another's time; what that costs is
 * measured by empty laps and taken off. Instructions are counted by the processor's trap flag, which stops after
 * each one: its address goes to a list. One thread at a time.
 */
#ifndef MCMM_PHASE_CLOCK_H
#define MCMM_PHASE_CLOCK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <x86intrin.h>

enum { CLOCK_LOOPS = 256, CLOCK_PHASES = 64, CLOCK_KEYS = CLOCK_LOOPS * CLOCK_PHASES, CLOCK_LOG = 1 << 22, CLOCK_MARKS = 1 << 16 };
#define CLOCK_REST 0

static uint64_t clock_cost[CLOCK_KEYS], clock_laps[CLOCK_KEYS], clock_last;
static int64_t clock_steps, clock_first_step = -1, clock_last_step = -1;
static int clock_phase;
static uint32_t clock_log[CLOCK_LOG], clock_logged, clock_lap_ends[CLOCK_MARKS], clock_marks;
static uint16_t clock_lap_keys[CLOCK_MARKS];
static uintptr_t clock_base;

static inline uint64_t clock_ticks(void) {
    _mm_lfence();
    uint64_t ticks = __rdtsc();
    _mm_lfence();
    return ticks;
}

static __attribute__((noinline)) void clock_lap(int loop) {
    uint64_t ticks = clock_ticks();
    int key = clock_phase * CLOCK_LOOPS + loop;
    clock_cost[key] += ticks - clock_last;
    clock_laps[key] += 1;
    if (clock_logged && clock_marks < CLOCK_MARKS) { /* whose they are is told later: this is logged, too */
        clock_lap_keys[clock_marks] = (uint16_t)key;
        clock_lap_ends[clock_marks++] = clock_logged;
    }
    clock_last = clock_ticks();
}

static __attribute__((noinline)) void clock_enter(int phase) {
    clock_lap(CLOCK_REST);
    clock_phase = phase;
}

static void clock_trap(int number, siginfo_t* info, void* context) {
    greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
    (void)number, (void)info;
    if (clock_logged == CLOCK_LOG || clock_steps > clock_last_step) {
        registers[REG_EFL] &= ~(greg_t)0x100;
        return;
    }
    uintptr_t offset = (uintptr_t)registers[REG_RIP] - clock_base;
    clock_log[clock_logged++] = offset < UINT32_MAX ? (uint32_t)offset : 0; /* 0: in another library */
}

static __attribute__((noinline)) void clock_step(void) {
    if (clock_steps++ == clock_first_step) /* below the red zone, that no leaf's locals are written over */
        __asm__ volatile(
            "lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::: "memory",
            "cc");
}

/* Forget all, and log the instructions of the steps from first up to last; none if they are equal. */
static void clock_start(int64_t first, int64_t last) {
    struct sigaction action;
    Dl_info place;
    memset(clock_cost, 0, sizeof clock_cost);
    memset(clock_laps, 0, sizeof clock_laps);
    clock_steps = 0;
    clock_phase = 0;
    clock_logged = clock_marks = 0;
    clock_first_step = first < last ? first : -1;
    clock_last_step = first < last ? last : -1;
    dladdr((void*)clock_start, &place);
    clock_base = (uintptr_t)place.dli_fbase;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = clock_trap;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, NULL);
    clock_last = clock_ticks();
}

/* Ticks that a lap takes by itself. */
static double clock_overhead(void) {
    uint64_t least = UINT64_MAX;
    clock_start(0, 0);
    for (int round = 0; round < 100; round++) {
        memset(clock_cost, 0, sizeof clock_cost);
        clock_last = clock_ticks();
        for (int lap = 0; lap < 100; lap++) clock_lap(CLOCK_REST);
        if (clock_cost[CLOCK_REST] < least) least = clock_cost[CLOCK_REST];
    }
    return (double)least / 100.0;
}

/* What the processor is: ticks a dependent addition takes, which is one cycle, and ticks that a division and a
 * square root of a whole vector take of the divider, with eight under way. */
#if defined(__AVX512F__)
typedef double clock_vector __attribute__((vector_size(64)));
#elif defined(__AVX2__)
typedef double clock_vector __attribute__((vector_size(32)));
#else
typedef double clock_vector __attribute__((vector_size(16)));
#endif

/* A chain of rotations, one a cycle: sums of small constants are done in no time where registers are renamed. */
static double clock_cycle(void) {
    uint64_t least = UINT64_MAX;
    for (int round = 0; round < 200; round++) {
        uint64_t x = 1, start = clock_ticks();
        for (int i = 0; i < 1000; i++)
            __asm__ volatile("ror $1, %0\n\tror $1, %0\n\tror $1, %0\n\tror $1, %0\n\t"
                             "ror $1, %0\n\tror $1, %0\n\tror $1, %0\n\tror $1, %0" : "+r"(x));
        uint64_t taken = clock_ticks() - start;
        if (taken < least) least = taken;
    }
    return (double)least / 8000.0;
}

#if defined(__AVX512F__) || defined(__AVX2__)
#define CLOCK_DIVIDE "vdivpd %1, %0, %0"
#define CLOCK_ROOT "vsqrtpd %0, %0"
#else
#define CLOCK_DIVIDE "divpd %1, %0"
#define CLOCK_ROOT "sqrtpd %0, %0"
#endif
#if defined(__AVX512F__)
#define CLOCK_REGISTER "+v"
#define CLOCK_INPUT "v"
#else
#define CLOCK_REGISTER "+x"
#define CLOCK_INPUT "x"
#endif

#define CLOCK_THROUGHPUT(name, instruction)                                                              \
    static double name(void) {                                                                           \
        clock_vector x[8], y;                                                                            \
        uint64_t least = UINT64_MAX;                                                                     \
        for (int i = 0; i < 8; i++) x[i] = (clock_vector){1.7} + 1.3;                                    \
        y = (clock_vector){0.1} + 1.01;                                                                  \
        for (int round = 0; round < 200; round++) {                                                      \
            uint64_t start = clock_ticks();                                                              \
            for (int i = 0; i < 100; i++) {                                                              \
                __asm__ volatile(instruction : CLOCK_REGISTER(x[0]) : CLOCK_INPUT(y));                   \
                __asm__ volatile(instruction : CLOCK_REGISTER(x[1]) : CLOCK_INPUT(y));                   \
                __asm__ volatile(instruction : CLOCK_REGISTER(x[2]) : CLOCK_INPUT(y));                   \
                __asm__ volatile(instruction : CLOCK_REGISTER(x[3]) : CLOCK_INPUT(y));                   \
                __asm__ volatile(instruction : CLOCK_REGISTER(x[4]) : CLOCK_INPUT(y));                   \
                __asm__ volatile(instruction : CLOCK_REGISTER(x[5]) : CLOCK_INPUT(y));                   \
                __asm__ volatile(instruction : CLOCK_REGISTER(x[6]) : CLOCK_INPUT(y));                   \
                __asm__ volatile(instruction : CLOCK_REGISTER(x[7]) : CLOCK_INPUT(y));                   \
            }                                                                                            \
            uint64_t taken = clock_ticks() - start;                                                      \
            if (taken < least) least = taken;                                                            \
        }                                                                                                \
        return (double)least / 800.0;                                                                    \
    }

CLOCK_THROUGHPUT(clock_divide, CLOCK_DIVIDE)
CLOCK_THROUGHPUT(clock_root, CLOCK_ROOT)

#endif

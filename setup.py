"""The compiled extensions and their flags; everything else about the package is in pyproject.toml.

The core is one Cython module. It is translated to C once, and that C is compiled for each instruction set:

==========================  =====================================================
``mcmm._core``              the platform's baseline, everywhere
``mcmm._isa.avx2._core``    AVX2, on x86-64 only
``mcmm._isa.avx512._core``  AVX-512 F, DQ, VL and BW, on x86-64 only
==========================  =====================================================

The last component of the three names is equal because the C file exports one ``PyInit__core``.

``MCMM_BUILDS=baseline`` (or ``baseline,avx2``) leaves the others out. ``CC`` and ``CFLAGS`` act as for any
extension: with ``CFLAGS=-fsanitize=address,undefined`` it is what ``.ci/same_bits sanitizers`` tests.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = "mcmm/_core.pyx"
KERNEL = Path("mcmm/kernel")
RULES = sorted(path.as_posix() for path in (*KERNEL.glob("*.px[di]"), *KERNEL.glob("*.h")))
GENERATED = Path("build/cython")

# The same bits on every machine: no fused multiply-add, no reordering of sums, so never -ffast-math. The last
# two flags change no value; without errno and traps to keep, the compiler can vectorise branches.
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
# Nor do these: each stops gcc from turning a select into a branch before its vectoriser sees the loop.
# Measured on AVX-512 without and with, ns a path-step: default 10.1 and 9.1, long size tables 55 and 12.
# clang knows none of them.
GCC_FLAGS = ["-fno-thread-jumps", "-fno-tree-dominator-opts", "-fno-tree-pre", "-fno-split-paths"]
# clang leaves a loop scalar that would take more than eight checks of what overlaps before it runs; they are
# done once for 64 lanes. Measured on AVX-512, clang 14, ns a path-step without and with: default 13.8, 7.2.
CLANG_FLAGS = ["-mllvm", "-runtime-memory-check-threshold=128"]
# A rule that is called costs its lane loop the vectoriser, so every one is inlined, not left to the compiler.
INLINE = [("CYTHON_INLINE", "inline __attribute__((always_inline))")] if os.name == "posix" else []
AVX2 = ["-mavx2"]
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mprefer-vector-width=512"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}


def knows_avx() -> bool:
    """Whether to try the AVX builds: x86-64 alone (not a macOS build for two architectures), gcc or clang."""
    return (
        os.name == "posix" and platform.machine() in ("x86_64", "amd64") and not os.environ.get("ARCHFLAGS")
    )


def extension(name: str, flags: list[str], *, optional: bool = False) -> Extension:
    """One build of the core. An optional one that the compiler cannot make is left out with a warning."""
    return Extension(
        name,
        [SOURCE],
        include_dirs=[KERNEL.as_posix()],
        define_macros=INLINE,
        extra_compile_args=FLAGS + flags,
        depends=[*RULES, "setup.py"],
        optional=optional,
    )


def vectoriser_flags(compiler: list[str]) -> list[str]:
    """Those of the compiler that a command is: clang pretends to be gcc but for one macro."""
    try:
        macros = subprocess.run(
            [*compiler[:1], "-dM", "-E", "-"], input="", capture_output=True, text=True
        ).stdout
    except OSError:
        return []
    if "__clang__" in macros:
        return CLANG_FLAGS
    return GCC_FLAGS if "__GNUC__" in macros else []


class BuildCore(build_ext):
    """Translate the core once, then compile it for every instruction set at the same time."""

    def finalize_options(self) -> None:
        """Let the builds run side by side unless the caller said how many at once."""
        super().finalize_options()
        self.parallel = self.parallel or len(self.extensions)

    def build_extensions(self) -> None:
        """Give each extension its own copy of the one C file, and compile them."""
        from Cython.Build import cythonize

        core = Extension("mcmm._core", [SOURCE], depends=RULES)
        # Always anew, which takes seconds: a check of dates would miss new directives or another Cython.
        [core] = cythonize([core], build_dir=str(GENERATED), compiler_directives=DIRECTIVES, force=True)
        generated = Path(core.sources[0])
        vectoriser = vectoriser_flags(getattr(self.compiler, "compiler", []))
        for ext in self.extensions:
            # Object files are named after their source, so builds that shared one would overwrite each other.
            copy = GENERATED / ext.name / generated.name
            if not copy.exists() or copy.read_bytes() != generated.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(generated, copy)
            ext.sources = [copy.as_posix()]
            ext.extra_compile_args += vectoriser
        super().build_extensions()


BUILDS = ("baseline", "avx2", "avx512")
wanted = os.environ.get("MCMM_BUILDS", "").replace(",", " ").split() or BUILDS
if "baseline" not in wanted or not set(wanted) <= set(BUILDS):
    raise SystemExit(f"MCMM_BUILDS: must be baseline, and any of {', '.join(BUILDS[1:])}, got {wanted}")
extensions = [extension("mcmm._core", [])]
if knows_avx() and "avx2" in wanted:
    extensions.append(extension("mcmm._isa.avx2._core", AVX2, optional=True))
if knows_avx() and "avx512" in wanted:
    extensions.append(extension("mcmm._isa.avx512._core", AVX512, optional=True))

setup(ext_modules=extensions, cmdclass={"build_ext": BuildCore})

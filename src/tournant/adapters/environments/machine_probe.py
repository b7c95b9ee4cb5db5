"""Prints the CPU kernels that an environment's numeric libraries choose here, as JSON.

Started by path with that environment's interpreter (CPython 3.8 to 3.13): `python -I -S machine_probe.py INTERPRETER`. It
loads OpenBLAS by itself instead of importing numpy (30 ms instead of 150), and works out PyTorch's choice by PyTorch's own
rule instead of importing it (3 s).
"""

import ctypes
import glob
import json
import os
import sys

_LEVELS = (  # x86-64 microarchitecture levels by flags of /proc/cpuinfo; each includes those before it
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-v3", {"avx2", "bmi1", "bmi2", "fma", "f16c", "movbe"}),
    ("x86-64-v2", {"sse4_1", "sse4_2", "ssse3", "popcnt"}),
)


def main():
    """Answer."""
    folder = os.path.join(os.path.dirname(os.path.dirname(sys.argv[1])), "lib", "python%d.%d" % sys.version_info[:2])
    site = os.path.join(folder, "site-packages")
    kernels = {}
    for path in sorted(glob.glob(os.path.join(site, "*.libs", "*openblas*"))):
        core = openblas_core(path)
        if core:
            kernels["OpenBLAS in %s" % os.path.basename(os.path.dirname(path))] = core
    flags = cpu_flags()
    if flags:
        kernels["CPU features"] = level(flags)
    if os.path.isdir(os.path.join(site, "torch")):
        kernels["ATen in torch"] = aten(flags)
    print(json.dumps(kernels))  # noqa: T201 - the answer


def openblas_core(path):
    """Load one OpenBLAS and ask which core's kernels it has chosen; wheels rename its functions."""
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return ""
    for name in (
        "scipy_openblas_get_corename64_",
        "scipy_openblas_get_corename",
        "openblas_get_corename64_",
        "openblas_get_corename",
    ):
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype = ctypes.c_char_p
            return function().decode()
    return ""


def cpu_flags():
    """Read the CPU's flags."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return set(line.partition(":")[2].split())
    except OSError:
        pass
    return set()


def level(flags):
    """Name the highest level whose flags are all there."""
    for name, needed in _LEVELS:
        if needed <= flags:
            return name
    return "x86-64" if "sse2" in flags else "other"


def aten(flags):
    """Give what PyTorch's dispatcher takes: its variable, else by the CPU (aten/src/ATen/native/DispatchStub.cpp)."""
    told = os.environ.get("ATEN_CPU_CAPABILITY", "").upper()
    if told in ("AVX512", "AVX2", "DEFAULT"):
        return told
    if _LEVELS[0][1] | {"fma"} <= flags:
        return "AVX512"
    return "AVX2" if {"avx2", "fma"} <= flags else "DEFAULT"


if __name__ == "__main__":
    main()

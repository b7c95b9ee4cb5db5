"""What a step's numbers are computed with: the CPU kernels that libraries choose, and the variables that steer them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tournant.domain.data import StepCacheEntry

__all__ = [
    "HASH_SEED",
    "Machine",
    "SharedStep",
    "StepMachine",
    "is_numeric",
    "is_thread_variable",
    "kernel_variables",
    "numeric_defaults",
    "pin_kernels",
    "restore_variables",
]

HASH_SEED = "PYTHONHASHSEED"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_MORE_THREADS = frozenset({"OMP_DYNAMIC", "OMP_SCHEDULE", "OMP_THREAD_LIMIT", "MKL_DYNAMIC", "GOTO_NUM_THREADS"})
_FAMILIES = ("OPENBLAS_", "MKL_", "OMP_", "KMP_", "GOTO_", "BLIS_", "NUMEXPR_", "ATEN_", "ONEDNN_", "DNNL_", "NPY_")
_SINGLE = frozenset({HASH_SEED, "GLIBC_TUNABLES", "LD_PRELOAD", "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES"})
# How a library is told to take the kernel that it told of itself.
_PINS = {"OpenBLAS": "OPENBLAS_CORETYPE", "ATen": "ATEN_CPU_CAPABILITY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What numbers were computed with. `kernels` is library to kernel (`OpenBLAS in numpy.libs`: `SkylakeX`)."""

    platform: str = ""
    cpu: str = ""
    kernels: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMachine:
    """The machine on which the outs of one step of a run were made (for a cached step: by the run that made them)."""

    run: str
    step: str
    machine: Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedStep:
    """A step cache entry as it stands at a remote, for whoever has the same key, with the machine its outs were made on."""

    entry: StepCacheEntry
    machine: Machine | None = None


def numeric_defaults(threads: int) -> dict[str, str]:
    """Give the variables every job gets: they bound the threads of numeric libraries, and pin the seed of hashes.

    >>> numeric_defaults(2)["OMP_NUM_THREADS"], numeric_defaults(2)["PYTHONHASHSEED"]
    ('2', '0')
    """
    return {**dict.fromkeys(_THREADS, str(threads)), HASH_SEED: "0"}


def is_numeric(variable: str) -> bool:
    """Tell whether an environment variable may change what numbers come out.

    >>> is_numeric("OPENBLAS_CORETYPE"), is_numeric("EDITOR")
    (True, False)
    """
    return variable.startswith(_FAMILIES) or variable in _SINGLE


def is_thread_variable(variable: str) -> bool:
    """Tell whether a numeric variable is about threads.

    >>> is_thread_variable("MKL_NUM_THREADS"), is_thread_variable("MKL_CBWR")
    (True, False)
    """
    return variable.endswith("_NUM_THREADS") or variable in _MORE_THREADS


def restore_variables(recorded: Machine, here: Mapping[str, str]) -> dict[str, str | None]:
    """Give the kernel variables of a record; None takes away one that is set `here` and was not then.

    >>> restore_variables(Machine(variables={"MKL_CBWR": "AVX2"}), {"OPENBLAS_CORETYPE": "Haswell"})
    {'OPENBLAS_CORETYPE': None, 'MKL_CBWR': 'AVX2'}
    """
    gone = {name: None for name in here if _chooses_kernels(name)}
    return {**gone, **kernel_variables(recorded)}


def pin_kernels(recorded: Machine, natural: Machine) -> dict[str, str]:
    """Give the variables under which libraries take the recorded kernels, for those that by nature take others here.

    >>> pin_kernels(Machine(kernels={"OpenBLAS in numpy.libs": "Haswell"}), Machine(kernels={"OpenBLAS in numpy.libs": "Zen"}))
    {'OPENBLAS_CORETYPE': 'Haswell'}
    """
    return {
        variable: kernel.lower() if library == "ATen" else kernel
        for name, kernel in recorded.kernels.items()
        for library, variable in _PINS.items()
        if name.startswith(library) and natural.kernels.get(name, kernel) != kernel
    }


def kernel_variables(machine: Machine) -> dict[str, str]:
    """Give those of a machine's variables that choose kernels, not threads or the hash seed."""
    return {name: value for name, value in machine.variables.items() if _chooses_kernels(name)}


def _chooses_kernels(variable: str) -> bool:
    return is_numeric(variable) and not is_thread_variable(variable) and variable != HASH_SEED

"""What processes of this machine used, from /proc."""

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """Give a process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += parents.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Give the CPU seconds (user and system, waited-for children too) of a process tree."""
    return sum(own_cpu_seconds(pid) for pid in tree(root))


def own_cpu_seconds(pid: int) -> float:
    """Give the CPU seconds of one process and of the children it has waited for."""
    return sum(map(int, _stat(pid)[11:15])) / TICK


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def resident_bytes(root: int) -> int:
    """Give the resident memory of a process tree, added up."""
    return sum(_kilobytes(pid, "status", "VmRSS") for pid in tree(root))


def proportional_bytes(root: int) -> int:
    """Give the memory of a process tree, what several processes share counted once."""
    return sum(_kilobytes(pid, "smaps_rollup", "Pss") for pid in tree(root))


def forget_peak(root: int) -> None:
    """Begin to look for a process's peak of memory from now on."""
    Path(f"/proc/{root}/clear_refs").write_text("5")


def peak_bytes(root: int) -> int:
    """Give the most memory that a process has held, ever or since its peak was forgotten."""
    return _kilobytes(root, "status", "VmHWM")


def _kilobytes(pid: int, table: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{table}").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)

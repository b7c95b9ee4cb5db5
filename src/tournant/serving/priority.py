"""What may wait gives way: on one machine, a core is the gateway's before it is the recorder's or the control plane's."""

import contextlib
import os
from pathlib import Path

__all__ = ["NICENESS", "give_way"]

NICENESS = 5  # a third of the weight: on a busy machine slower by so much, and never starved


def give_way(pid: int, niceness: int = NICENESS) -> None:
    """Let a process that was just started in a session of its own have less of a contended core than this one.

    Linux may weigh whole sessions against each other (`sched_autogroup_enabled`), and heeds the niceness of processes only
    within one: so the session is told, too. A process that is gone already, or a system that has neither, is no error.

    >>> import subprocess, sys
    >>> tell = "import os; input(); print(os.nice(0))"
    >>> with subprocess.Popen(
    ...     [sys.executable, "-c", tell], stdin=-1, stdout=-1, text=True, start_new_session=True
    ... ) as process:
    ...     give_way(process.pid, 3)
    ...     print(int(process.communicate("go")[0]) - os.nice(0))
    3
    """
    level = os.getpriority(os.PRIO_PROCESS, 0) + niceness
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, level)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(level))

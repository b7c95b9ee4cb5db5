"""Runs one command and writes its exit code down, so that a job's end is known whoever is still there to see it.

Started by path, without tournant: `python job_runner.py EXIT_CODE_FILE NICENESS COMMAND…`.
"""

import contextlib
import os
import signal
import subprocess
import sys


def main() -> int:
    """Run the command; a signal to the runner goes on to it."""
    target, niceness, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    give_way(niceness)
    try:
        process = subprocess.Popen(command)
    except OSError as exc:
        print(f"cannot run {command[0]}: {exc.strerror}", file=sys.stderr)  # noqa: T201 - its output is the job's log
        return write(target, 127)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return write(target, process.wait())


def give_way(niceness: int) -> None:
    """Have less of a contended core: this process, and its session where the kernel weighs sessions against each other."""
    level = os.nice(niceness)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:  # noqa: PTH123 - see above
        file.write(str(level))


def write(target: str, code: int) -> int:
    """Write the exit code all at once."""
    partial = target + ".partial"
    with open(partial, "w") as file:  # noqa: PTH123 - pathlib would cost more than the rest of the runner
        file.write(str(code))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, target)  # noqa: PTH105
    return code if code >= 0 else 128 - code


sys.exit(main())

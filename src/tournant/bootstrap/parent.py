"""The tie between the supervisor and its processes: when it dies, even by SIGKILL, they end too."""

import ctypes
import os
import signal
from collections.abc import Mapping

__all__ = ["SUPERVISOR", "die_with_parent"]

SUPERVISOR = "TOURNANT_SUPERVISOR"  # the variable that names a supervised process's supervisor
_PR_SET_PDEATHSIG = 1


def die_with_parent(environ: Mapping[str, str]) -> None:
    """Ask Linux for SIGTERM when the supervisor named in `environ` dies; exit if it is gone already. Else do nothing."""
    supervisor = environ.get(SUPERVISOR)
    if not supervisor:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(supervisor):  # it died before the call
        raise SystemExit(1)

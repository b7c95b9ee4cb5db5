"""Who leads: of all processes on one database, one runs the controllers."""

import os
import socket
import threading
import time
import uuid

from tournant.domain.control import Lease
from tournant.services.context import Context

__all__ = ["LEASE_SECONDS", "Leadership"]

LEASE_SECONDS = 5.0  # how long a process that died still leads
_NAME = "controllers"


class Leadership:
    """A lease on the database by real time. Renewed while held; when its holder dies, another takes over on expiry."""

    def __init__(self, ctx: Context, *, seconds: float = LEASE_SECONDS) -> None:
        """Compete for the lease, held for `seconds` at a time."""
        self._ctx = ctx
        self._seconds = seconds
        self._lock = threading.Lock()
        self._held_until = 0.0  # monotonic
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def hold(self) -> bool:
        """Tell whether this process leads, taking or renewing the lease when a third of it is gone."""
        with self._lock:
            if time.monotonic() > self._held_until - self._seconds * 2 / 3:
                self._renew()
            return time.monotonic() < self._held_until

    def _renew(self) -> None:
        asked = (
            time.monotonic()
        )  # before the database answers, so that we never think to hold it for longer than it says
        with self._ctx.transactions.begin() as uow:
            now = time.time()
            lease = uow.get(Lease, _NAME, lock=True)
            if lease and lease.holder != self.holder and lease.expires_at > now:
                self._held_until = 0.0
                return
            uow.save(Lease(name=_NAME, holder=self.holder, expires_at=now + self._seconds))
        self._held_until = asked + self._seconds

    def release(self) -> None:
        """Let another process lead at once."""
        with self._lock, self._ctx.transactions.begin() as uow:
            lease = uow.get(Lease, _NAME, lock=True)
            if lease and lease.holder == self.holder:
                uow.save(Lease(name=_NAME, holder="", expires_at=0.0))
            self._held_until = 0.0

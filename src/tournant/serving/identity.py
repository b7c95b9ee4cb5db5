"""Which gateway this is: a folder of its own under the home, with an id that outlives the process."""

import fcntl
import os
import secrets
from pathlib import Path

__all__ = ["Identity", "claim_identity"]


class Identity:
    """A claimed gateway folder; the claim is a file lock, and ends with the process."""

    def __init__(self, folder: Path, lock: int) -> None:
        """Hold `lock`, a descriptor, for `folder`, whose name is the id."""
        self.folder = folder
        self.id = folder.name
        self._lock = lock

    def release(self) -> None:
        """Let another process be this gateway."""
        os.close(self._lock)


def claim_identity(gateways: Path) -> Identity:
    """Claim the first gateway folder that no living process has, so that a restart carries on; or make a new one."""
    gateways.mkdir(parents=True, exist_ok=True)
    for folder in sorted(path for path in gateways.iterdir() if path.is_dir()):
        claimed = _claim(folder)
        if claimed:
            return claimed
    folder = gateways / f"gateway-{secrets.token_hex(4)}"
    folder.mkdir()
    return _claim(folder) or claim_identity(gateways)


def _claim(folder: Path) -> Identity | None:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return Identity(folder, lock)

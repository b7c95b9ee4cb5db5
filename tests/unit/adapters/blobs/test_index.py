"""The index of packs, as several threads open it."""

import threading
from collections.abc import Callable
from pathlib import Path

from tournant.adapters.blobs.index import ObjectIndex, PackFolder
from tournant.adapters.blobs.stats import StatIndex

ROUNDS = 60
THREADS = 6


def at_once(ask: Callable[[], object]) -> list[object]:
    """Give what some threads are told that ask at the same time."""
    told: list[object] = []
    barrier = threading.Barrier(THREADS)

    def work() -> None:
        barrier.wait()
        try:
            told.append(ask())
        except Exception as exc:
            told.append(exc)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_a_new_index_is_opened_by_many_at_once(tmp_path: Path) -> None:
    """SQLite does not wait where the first makes the file: nobody is told that it is locked, or finds the half of it."""
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        index = ObjectIndex(folder / "index.sqlite", PackFolder(folder))
        generations = at_once(index.generation)
        assert [type(told) for told in generations] == [str] * THREADS, generations
        assert len(set(generations)) == 1


def test_new_stats_are_opened_by_many_at_once(tmp_path: Path) -> None:
    """As the index is."""
    for number in range(ROUNDS):
        assert at_once(StatIndex(tmp_path / f"{number}.sqlite").workspaces) == [[]] * THREADS

"""What logging costs a training loop: CPU of the calling thread, by tournant's own functions. Prints one line of JSON.

python fluent_client.py COUNT
"""

import json
import os
import sys
import time

began = time.process_time()
import tournant  # noqa: E402

tournant.log_metric  # noqa: B018 - names are imported when they are first looked at
imported = time.process_time() - began


def main(count: int) -> None:
    """Log in a loop, and tell the calling thread's CPU time a call."""
    with tournant.start_run(run_name="bench") as run:
        tournant.log_metric("loss", 1.0)
        before = time.thread_time()
        for step in range(count):
            tournant.log_metric("loss", 1 / (step + 1), step=step)
        spent = time.thread_time() - before
        empty = time.thread_time()
        for step in range(count):
            1 / (step + 1)
        spent -= time.thread_time() - empty
        kept = tournant.flush(120)
    found = len(tournant.Client(os.environ["TOURNANT_URL"]).runs.metric(id=run.id, key="loss"))
    lost = count + 1 - found + (not kept)
    print(json.dumps({"import_ms": 1e3 * imported, "call_us": 1e6 * spent / count, "lost": lost}))


if __name__ == "__main__":
    main(int(sys.argv[1]))

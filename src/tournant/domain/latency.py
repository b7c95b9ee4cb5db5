"""The buckets that latencies are counted in, everywhere."""

__all__ = ["LATENCY_BOUNDS_MS", "latency_bucket"]

# Upper bounds of the latency histogram's buckets, in milliseconds; the last bucket is open.
LATENCY_BOUNDS_MS = (
    0.1,
    0.2,
    0.3,
    0.5,
    0.75,
    1,
    1.5,
    2,
    3,
    5,
    7.5,
    10,
    15,
    20,
    30,
    50,
    75,
    100,
    150,
    200,
    300,
    500,
    1000,
    3000,
)


def latency_bucket(index: int) -> str:
    """Name bucket `index` by its upper bound, as the histograms in the metadata do.

    >>> latency_bucket(0), latency_bucket(len(LATENCY_BOUNDS_MS))
    ('0.1', 'inf')
    """
    return f"{LATENCY_BOUNDS_MS[index]:g}" if index < len(LATENCY_BOUNDS_MS) else "inf"

"""tournant keeps machine-learning models fresh in production.

Names are exported lazily, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tournant.config import VERSION

if TYPE_CHECKING:
    from tournant.sdk.client import Client
    from tournant.sdk.datasets import open_dataset
    from tournant.sdk.fluent import log_metric, log_metrics, log_param, log_params, start_run

__all__ = ["Client", "__version__", "log_metric", "log_metrics", "log_param", "log_params", "open_dataset", "start_run"]
__version__ = VERSION

_HOMES = {
    "Client": "tournant.sdk.client",
    "log_metric": "tournant.sdk.fluent",
    "log_metrics": "tournant.sdk.fluent",
    "log_param": "tournant.sdk.fluent",
    "log_params": "tournant.sdk.fluent",
    "open_dataset": "tournant.sdk.datasets",
    "start_run": "tournant.sdk.fluent",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tournant' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

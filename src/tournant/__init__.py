"""tournant keeps machine-learning models fresh in production.

Names are exported lazily, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tournant.config import VERSION

if TYPE_CHECKING:
    from tournant.sdk.client import Client
    from tournant.sdk.datasets import open_dataset
    from tournant.sdk.fluent import (
        ActiveRun,
        active_run,
        end_run,
        flush,
        log_artifact,
        log_artifacts,
        log_dict,
        log_metric,
        log_metrics,
        log_model,
        log_param,
        log_params,
        log_text,
        set_experiment,
        set_tag,
        set_tags,
        start_run,
    )

__all__ = [
    "ActiveRun",
    "Client",
    "__version__",
    "active_run",
    "end_run",
    "flush",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_param",
    "log_params",
    "log_text",
    "open_dataset",
    "set_experiment",
    "set_tag",
    "set_tags",
    "start_run",
]
__version__ = VERSION

_HOMES = {"Client": "tournant.sdk.client", "open_dataset": "tournant.sdk.datasets"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tournant' has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES.get(name, "tournant.sdk.fluent")), name)
    globals()[name] = found  # the next look does not come here
    return found

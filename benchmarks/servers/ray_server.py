"""The model in Ray Serve: `python ray_server.py MODEL.pkl PORT`."""

import signal
import sys

import joblib
import numpy as np
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=64)
class Bench:
    """One replica."""

    def __init__(self, path: str) -> None:
        """Load the model."""
        self.model = joblib.load(path)

    async def __call__(self, request: Request) -> dict[str, object]:
        """Give probabilities by class."""
        body = await request.json()
        return {"predictions": self.model.predict_proba(np.array(body["inputs"])).tolist()}


ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, configure_logging=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
serve.run(Bench.bind(sys.argv[1]), route_prefix="/predict")
signal.sigwait({signal.SIGTERM})
serve.shutdown()
ray.shutdown()

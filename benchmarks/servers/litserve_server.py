"""The model in LitServe: `python litserve_server.py MODEL.pkl PORT`."""

import sys

import joblib
import litserve
import numpy as np


class Bench(litserve.LitAPI):
    """One worker."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - the library gives it
        """Load the model."""
        self.model = joblib.load(sys.argv[1])

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """Make a matrix."""
        return np.array(request["inputs"])

    def predict(self, x):  # type: ignore[no-untyped-def]
        """Give probabilities by class."""
        return self.model.predict_proba(x)

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        """Make lists."""
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Bench(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, generate_client_file=False, log_level="warning"
    )

"""The peers of the area `serving`, each in an environment of its own, set up as its documentation has it, one worker each."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.ports import free_port
from benchmarks.serving_models import COLUMNS, REQUIREMENTS, Models
from benchmarks.serving_sides import Side

__all__ = ["MLSERVER", "floor", "mlserver", "start_peers"]

SERVERS = Path(__file__).with_name("servers")
MLSERVER = "MLServer"
BATCHING = {"max_batch_size": 16, "max_batch_time": 0.01}


def start_peers(models: Models, work: Path) -> Iterator[Side]:
    """Give the peers that can be had here; the others are named with the reason."""
    makers: dict[str, Callable[[], Side]] = {
        MLSERVER: lambda: mlserver(models, work / "mlserver"),
        f"{MLSERVER}, batching": lambda: mlserver(models, work / "mlserver-batching", BATCHING),
        "mlflow models serve": lambda: _mlflow(models, work / "mlflow"),
        "BentoML": lambda: _bentoml(models, work / "bentoml"),
        "LitServe": lambda: _litserve(models, work / "litserve"),
        "Ray Serve": lambda: _ray(models, work / "ray"),
    }
    for name, make in makers.items():
        try:
            yield make()
        except (subprocess.CalledProcessError, OSError) as exc:
            print(f"{name}: not compared, for it cannot be installed here: {exc}")


def floor(models: Models, work: Path, onnx: Path) -> Side:
    """Give a server of the converted model that does nothing else."""
    port = free_port()
    return Side(
        name="floor",
        command=[sys.executable, str(SERVERS / "floor.py"), str(onnx), str(port)],
        folder=work,
        port=port,
        path="/",
        bodies=[json.dumps({"inputs": row}).encode() for row in models.rows],
        score=lambda answer: float(answer["score"]),
    )


def mlserver(models: Models, folder: Path, batching: Mapping[str, float] | None = None) -> Side:
    """Give MLServer, with adaptive batching if asked for."""
    python = peers.environment(
        "mlserver", "mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop==0.21.0", *REQUIREMENTS
    )
    ports = [free_port() for _ in range(3)]
    settings = {
        "host": "127.0.0.1",
        **dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True)),
        "parallel_workers": 1,
        "debug": False,
    }
    model = {
        "name": "bench",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(models.matrix / "model.pkl")},
        **(batching or {}),
    }
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return Side(
        name=f"{MLSERVER}, batching" if batching else MLSERVER,
        command=[str(python.with_name("mlserver")), "start", str(folder)],
        folder=folder,
        port=ports[0],
        path="/v2/models/bench/infer",
        bodies=[json.dumps(_v2(row)).encode() for row in models.rows],
        score=lambda answer: float(answer["outputs"][0]["data"][1]),
    )


def _v2(row: Mapping[str, float]) -> dict[str, object]:
    inputs = [{"name": "x", "shape": [1, COLUMNS], "datatype": "FP32", "data": list(row.values())}]
    return {"inputs": inputs, "outputs": [{"name": "predict_proba"}]}


def _mlflow(models: Models, folder: Path) -> Side:
    python = peers.environment("serving-mlflow", "mlflow==3.17.2", *REQUIREMENTS)
    save = (
        "import joblib, mlflow.sklearn, sys;"
        "mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], pyfunc_predict_fn='predict_proba',"
        " serialization_format='cloudpickle', pip_requirements=[])"
    )
    model = folder / "model"
    subprocess.run([str(python), "-c", save, str(models.matrix / "model.pkl"), str(model)], check=True)
    port = free_port()
    command = [str(python.with_name("mlflow")), "models", "serve", "-m", str(model), "--env-manager", "local"]
    return _matrix_side(
        "mlflow models serve",
        [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        folder,
        port,
        models,
        path="/invocations",
        environ={"PATH": f"{python.parent}:/usr/bin:/bin"},
    )


def _bentoml(models: Models, folder: Path) -> Side:
    python = peers.environment("bentoml", "bentoml==1.4.40", *REQUIREMENTS)
    port = free_port()
    command = [str(python.with_name("bentoml")), "serve", "bento_service:Bench", "--working-dir", str(SERVERS)]
    return _matrix_side(
        "BentoML",
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        folder,
        port,
        models,
        score=lambda answer: float(answer[0][1]),
        environ={
            "MODEL": str(models.matrix / "model.pkl"),
            "BENTOML_HOME": str(folder / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
        },
    )


def _litserve(models: Models, folder: Path) -> Side:
    python = peers.environment("litserve", "litserve==0.2.19", *REQUIREMENTS)
    return _script("LitServe", python, "litserve_server.py", folder, models)


def _ray(models: Models, folder: Path) -> Side:
    python = peers.environment("ray-serve", "ray[serve]==2.60.0", *REQUIREMENTS)
    return _script("Ray Serve", python, "ray_server.py", folder, models, {"RAY_USAGE_STATS_ENABLED": "0"})


def _script(
    name: str, python: Path, script: str, folder: Path, models: Models, environ: Mapping[str, str] | None = None
) -> Side:
    port = free_port()
    command = [str(python), str(SERVERS / script), str(models.matrix / "model.pkl"), str(port)]
    return _matrix_side(name, command, folder, port, models, environ=environ or {})


def _matrix_side(
    name: str,
    command: list[str],
    folder: Path,
    port: int,
    models: Models,
    *,
    path: str = "/predict",
    score: Callable[[Any], float] = lambda answer: float(answer["predictions"][0][1]),
    environ: Mapping[str, str],
) -> Side:
    """Give a peer that takes rows as a list of lists."""
    bodies = [json.dumps({"inputs": [list(row.values())]}).encode() for row in models.rows]
    return Side(
        name=name, command=command, folder=folder, port=port, path=path, bodies=bodies, score=score, environ=environ
    )

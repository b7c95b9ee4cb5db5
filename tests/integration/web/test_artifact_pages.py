"""A run's files in the dashboard: what is listed, previewed and sent, and that nothing of it is ever run or leads elsewhere."""

import io
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import webhouse
from tournant.domain.logged_models import LoggedModel
from tournant.domain.tracking import Run, RunStatus, StepRun
from tournant.services.artifacts import put_artifact
from tournant.services.context import Context

RUN = webhouse.ident("files", 1)
PAGE = f"/runs/{RUN}/artifacts"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SCRIPT = b"<script>alert(document.cookie)</script>"
FILES = {
    "report.html": SCRIPT,
    "plots/roc.png": PNG,
    "plots/drawn.svg": b"<svg xmlns='http://www.w3.org/2000/svg'>" + SCRIPT + b"</svg>",
    "plots/deep/er/notes.md": b"# notes",
    "scores.csv": b"a,b\n1,2\n",
    "pretends.png": SCRIPT,
    "model.pkl": b"\x80\x04\x95\0\0",
}


@pytest.fixture(autouse=True)
def run(house: Context, tmp_path: Path) -> Run:
    """Give a run with artifacts, a logged model and two outs."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "weights.txt").write_text("1 2 3")
    (tmp_path / "metrics.json").write_text('{"auc": 0.5}')
    outs = {
        "build/model": house.blobs.put_tree(out).digest,
        "metrics.json": house.blobs.put_tree(tmp_path / "metrics.json").digest,
    }
    with house.transactions.begin() as uow:
        run = uow.runs.add(
            Run(
                id=RUN,
                experiment="Default",
                name="has files",
                status=RunStatus.RUNNING,
                started_at=webhouse.NOW - 60,
                artifact_location=f"mlflow-artifacts:/0/{RUN}/artifacts",
            )
        )
        step = {"run": RUN, "step": "train", "position": 0, "status": RunStatus.SUCCESSFUL, "cache_key": "a" * 64}
        uow.save(StepRun(**step, started_at=webhouse.NOW - 50, outs=outs))  # type: ignore[arg-type]
        model = {"id": "m-1", "experiment": 0, "name": "tree", "created_at": 0.0, "updated_at": 0.0, "run": RUN}
        uow.save(LoggedModel(**model, artifact_location="mlflow-artifacts:/0/models/m-1/artifacts"))  # type: ignore[arg-type]
    for name, content in FILES.items():
        put_artifact(house, f"0/{RUN}/artifacts/{name}", io.BytesIO(content))
    put_artifact(house, "0/models/m-1/artifacts/MLmodel", io.BytesIO(b"flavors: {}\n"))
    put_artifact(house, "0/another/artifacts/secret.txt", io.BytesIO(b"secret"))
    return run


def titles(client: TestClient, path: str = "") -> list[str]:
    view = client.get(f"{PAGE}.json", params={"path": path} if path else {}).json()
    return [file["title"] for file in view["listing"]["files"]]


def test_everything_a_run_has_is_listed(client: TestClient) -> None:
    """Artifacts by folder, its logged models and the outs of its steps; on its own page too."""
    assert titles(client) == [
        "plots",
        "model.pkl",
        "pretends.png",
        "report.html",
        "scores.csv",
        "tree (model)",
        "build/model (out of train)",
        "metrics.json (out of train)",
    ]
    assert titles(client, "artifacts/plots") == ["deep", "drawn.svg", "roc.png"]
    assert titles(client, "artifacts/plots/deep") == ["er"]
    assert titles(client, "models/m-1") == ["MLmodel"]
    assert titles(client, "outs/build") == ["build/model (out of train)"]
    assert titles(client, "outs/build/model") == ["weights.txt"]
    assert f"{PAGE}?path=artifacts%2Freport.html" in client.get(f"/runs/{RUN}").text


def test_files_are_previewed(client: TestClient) -> None:
    """Text as text, tables as tables, pictures as pictures; what a page for browsers would do, it does not."""
    kinds = {
        "artifacts/report.html": "text",
        "artifacts/plots/roc.png": "image",
        "artifacts/plots/deep/er/notes.md": "text",
        "artifacts/scores.csv": "table",
        "artifacts/model.pkl": "none",
        "models/m-1/MLmodel": "text",
        "outs/build/model/weights.txt": "text",
        "outs/metrics.json": "json",
    }
    for path, kind in kinds.items():
        assert client.get(f"{PAGE}.json", params={"path": path}).json()["preview"]["kind"] == kind, path
        page = client.get(PAGE, params={"path": path}).text
        assert f"path={path}" in page and "Download" in page
    shown = client.get(PAGE, params={"path": "artifacts/report.html"}).text
    assert "&lt;script&gt;alert(document.cookie)" in shown and SCRIPT.decode() not in shown


def test_downloads_are_sealed(client: TestClient) -> None:
    """A file is sent as bytes to be kept, under a policy that would run nothing of it."""
    for path, content in (("artifacts/report.html", SCRIPT), ("outs/build/model/weights.txt", b"1 2 3")):
        answer = client.get(f"{PAGE}/download", params={"path": path})
        assert answer.content == content
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_only_pictures_are_shown(client: TestClient) -> None:
    """A picture has the type its bytes say, sealed; what only pretends to be one is refused."""
    answer = client.get(f"{PAGE}/image", params={"path": "artifacts/plots/roc.png"})
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    drawn = client.get(f"{PAGE}/image", params={"path": "artifacts/plots/drawn.svg"})
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert drawn.headers["content-security-policy"].endswith("; sandbox")
    for name in ("pretends.png", "report.html", "scores.csv"):
        assert client.get(f"{PAGE}/image", params={"path": f"artifacts/{name}"}).status_code == 400, name


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("artifacts/../../another/artifacts/secret.txt", 400),
        ("artifacts/..%2f..%2fanother/artifacts/secret.txt", 404),
        ("..", 400),
        ("outs/../../../etc/passwd", 400),
        ("artifacts\\..\\secret.txt", 400),
        ("artifacts//etc/passwd", 404),
        ("another/artifacts/secret.txt", 404),
        ("models/m-2/MLmodel", 404),
        ("models", 404),
        ("outs/other/model.txt", 404),
        ("artifacts/plots", 404),
        ("", 404),
        ("artifacts/a\0b", 400),
        ("artifacts/" + "x" * 2000, 400),
    ],
)
def test_paths_lead_nowhere_else(client: TestClient, path: str, status: int) -> None:
    """What is not a file of the run is not sent."""
    for verb in ("download", "image"):
        answer = client.get(f"{PAGE}/{verb}", params={"path": path})
        assert answer.status_code == status, answer.text[-300:]
        assert answer.content != b"secret"


def test_another_runs_model_is_not_shown(client: TestClient) -> None:
    """A logged model belongs to one run."""
    other = webhouse.ident("churn", 2)
    assert client.get(f"/runs/{other}/artifacts?path=models/m-1").status_code == 404
    assert client.get("/runs/nobody/artifacts").status_code == 404


def test_many_files_are_cut(client: TestClient, house: Context) -> None:
    """A folder of more than 500 files shows its beginning, and says so."""
    for number in range(520):
        put_artifact(house, f"0/{RUN}/artifacts/many/{number:04}.txt", io.BytesIO(b"x"))
    view = client.get(f"{PAGE}.json?path=artifacts/many").json()
    assert len(view["listing"]["files"]) == 500 and view["listing"]["more"]
    assert "There is more" in client.get(f"{PAGE}?path=artifacts/many").text


def test_artifacts_kept_elsewhere_are_said_to_be(client: TestClient, house: Context) -> None:
    """A run whose artifacts are in a bucket says where."""
    with house.transactions.begin() as uow:
        uow.runs.add(
            Run(
                id=webhouse.ident("files", 2),
                experiment="Default",
                name="elsewhere",
                status=RunStatus.SUCCESSFUL,
                started_at=webhouse.NOW,
                artifact_location="s3://bucket/1/artifacts",
            )
        )
    for address in (f"/runs/{webhouse.ident('files', 2)}", f"/runs/{webhouse.ident('files', 2)}/artifacts"):
        assert "s3://bucket/1/artifacts" in client.get(address).text

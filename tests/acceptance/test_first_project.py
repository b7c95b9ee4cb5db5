"""The README's path, word for word: from an empty folder to a served, labelled, watched model."""

import csv
import json

import duckdb
import pytest

pytestmark = pytest.mark.slow

BUILDING_SECONDS = 240  # the project's environment is built and its model converted


class Churn:
    """A project made by `tournant init churn`, run twice, with its version 1 deployed on a running tournant."""

    def __init__(self, tournant) -> None:
        self.tournant = tournant
        self.folder = tournant.folder / "churn"
        self.init = tournant.cli("init", "churn").fine()
        tournant.home = self.folder / ".tournant"
        self.run = self.cli("run")
        self.again = self.cli("run")
        tournant.up()
        self.deploy = self.cli("deploy", "--wait")

    def cli(self, *arguments: object):
        """Run a command as one would inside the project, and insist on exit 0."""
        return self.tournant.cli(*arguments, cwd=self.folder, timeout_seconds=BUILDING_SECONDS).fine()

    def json(self, *arguments: object):
        """Run a command with --json."""
        return json.loads(self.cli(*arguments, "--json").out)

    @property
    def row(self) -> dict[str, float]:
        """One row that the model takes."""
        return json.loads((self.folder / "model" / "input_example.json").read_text())[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, start):
    """Give a tournant of this module's own."""
    given = start(tmp_path_factory.mktemp("first"))
    yield given
    given.stop()


@pytest.fixture(scope="module")
def churn(alone):
    """Walk the README's path to a deployed version."""
    return Churn(alone)


def test_init_says_what_it_made_and_what_is_next(churn):
    """The files it made, and the command to go on with."""
    for name in ("tournant.yaml", "train.py", "requirements.txt", ".gitignore"):
        assert f"created  churn/{name}" in churn.init.err
        assert (churn.folder / name).is_file()
    assert "Next: cd churn && tournant run" in churn.init.err


def test_run_tells_metrics_version_and_parity(churn):
    """The first run prints its metrics, the version, and how near the converted model is."""
    assert "auroc" in churn.run.out
    assert "churn@1  conversion successful: largest difference" in churn.run.out
    assert "tolerance 0.0001" in churn.run.out


def test_a_second_run_changes_nothing(churn):
    """Every step comes from the cache, and no second version is made."""
    assert "train: unchanged" in churn.again.err
    assert "nothing changed" in churn.again.err
    assert [version["id"] for version in churn.json("models", "show", "churn")["versions"]] == ["churn@1"]


def test_deploy_waits_for_the_outcome(churn):
    """The last line is the outcome and why."""
    assert churn.deploy.out.splitlines()[-1].startswith("churn/1  promoted  ")


def test_predictions_by_example_and_by_json_agree(churn):
    """Without inputs the example is predicted; a raw request with the same row gets the same score."""
    by_example = json.loads(churn.cli("predict", "churn").out)
    by_json = json.loads(churn.cli("predict", "churn", json.dumps(churn.row)).out)
    status, raw = churn.tournant.predict("churn", inputs=churn.row, key="customer-16")
    assert status == 200
    assert by_example["model_version"] == raw["model_version"] == "churn@1"
    scores = {answer["predictions"][0]["score"] for answer in (by_example, by_json, raw)}
    assert len(scores) == 1
    assert 0 < scores.pop() < 1


def test_a_label_by_key_is_accepted(churn):
    """A request with a key, then its label by that key is accepted."""
    assert churn.tournant.predict("churn", inputs=churn.row, key="customer-17")[0] == 200
    assert "accepted 1 label" in churn.cli("labels", "add", "churn", 1, "--key", "customer-17").out


def test_a_file_is_predicted_row_by_row(churn):
    """A CSV becomes a Parquet file with each row's score, id and model version beside its columns."""
    with (churn.folder / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*churn.row, "customer"])
        writer.writeheader()
        writer.writerows({**churn.row, "customer": f"c{i}"} for i in range(2500))
    done = churn.cli("predict", "churn", "--batch", "in.csv", "out.parquet")
    assert "2,500 rows predicted into out.parquet" in done.err
    query = "SELECT count(*), count(DISTINCT prediction_id), min(score) = max(score), any_value(model_version), min(customer)"
    with duckdb.connect() as connection:
        found = connection.execute(f"{query} FROM '{churn.folder / 'out.parquet'}'").fetchone()
    assert found == (2500, 2500, True, "churn@1", "c0")


def test_status_fits_on_a_screen(churn):
    """One line a deployment: what is stable, and that nothing is wrong."""
    lines = churn.cli("status").out.splitlines()
    assert lines[0].split() == ["DEPLOYMENT", "STABLE", "ROLLING", "OUT", "OPEN", "ALERTS", "RETRAINING"]
    assert lines[1].split()[:3] == ["churn", "churn/1", "–"]
    assert churn.json("status")["deployments"][0]["deployment"]["stable"] == "churn/1"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("models list", ["churn@1"]),
        ("models show churn", ["churn@1", "sklearn", "successful"]),
        ("models show churn@1", ["conversion successful", "metric  auroc", "mean_radius"]),
        ("runs list", ["successful", "auroc"]),
        ("rollouts list", ["churn/1", "promoted"]),
        ("rollouts show churn", ["churn/1  promoted", "GATE", "probe errors"]),
        ("deployments list", ["churn", "churn/1", "100 ms"]),
        ("deployments show churn", ["churn/1", "churn@1", "stable"]),
        ("events list", ["model.version_registered", "deployment.created"]),
    ],
)
def test_lists_show_it_to_people_and_programs(churn, command, words):
    """Each list prints a table with what one looks for, and the same as JSON."""
    told = churn.cli(*command.split()).out
    assert [word for word in words if word not in told] == [], told
    assert "churn" in json.dumps(churn.json(*command.split()))


@pytest.mark.parametrize("command", ["data list", "alerts list", "retrainings list", "monitors list"])
def test_empty_lists_say_so(churn, command):
    """With nothing to list, people get a sentence and programs an empty list."""
    done = churn.cli(*command.split())
    assert done.out == ""
    assert done.err.startswith("no ")
    assert churn.json(*command.split()) == []


def test_a_run_is_found_by_its_short_id(churn):
    """The id that `runs list` prints is enough for `runs show`."""
    newest = churn.cli("runs", "list").out.splitlines()[1].split()[0]
    told = churn.cli("runs", "show", newest).out
    assert "param   max_iter = 200" in told
    assert "train" in told


def test_a_change_is_run_and_rolled_out_beside_the_first(churn):
    """Another param makes version 2; deploying it starts a canary, which can be aborted by name."""
    text = (churn.folder / "tournant.yaml").read_text()
    (churn.folder / "tournant.yaml").write_text(text.replace("max_iter: 200", "max_iter: 300"))
    assert "churn@2" in churn.cli("run").out
    assert "churn@2" in churn.cli("deploy").out
    assert churn.cli("rollouts", "abort", "churn", "--reason", "only a test").out.startswith("churn/2  aborted")
    assert churn.json("status")["deployments"][0]["deployment"]["stable"] == "churn/1"


def test_waiting_needs_a_running_tournant(churn, tmp_path):
    """On a home where nothing runs `deploy --wait` is an error at once, and deploys nothing; a short wait is one too."""
    away = ("--home", tmp_path / "home")
    refused = churn.tournant.cli("deploy", "churn@1", "--wait", *away, cwd=churn.folder)
    refused.refused("Start it: tournant up")
    assert "no deployments yet" in churn.cli("deployments", "list", *away).err
    late = churn.tournant.cli("deploy", "churn@1", "--force", "--wait", "--timeout", 0, cwd=churn.folder)
    late.refused("has no outcome yet", "tournant rollouts show churn", "--timeout")
    churn.cli("rollouts", "abort", "churn")


def test_a_version_is_deployed_by_its_alias(churn):
    """`deploy NAME@ALIAS` finds the version; one that is stable already stays as it is."""
    churn.cli("models", "alias", "churn", "champion", 1)
    done = churn.cli("deploy", "churn@champion", "--wait")
    assert done.out.splitlines()[0] == "churn/1  churn@1  stable"

"""`tournant up` as people and machines treat it: started, stopped, started twice, killed, and put on the network."""

import os
import signal
import socket
import time
from contextlib import closing

import pytest

TEN_SECONDS = 10


@pytest.fixture
def pids(tournant):
    """Give the two processes a running tournant supervises."""
    return lambda: (tournant.record["control_pid"], tournant.record["gateway_pids"][0])


def test_both_answer_and_a_signal_ends_all_of_it(tournant, pids, processes, running):
    """Both ports are healthy, `server.json` tells where; SIGTERM ends everything within 10 s and with exit 0."""
    tournant.up()
    started = (tournant.process.pid, *pids())
    assert processes(tournant.home) >= set(started)
    assert (tournant.record["url"], tournant.record["gateway_url"]) == (tournant.url, tournant.gateway_url)
    tournant.process.send_signal(signal.SIGTERM)
    assert tournant.process.wait(TEN_SECONDS) == 0
    assert not processes(tournant.home)
    assert not any(running(pid) for pid in started)
    assert not (tournant.home / "server.json").exists()
    said = tournant.said.read_text()
    assert tournant.url in said
    assert "Traceback" not in said


def test_the_gateway_goes_before_the_control_plane(tournant, pids):
    """Where cores are scarce, what answers requests has more of them."""
    tournant.up()
    control, gateway = (os.getpriority(os.PRIO_PROCESS, pid) for pid in pids())
    assert control > gateway


def test_down_stops_it_and_says_so(tournant, processes):
    """`tournant down` ends it; with nothing running it says that."""
    tournant.up()
    assert "stopped" in tournant.cli("down").fine().err
    assert tournant.process.wait(TEN_SECONDS) == 0
    assert not processes(tournant.home)
    assert "nothing runs on" in tournant.cli("down").fine().err


def test_twice_on_one_home_is_refused(tournant):
    """The second says who runs and how to stop it, and the first goes on."""
    tournant.up()
    tournant.cli("up", "--port", 1).refused("runs already", str(tournant.process.pid), "tournant down")
    assert tournant.ready()
    assert tournant.record["pid"] == tournant.process.pid


@pytest.mark.parametrize("flag", ["--port", "--gateway-port"])
def test_a_port_in_use_is_named(tournant, processes, flag):
    """The message names the port and the flag to change it, and nothing is left running."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = {"--port": tournant.port, "--gateway-port": tournant.gateway_port, flag: port}
        words = [word for option in options.items() for word in option]
        tournant.cli("up", *words).refused(f"port {port}", f"{flag} ")
    assert not processes(tournant.home)
    assert not (tournant.home / "server.json").exists()


def test_one_port_for_both_is_refused(tournant, processes):
    """The two ports must differ, and be ports."""
    tournant.cli("up", "--port", tournant.port, "--gateway-port", tournant.port).refused(
        str(tournant.port), "--gateway-port"
    )
    tournant.cli("up", "--port", 70_000).refused("70000", "--port")
    assert not processes(tournant.home)


def test_nothing_outlives_a_killed_supervisor(tournant, pids, processes, wait):
    """SIGKILL of the supervisor: control plane and gateway end by themselves, and it can be started again."""
    tournant.up()
    assert all(pids())
    tournant.process.kill()
    tournant.process.wait()
    wait(lambda: not processes(tournant.home), TEN_SECONDS)
    tournant.up()


def test_a_killed_gateway_is_started_again(tournant, models, pids, running, wait):
    """SIGKILL of the gateway: another one answers predictions on the same port."""
    tournant.up()
    tournant.cli("deploy", models.write("tiny"), "--example", models.example, "--wait").fine()
    row = {"plane": "N1", "x": 2.0}
    assert tournant.predict("tiny", inputs=row)[0] == 200
    killed = pids()[1]
    os.kill(killed, signal.SIGKILL)
    wait(lambda: pids()[1] != killed and tournant.ready())
    status, answer = tournant.predict("tiny", inputs=row)
    assert (status, answer["revision"]) == (200, "tiny/1")
    assert not running(killed)
    assert "starting it again" in tournant.said.read_text()


def test_gateways_share_a_port_a_table_and_their_metrics(tournant, models, ask, wait):
    """Each answers; a swap reaches both; one that is killed comes back ready; what they count adds up."""
    tournant.up("--gateways", "2")
    first, second = tournant.record["gateway_pids"]
    tournant.cli("deploy", models.write("tiny"), "--example", models.example, "--wait").fine()
    predict = lambda: tournant.predict("tiny", inputs={"plane": "N1", "x": 2.0})  # noqa: E731
    assert {predict()[0] for _ in range(60)} == {200}  # a connection each: the kernel chooses who answers
    gateways = [folder for folder in (tournant.home / "gateway").iterdir() if folder.is_dir()]
    assert len(gateways) == 2
    wait(lambda: counted(ask(f"{tournant.gateway_url}/metrics")[1]) == 60)
    time.sleep(1.2)  # each process writes its counts every second: those since are lost when it is killed
    os.kill(second, signal.SIGKILL)
    wait(lambda: tournant.record["gateway_pids"][1] != second)
    assert {predict()[0] for _ in range(100)} == {200}
    wait(lambda: counted(ask(f"{tournant.gateway_url}/metrics")[1]) == 160)
    assert tournant.record["gateway_pids"][0] == first


def counted(text):
    """Add up the predictions a scrape tells of; 0 while there is none."""
    lines = [
        line for line in text.splitlines() if line.startswith("tournant_requests_total") and 'status="200"' in line
    ]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_off_loopback_both_need_the_token(tournant, models, ask):
    """On 0.0.0.0 the API, the dashboard and predictions need `home/token`; health stays open, and the CLI knows it."""
    tournant.up("--host", "0.0.0.0")
    token = (tournant.home / "token").read_text().strip()
    assert (tournant.home / "token").stat().st_mode & 0o077 == 0
    tournant.cli("deploy", models.write("tiny"), "--example", models.example, "--wait").fine()
    body = {"inputs": {"plane": "N1", "x": 2.0}}
    for url, sent in (
        (f"{tournant.url}/api/models", None),
        (f"{tournant.url}/api/gateway/routes?gateway=x&version=0&barrier=0&wait=0", None),
        (f"{tournant.gateway_url}/predict/tiny", body),
    ):
        for wrong in ("", "guess", token + "x", token[:-1]):
            status, answer = ask(url, sent, token=wrong)
            assert status == 401, url
            assert answer["error"]["code"] == "denied"
            assert "Authorization: Bearer" in answer["error"]["message"]
        assert ask(url, sent, token=token)[0] == 200
    assert ask(f"{tournant.gateway_url}/health")[0] == ask(f"{tournant.url}/health")[0] == 200
    assert '"score"' in tournant.cli("predict", "tiny").fine().out
    assert "token" in tournant.said.read_text()

"""The session commands against a real server that asks for a password."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.account import ALICE
from tests.support.bus import SystemBusSandbox
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer, password_script

pytestmark = [pytest.mark.system, pytest.mark.interop]

LOGIN = "ann\nright\n"


@pytest.fixture(scope="module")
def server(network: NamespacePair, pki: Pki) -> Iterator[OpenVpnServer]:
    with OpenVpnServer(network, pki, auth=password_script("ann", "right")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def profiles(machine: SystemBusSandbox, server: OpenVpnServer) -> None:
    """office is our server's, nowhere a port where nobody answers."""
    silent = server.profile("connect-retry 30").replace(" 1194 udp", " 9 tcp")
    silent = silent.replace(NamespacePair.SERVER_V4, NamespacePair.SILENT_V4)
    for name, text in (("office", server.profile()), ("nowhere", silent.replace("auth-user-pass\n", ""))):
        machine.write(f"{ALICE.home}/{name}.ovpn", text, account=ALICE)
        done = openvpn3(machine, "config-import", "-c", f"{ALICE.home}/{name}.ovpn", "-n", name)
        assert done.returncode == 0, done.stderr


@pytest.fixture(autouse=True)
def no_session_left(machine: SystemBusSandbox) -> Iterator[None]:
    yield
    for path in json.loads(openvpn3(machine, "sessions-list", "--json").stdout):
        openvpn3(machine, "session-manage", "--disconnect", "--path", path)


def openvpn3(
    machine: SystemBusSandbox, *arguments: str, input: str | None = None
) -> "subprocess.CompletedProcess[str]":
    return machine.run(["openvpn3", *arguments], account=ALICE, check=False, input=input)


def start(machine: SystemBusSandbox) -> str:
    """Path of a new connected session."""
    done = openvpn3(machine, "session-start", "-c", "office", input=LOGIN)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "Using a pre-loaded profile"
    assert lines[-1] == "Connected to 198.51.100.1 (198.51.100.1)"
    return lines[1].removeprefix("Session path: ")


def test_a_program_that_reads_along(machine: SystemBusSandbox) -> None:
    """What it may act on comes by itself, each line and each question, and in the words of the original."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps apart what was written apart
    command = ["openvpn3", "session-start", "-c", "office"]
    with ours, machine.popen(command, account=ALICE, stdin=subprocess.PIPE, stdout=its.fileno()) as process:
        its.close()
        ours.settimeout(10.0)
        assert process.stdin
        seen = []
        while text := ours.recv(4096).decode():
            seen.append(text)
            if answer := {"Auth User name: ": "ann", "Auth Password: ": "right"}.get(text):
                process.stdin.write(f"{answer}\n")
                process.stdin.flush()
        assert process.wait(10) == 0
    assert re.fullmatch(r"Session path: /net/openvpn/v3/sessions/\w+\n", seen.pop(1))
    questions = ["Auth User name: ", "\n", "Auth Password: ", "\n"]
    assert seen == ["Using a pre-loaded profile\n", *questions, "Connected to 198.51.100.1 (198.51.100.1)\n"]


def spawn(machine: SystemBusSandbox, *arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    command = ["openvpn3", *arguments]
    return machine.popen(command, account=ALICE, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """Output up to the first line with `text` in it."""
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"ended without {text!r}:\n{seen}")


def test_list(machine: SystemBusSandbox) -> None:
    assert openvpn3(machine, "sessions-list").stdout == "No sessions available\n"
    path = start(machine)
    lines = openvpn3(machine, "sessions-list").stdout.splitlines()
    pid = lines[2].rpartition(" ")[2]
    assert re.fullmatch(r"     Created: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d                       PID: \d+", lines[2])
    assert [*lines[:2], *lines[3:]] == [
        "-" * 77,
        f"        Path: {path}",
        "       Owner: alice                                  Device: tun0",
        " Config name: office",
        "Connected to: udp:198.51.100.1:1194",
        "      Status: Connection, Client connected",
        "-" * 77,
    ]
    listed = json.loads(openvpn3(machine, "sessions-list", "--json").stdout)[path]
    assert (listed["pid"], listed["device"], listed["owner"]) == (int(pid), "tun0", "alice")


def test_single_use_profile_from_a_file(machine: SystemBusSandbox) -> None:
    done = openvpn3(machine, "session-start", "-c", f"{ALICE.home}/office.ovpn", input=LOGIN)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        f" Config name: {ALICE.home}/office.ovpn  (Config not available)" in openvpn3(machine, "sessions-list").stdout
    )
    assert "Configurations found: 2" in openvpn3(machine, "configs-list", "--count").stdout


def test_statistics(machine: SystemBusSandbox) -> None:
    path = start(machine)
    counters = json.loads(openvpn3(machine, "session-stats", "--path", path, "--json").stdout)
    assert counters["BYTES_IN"] > 0
    text = openvpn3(machine, "session-stats", "--interface", "tun0").stdout
    assert re.search(r"^     BYTES_IN\.{12}\.*\d+$", text, re.MULTILINE)
    done = openvpn3(machine, "session-manage", "--config", "office", "--disconnect")
    assert done.stdout.startswith(f"Initiated session shutdown: {path}\n\nConnection statistics:\n     BYTES_IN")
    assert openvpn3(machine, "session-stats", "--config", "office").returncode == 8


def test_log_level(machine: SystemBusSandbox) -> None:
    start(machine)
    show = openvpn3(machine, "session-manage", "-c", "office", "--log-level")
    assert re.fullmatch(r"Current log level: \d\n", show.stdout)
    change = openvpn3(machine, "session-manage", "-c", "office", "--log-level=2")
    assert change.stdout == show.stdout + "New log level: 2\n"
    for level, code in (("7", 8), ("-1", 9), ("99999999999", 9)):
        done = openvpn3(machine, "session-manage", "-c", "office", f"--log-level={level}")
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_pause_and_resume_twice(machine: SystemBusSandbox) -> None:
    """The exit codes are the original's; its --resume ends well also if there is nothing to resume."""
    path = start(machine)
    codes = [openvpn3(machine, "session-manage", "-c", "office", "--pause").returncode for _ in range(2)]
    assert codes == [0, 8]
    for _ in range(2):
        done = openvpn3(machine, "session-manage", "-c", "office", "--resume", "--timeout", "20")
        assert done.returncode == 0, done.stderr
    assert done.stdout == f"Session is not paused: {path}\n"
    assert openvpn3(machine, "session-manage", "--path", "/net/openvpn/v3/sessions/none", "--pause").returncode == 8


def test_offload_to_the_kernel_is_done_without(machine: SystemBusSandbox) -> None:
    done = openvpn3(machine, "session-start", "-c", "office", "--dco", "true", input=LOGIN)
    assert done.returncode == 0
    assert "not available" in done.stderr


def test_cleanup_leaves_the_living(machine: SystemBusSandbox) -> None:
    path = start(machine)
    done = openvpn3(machine, "session-manage", "--cleanup")
    assert done.stdout == f"Keeping office - {path}\n0 sessions removed\n"


def test_wrong_password(machine: SystemBusSandbox) -> None:
    done = openvpn3(machine, "session-start", "-c", "office", input="ann\nwrong\n")
    assert done.returncode == 8
    assert "Client authentication failed" in done.stderr
    assert openvpn3(machine, "sessions-list").stdout == "No sessions available\n"


def test_stored_login(machine: SystemBusSandbox) -> None:
    machine.run(["install", "-d", "-m", "700", f"{ALICE.home}/login"], account=ALICE)
    for name, text in zip(("username", "password"), LOGIN.split(), strict=True):
        machine.write(f"{ALICE.home}/login/{name}", f"{text}\n", account=ALICE)
    started = openvpn3(machine, "session-start", "-c", "office", "--credentials", f"{ALICE.home}/login")
    assert (started.returncode, started.stderr) == (0, "")
    assert "Auth" not in started.stdout
    openvpn3(machine, "session-manage", "-c", "office", "--disconnect")
    environment = ["env", "OPENVPN3_USERNAME=ann", "OPENVPN3_PASSWORD=right"]
    started = machine.run([*environment, "openvpn3", "session-start", "-c", "office"], account=ALICE, check=False)
    assert (started.returncode, started.stderr) == (0, "")


def test_secrets_are_hidden_from_other_programs_of_the_user(machine: SystemBusSandbox) -> None:
    command = ["env", "OPENVPN3_PASSWORD=hidden", "openvpn3", "session-start", "-c", "nowhere"]
    with machine.popen(command, account=ALICE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        read_until(process, "Session path: ")
        for what in ("environ", "maps"):
            done = machine.run(["cat", f"/proc/{process.pid}/{what}"], account=ALICE, check=False)
            assert (done.returncode, done.stdout) == (1, "")
        limits = machine.run(["cat", f"/proc/{process.pid}/limits"]).stdout
        assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
        process.terminate()
        assert process.wait(10) == 8


def test_no_answer(machine: SystemBusSandbox) -> None:
    done = openvpn3(machine, "session-start", "-c", "office", input="ann\n")
    assert done.returncode == 8
    assert "Auth Password: standard input ended" in done.stderr
    assert openvpn3(machine, "sessions-list").stdout == "No sessions available\n"


def test_timeout(machine: SystemBusSandbox) -> None:
    done = openvpn3(machine, "session-start", "-c", "nowhere", "--timeout", "1")
    assert done.returncode == 8
    assert "not connected after 1 seconds: Connection, Client connecting" in done.stderr
    assert openvpn3(machine, "sessions-list").stdout == "No sessions available\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(machine: SystemBusSandbox, number: signal.Signals) -> None:
    with spawn(machine, "session-start", "-c", "nowhere") as process:
        read_until(process, "Session path: ")
        process.send_signal(number)
        assert process.wait(10) == 8
    assert openvpn3(machine, "sessions-list").stdout == "No sessions available\n"


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("<&-", 8, "standard input ended without an answer"),
        ("</dev/null >&-", 8, "standard input ended without an answer"),
        (">/dev/full", 9, "can't write the output: No space left on device"),
        ("2>&1 >&- </dev/null | true", 0, ""),
        ("| true", 0, ""),
    ],
)
def test_without_one_to_ask_or_to_tell(machine: SystemBusSandbox, redirection: str, code: int, said: str) -> None:
    command = f"openvpn3 session-start -c office {redirection}"
    done = machine.run(["sh", "-c", command], account=ALICE, check=False, input="ann\nright\n")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert openvpn3(machine, "sessions-list").stdout == "No sessions available\n"


def test_background_and_log(machine: SystemBusSandbox) -> None:
    with spawn(machine, "log", "--config", "office") as log:
        read_until(log, "Waiting for a session")
        done = openvpn3(machine, "session-start", "-c", "office", "--background", input=LOGIN)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Session is running in the background")
        seen = read_until(log, "[STATUS] Connection, Client connected")
        assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  Client INFO: ", seen, re.MULTILINE)
        openvpn3(machine, "session-manage", "-c", "office", "--disconnect")
        read_until(log, "The session has ended")
        assert log.wait(10) == 0


def test_log_ends_when_told(machine: SystemBusSandbox) -> None:
    """What is said from the start of following on is seen."""
    path = start(machine)
    with spawn(machine, "log", "--session-path", path, "--log-level", "6") as log:
        read_until(log, f"Attached to session {path}")
        openvpn3(machine, "session-manage", "--path", path, "--restart", "--timeout", "10")
        read_until(log, "Client connected")
        log.send_signal(signal.SIGTERM)
        assert log.wait(10) == 0


def test_answers_are_given_later(machine: SystemBusSandbox) -> None:
    assert "No sessions wait" in openvpn3(machine, "session-auth").stdout
    with spawn(machine, "session-start", "-c", "office", stdin=subprocess.PIPE) as process:
        read_until(process, "Session path: ")
        text = openvpn3(machine, "session-auth").stdout
        assert " Auth status: Configuration requires user input\n" in text
        found = re.search(r"^Auth Request: (\d+)$", text, re.MULTILINE)
        assert found
        assert openvpn3(machine, "session-auth", "--auth-req", "1").returncode == 8
        machine.write(f"{ALICE.home}/login.txt", LOGIN, account=ALICE)
        stored = ["--auth-user-pass", f"{ALICE.home}/login.txt"]
        done = openvpn3(machine, "session-auth", "--auth-req", found[1], *stored)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Connected to 198.51.100.1" in done.stdout
        process.kill()


def test_unknown_ones(machine: SystemBusSandbox) -> None:
    for selection in (["-c", "x"], ["-I", "tun9"], ["-o", "not/a path"]):
        done = openvpn3(machine, "session-manage", "--pause", *selection)
        assert (done.returncode, done.stdout) == (8, "")
    done = openvpn3(machine, "session-start", "-c", "no-such-file")
    assert (done.returncode, "no profile and no file" in done.stderr) == (8, True)
    assert openvpn3(machine, "session-start", "-p", "/net/openvpn/v3/configuration/none").returncode == 8

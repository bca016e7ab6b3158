"""What is exported for Prometheus, judged by its own tool and by the sessions' statistics; the dashboard over it."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovpn3.cli.metrics import METRICS, PREFIX, STATISTICS, TIMES
from ovpn3.datapath.stats import MEASURED, OFFLOADS_IN_USE
from ovpn3.datapath.stats import STATISTICS as COUNTED
from tests.support.account import ALICE, BOB, ROOT
from tests.support.bus import PROJECT
from tests.support.machine import Machine
from tests.support.netns import end
from tests.support.packages import fetched
from tests.support.server import OpenVpnServer

DASHBOARD, PAGE = PROJECT / "docs/grafana-dashboard.json", PROJECT / "docs/monitoring.md"
LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = fetched(["prometheus"], tmp_path_factory.mktemp("prometheus")) / "usr/bin/promtool"
    if not program.exists():
        pytest.skip("the distribution's prometheus has no promtool")
    return program


def read(text: str) -> Samples:
    found: Samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, line
            key = match[1].removeprefix(PREFIX), frozenset(LABEL.findall(match[2] or ""))
            assert key not in found
            found[key] = float(match[3])
    return found


def value(samples: Samples, metric: str, **labels: str) -> float:
    (found,) = [v for (name, given), v in samples.items() if name == metric and labels.items() <= dict(given).items()]
    return found


@contextmanager
def served(machine: Machine, *arguments: str) -> Iterator[str]:
    """The address that it says it serves."""
    command = ["openvpn3-admin", "metrics", "--listen", *arguments]
    with machine.sandbox.popen(command, account=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().removeprefix("Serving ").strip()
        finally:
            assert end(process) == 0


@pytest.mark.system
@pytest.mark.interop
def test_values_are_those_of_the_statistics(
    machine: Machine, start_server: Callable[..., OpenVpnServer], promtool: Path
) -> None:
    server = start_server(reneg_sec=3, extra=["duplicate-cn"])
    machine.connect(server.profile(), 'the "office" \\ 1')
    machine.connect(server.profile(), "bobs", BOB)
    machine.pair.client.run(["ping", "-I", "tun0", "-c", "3", "-i", "0.5", "-w", "10", server.TUNNEL_V4])
    with served(machine, "9176") as address:
        assert address == "http://127.0.0.1:9176/metrics"
        for _ in range(20):  # until nothing is counted between two looks at the statistics
            before = stats(machine)
            with machine.pair.client.entered(), urllib.request.urlopen(address) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                text = answer.read().decode()
            if stats(machine) == before and before.get("N_RENEGOTIATE"):
                break
        else:
            pytest.fail("the session never rests")
        with machine.pair.client.entered():
            for path, method, status in (("/", "GET", 404), ("/metrics", "POST", 405)):
                with pytest.raises(urllib.error.HTTPError) as error:
                    urllib.request.urlopen(urllib.request.Request(address.replace("/metrics", path), method=method))
                assert error.value.code == status
    samples = read(text)
    office = {"config": r"the \"office\" \\ 1", "owner": "alice"}
    assert set(before) - set(STATISTICS) - set(TIMES) == set()
    for name, (metric, label) in STATISTICS.items():
        assert value(samples, metric, **office, **label) == before.get(name, 0), name
    for name, (metric, unit) in TIMES.items():
        assert value(samples, metric, **office) == pytest.approx(before[name] * unit), name
    assert 0 < value(samples, "session_handshake_seconds", **office) < 5
    assert 0 < value(samples, "session_round_trip_seconds", **office) < 1
    assert value(samples, "session_renegotiations_total", **office) > 0
    assert value(samples, "session_connected", config="bobs", owner="bob") == 1
    assert value(samples, "session_info", server=machine.pair.SERVER_V4, protocol="udp", device="tun0") == 1
    assert value(samples, "sessions", state="connected") == 2
    for service in ("sessionmgr", "netcfg", "backendstart"):
        assert value(samples, "service_memory_bytes", service=service) > 1e6
    assert value(samples, "session_memory_bytes", config="bobs") > 1e6
    subprocess.run([promtool, "check", "metrics"], input=text, text=True, check=True, capture_output=True)
    assert {name for name, _ in samples} == set(METRICS)

    machine.sandbox.run(["openvpn3-admin", "metrics", "--textfile", "/run/openvpn.prom"])
    assert machine.sandbox.run(["stat", "-c", "%a", "/run/openvpn.prom"]).stdout == "644\n"
    written = read(machine.sandbox.run(["cat", "/run/openvpn.prom"]).stdout)
    assert {name for name, _ in written} == set(METRICS)
    refused = machine.sandbox.run(["openvpn3-admin", "metrics"], account=ALICE, check=False)
    assert (refused.returncode, refused.stdout) == (8, "")


def stats(machine: Machine) -> dict[str, int]:
    counters: dict[str, int] = json.loads(machine.openvpn3("session-stats", "--interface", "tun0", "--json").stdout)
    return counters


@pytest.mark.system
def test_nothing_is_started_to_be_looked_at(machine: Machine) -> None:
    samples = read(machine.sandbox.run(["openvpn3-admin", "metrics"]).stdout)
    assert value(samples, "service_up", service="sessionmgr") == 0
    assert value(samples, "sessions", state="connected") == 0
    again = read(machine.sandbox.run(["openvpn3-admin", "metrics"]).stdout)
    assert value(again, "service_up", service="sessionmgr") == 0
    taken = machine.sandbox.run(["openvpn3-admin", "metrics", "--listen", "192.0.2.9:9176"], check=False)
    assert (taken.returncode, "can't listen on 192.0.2.9" in taken.stderr) == (8, True)
    assert machine.sandbox.run(["openvpn3-admin", "metrics", "--listen", "70000"], check=False).returncode == 9


def test_every_statistic_has_a_metric() -> None:
    assert set(COUNTED) | set(OFFLOADS_IN_USE) <= set(STATISTICS)
    assert set(MEASURED) == set(TIMES)
    assert {metric for metric, _ in (*STATISTICS.values(), *TIMES.values())} <= set(METRICS)


def test_the_dashboard_shows_what_is_exported(promtool: Path, tmp_path: Path) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    shown = {name for target in targets for name in re.findall(rf"{PREFIX}(\w+)", target["expr"])}
    assert shown == set(METRICS)
    rules = []
    for number, target in enumerate(targets):
        expression = target["expr"].replace("$__rate_interval", "5m")
        rules.append({"record": f"panel:{number}", "expr": expression})
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), target["expr"]
    (alarms,) = re.findall(r"Worth an alarm:\n\n```promql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for number, expression in enumerate(alarms.splitlines()):
        rules.append({"alert": f"alarm{number}", "expr": expression})
        assert set(re.findall(rf"{PREFIX}(\w+)", expression)) <= set(METRICS)
    file = tmp_path / "rules.json"  # which is YAML too
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    subprocess.run([promtool, "check", "rules", file], check=True, capture_output=True)

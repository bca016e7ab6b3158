"""netcfg.json over the command line."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ovpn3_services.netcfg.settings import FILE_NAME, RedirectMethod, apply_file, config_file, is_table, parse


def test_defaults() -> None:
    options = parse([])
    assert (options.log_level, options.idle_exit, options.set_somark) == (4, 5, -1)
    assert options.redirect_method is RedirectMethod.HOST_ROUTE
    assert config_file(options) == ""
    assert apply_file(options) == []


def test_no_file(tmp_path: Path) -> None:
    options = parse(["--state-dir", str(tmp_path)])
    assert config_file(options) == str(tmp_path / FILE_NAME)
    assert apply_file(options) == []


def test_the_file_wins(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(
        "// written by a tool\n"
        "{\n"
        "  // numbers are texts, or numbers\n"
        '  "log_level": "5", "idle_exit": 0, "log_file": "/var/log//x.log",\n'
        '  "set_somark": "0x10", "redirect_method": "none", "unknown": 1\n'
        "}\n"
    )
    options = parse(["--state-dir", str(tmp_path), "--log-level", "1", "--set-somark", "3"])
    assert apply_file(options) == []
    assert (options.log_level, options.idle_exit, options.log_file) == (5, 0, "/var/log//x.log")
    assert (options.set_somark, options.redirect_method) == (16, RedirectMethod.NONE)


@pytest.mark.parametrize("value", [True, "true", "1", "no"])
def test_the_file_s_resolver_replaces_the_other(tmp_path: Path, value: object) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"systemd_resolved": value}))
    options = parse(["--state-dir", str(tmp_path), "--resolv-conf", "/etc/resolv.conf"])
    assert apply_file(options) == []
    assert (options.systemd_resolved, options.resolv_conf) == (True, "")


def test_a_resolver_switched_off_stays_off(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"systemd_resolved": false}')
    options = parse(["--state-dir", str(tmp_path), "--resolv-conf", "/etc/resolv.conf"])
    assert apply_file(options) == []
    assert (options.systemd_resolved, options.resolv_conf) == (False, "/etc/resolv.conf")


@pytest.mark.parametrize(
    "wrong",
    ['"log_level": 9', '"idle_exit": "soon"', '"redirect_method": "magic"', '"set_somark": null', '"idle_exit": -1'],
)
def test_a_wrong_value_is_left_out(tmp_path: Path, wrong: str) -> None:
    (tmp_path / FILE_NAME).write_text(f'{{{wrong}, "log_file": "x"}}')
    options = parse(["--state-dir", str(tmp_path)])
    before = {**vars(options), "log_file": "x"}
    (complaint,) = apply_file(options)
    assert wrong.split('"')[1] in complaint
    assert vars(options) == before


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers(), st.lists).map(json.dumps))
@example("[" * 100_000)
@example('{"idle_exit": 1e999}')
def test_any_file_does_no_harm(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / FILE_NAME).write_text(text, encoding="utf-8", errors="surrogatepass")
    options = parse(["--state-dir", str(folder)])
    before = dict(vars(options))
    apply_file(options)
    assert vars(options) == before


ALLOWANCES = '{"netns_allowed": "vpn, dmz", "route_tables_allowed": "7,100-199", "marks_allowed": "0x20-0x2F"}'


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the file has to be root's")
def test_what_tunnels_may_have_is_root_s_to_say(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text(ALLOWANCES)
    file.chmod(0o644)
    options = parse(["--state-dir", str(tmp_path)])
    assert apply_file(options) == []
    assert options.netns_allowed == {"vpn", "dmz"}
    assert options.route_tables_allowed == (range(7, 8), range(100, 200))
    assert options.marks_allowed == (range(0x20, 0x30),)
    for spoil in (lambda: file.chmod(0o664), lambda: file.chmod(0o646), lambda: os.chown(file, 1, 0)):
        file.chmod(0o644)
        spoil()
        options = parse(["--state-dir", str(tmp_path)])
        assert {complaint.split()[1] for complaint in apply_file(options)} == set(json.loads(ALLOWANCES))
        assert not any((options.netns_allowed, options.route_tables_allowed, options.marks_allowed))


@pytest.mark.parametrize(("number", "is_one"), [(0, False), (1, True), (252, True), (2**32 - 1, True), (2**32, False)])
def test_tables(number: int, is_one: bool) -> None:
    assert is_table(number) is is_one
    assert not any(map(is_table, (253, 254, 255)))


@pytest.mark.parametrize(
    "wrong", [["--netns-allowed", "a,../b"], ["--route-tables-allowed", "1-x"], ["--marks-allowed", "0x"]]
)
def test_wrong_arguments(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(wrong)

"""Installation below a directory: complete, repeatable, and undone to the last file."""

import json
import os
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import CommandError
from ovpn3.cli.environment import BIN, check_account_name, check_usable_by
from ovpn3.cli.install import MANIFEST, STATE, Installation, make_state_directories
from ovpn3.constants import BACKENDS_NAME, CONFIG_NAME, LOG_NAME, NETCFG_NAME, SESSIONS_NAME

ACTIVATION = "usr/share/dbus-1/system-services"
POLICY = "usr/share/dbus-1/system.d"
RULES = "usr/lib/udev/rules.d/85-openvpn3.rules"
NETWORK = "usr/lib/systemd/network/00-openvpn3.network"
UNIT = "usr/lib/systemd/system/openvpn3-session@.service"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root installs")


def tree(root: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.read_text() if path.is_file() else "")
        for path in root.rglob("*")
    }


def install(root: Path, user: str = "openvpn") -> Installation:
    installation = Installation(root, user)
    for step in list(installation.install_steps()):
        step.do()
    return installation


def test_files(tmp_path: Path) -> None:
    install(tmp_path, "vpn")
    for name in (BACKENDS_NAME, CONFIG_NAME, LOG_NAME, NETCFG_NAME, SESSIONS_NAME):
        text = (tmp_path / ACTIVATION / f"{name}.service").read_text()
        assert f"Name={name}\n" in text
        assert str(BIN) in text
    assert "User=vpn" in (tmp_path / ACTIVATION / f"{LOG_NAME}.service").read_text()
    assert f"/{STATE}/configs" in (tmp_path / ACTIVATION / f"{CONFIG_NAME}.service").read_text()
    assert f"ExecStart={BIN}/openvpn3-systemd --start %i\n" in (tmp_path / UNIT).read_text()
    assert f'"{BIN}/openvpn3" shell-completion' in (tmp_path / "usr/share/zsh/vendor-completions/_openvpn3").read_text()
    assert ".Nd start a session" in (tmp_path / "usr/share/man/man1/openvpn3-session-start.1").read_text()
    assert "NM_UNMANAGED" in (tmp_path / RULES).read_text()
    assert "Unmanaged=yes" in (tmp_path / NETWORK).read_text()
    assert 'user="vpn"' in (tmp_path / POLICY / f"{NETCFG_NAME}.conf").read_text()
    assert not [
        path for path, (_, text) in tree(tmp_path).items() if re.search("@[A-Z]+@", text) or path.endswith(".in")
    ]
    for directory in (STATE, f"{STATE}/configs"):
        assert (tmp_path / directory).stat().st_mode & 0o7777 == 0o750


def test_every_program_is_completed(tmp_path: Path) -> None:
    installed = {entry.name for entry in entry_points(group="console_scripts") if entry.value.startswith("ovpn3.cli")}
    install(tmp_path)
    share = tmp_path / "usr/share"
    assert {path.name for path in (share / "bash-completion/completions").iterdir()} == installed
    assert {path.stem for path in (share / "fish/vendor_completions.d").iterdir()} == installed
    for folder in ("vendor-completions", "site-functions"):
        assert set((share / "zsh" / folder / "_openvpn3").read_text().splitlines()[0].split()[1:]) == installed


def test_a_second_time_there_is_nothing_to_do(tmp_path: Path) -> None:
    installation = install(tmp_path)
    before = tree(tmp_path)
    assert not list(installation.install_steps())
    assert not list(Installation(tmp_path, "openvpn").install_steps())
    assert tree(tmp_path) == before


def test_what_was_spoilt_is_put_right(tmp_path: Path) -> None:
    installation = install(tmp_path)
    before = tree(tmp_path)
    (tmp_path / POLICY / f"{LOG_NAME}.conf").write_text("<busconfig/>")
    (tmp_path / ACTIVATION / f"{LOG_NAME}.service").unlink()
    (tmp_path / STATE).chmod(0o777)
    for step in list(installation.install_steps()):
        step.do()
    assert tree(tmp_path) == before


def test_no_files_for_what_is_not_there(tmp_path: Path) -> None:
    installation = Installation(tmp_path, "openvpn")
    installation.live = True
    assert not {RULES, NETWORK, UNIT} & set(installation.files())
    (tmp_path / RULES).parent.mkdir(parents=True)
    assert {RULES, NETWORK, UNIT} & set(installation.files()) == {RULES}


def test_uninstall_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / POLICY).mkdir(parents=True)
    (tmp_path / POLICY / "other.conf").write_text("theirs")
    before = tree(tmp_path)
    for step in list(install(tmp_path).uninstall_steps()):
        step.do()
    assert tree(tmp_path) == before
    with pytest.raises(CommandError, match="nothing is installed"):
        list(Installation(tmp_path, "openvpn").uninstall_steps())


def test_uninstall_keeps_profiles(tmp_path: Path) -> None:
    installation = install(tmp_path)
    (tmp_path / STATE / "configs" / "x.json").write_text("{}")
    for step in list(installation.uninstall_steps()):
        step.do()
    assert [path for path in tree(tmp_path) if path.endswith(".json")] == [f"{STATE}/configs/x.json"]


def test_an_older_installation_is_replaced(tmp_path: Path) -> None:
    installation = install(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["files"].append("usr/share/old.conf")
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / "usr/share/old.conf").write_text("")
    for step in list(installation.install_steps()):
        step.do()
    assert not (tmp_path / "usr/share/old.conf").exists()
    assert not list(installation.install_steps())


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / POLICY).mkdir(parents=True)
    (tmp_path / POLICY / f"{LOG_NAME}.conf").write_text("the original's")
    with pytest.raises(CommandError, match="is not ours"):
        list(Installation(tmp_path, "openvpn").install_steps())


def test_symbolic_link_for_the_state_directory(tmp_path: Path) -> None:
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / STATE).symlink_to("/etc")
    with pytest.raises(CommandError, match="symbolic link"):
        install(tmp_path)


@needs_root
def test_state_of_another_account_is_taken_over(tmp_path: Path) -> None:
    """Debian's package of the original has an account _openvpn."""
    other, ours, group = 29101, 29102, 29103
    state = tmp_path / STATE
    profile, settings, elsewhere = state / "configs/a.json", state / "netcfg.json", tmp_path / "elsewhere"
    (state / "configs").mkdir(parents=True)
    for path in (profile, settings, elsewhere):
        path.write_text("{}")
    (state / "configs/hard.json").hardlink_to(elsewhere)
    (state / "configs/soft.json").symlink_to(elsewhere)
    for path in (state, state / "configs", profile, elsewhere):
        os.chown(path, other, other)
    make_state_directories(state, (ours, group))
    assert [(p.stat().st_uid, p.stat().st_gid) for p in (state, state / "configs", profile)] == [(ours, group)] * 3
    assert (settings.stat().st_uid, elsewhere.stat().st_uid) == (0, other)


@pytest.mark.parametrize("damage", ["", "[]", '{"evil": 1}', "nonsense"])
def test_damaged_manifest(tmp_path: Path, damage: str) -> None:
    installation = install(tmp_path)
    (tmp_path / MANIFEST).write_text(damage)
    with pytest.raises(CommandError):
        list(installation.uninstall_steps())


@needs_root
def test_closed_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(CommandError, match="'make install'"):
        check_usable_by("nobody")


@needs_root
def test_dry_run_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ADMIN.main(["install", "--root", str(tmp_path), "--dry-run"]) == 0
    assert f"would write {tmp_path / MANIFEST}" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["root", "", "a b", '"/><allow own="*', "-x", "a\n"])
def test_account_names(name: str) -> None:
    with pytest.raises(CommandError):
        check_account_name(name)


def test_the_python_module_is_linked_into_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, target = "usr/lib/python3/dist-packages/openvpn3", "/opt/openvpn3/lib/openvpn3"
    monkeypatch.setattr("ovpn3.cli.install.python_module", lambda: {path: target})
    before = tree(tmp_path)
    installation = install(tmp_path)
    assert str((tmp_path / path).readlink()) == target
    assert not list(installation.install_steps())
    (tmp_path / path).unlink()
    (tmp_path / path).symlink_to("/opt/elsewhere")
    install(tmp_path)
    assert str((tmp_path / path).readlink()) == target
    for step in list(installation.uninstall_steps()):
        step.do()
    assert set(tree(tmp_path)) - set(before) <= {"var", "var/lib"}
    (tmp_path / path).mkdir(parents=True)
    with pytest.raises(CommandError, match="not ours"):
        list(installation.install_steps())

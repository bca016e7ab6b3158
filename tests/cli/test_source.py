"""Profiles from files: what they name is put in, and errors point into the file as it is."""

from pathlib import Path

import pytest

from ovpn3.cli.command import CommandError
from ovpn3.cli.source import read_profile
from ovpn3.errors import ProfileError
from tests.support.pki import Pki

LINES = ["client", "dev tun", "remote 192.0.2.1", "ca ca.crt", "auth-user-pass", "persist-tun"]


@pytest.fixture
def profile(tmp_path: Path, pki: Pki) -> Path:
    (tmp_path / "ca.crt").write_text((pki.directory / "ca.crt").read_text())
    file = tmp_path / "a.ovpn"
    file.write_text("\n".join(LINES) + "\n")
    return file


def test_files_are_found_next_to_the_profile(
    profile: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    source = read_profile(str(profile))
    assert "<ca>\n-----BEGIN CERTIFICATE-----\n" in source.text
    assert (source.persist_tun, source.missing) == (True, [])


def test_relative_name(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(profile.parent)
    assert read_profile("a.ovpn") == read_profile(str(profile))


def test_what_is_missing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("client\ndev tun\n")
    source = read_profile(str(tmp_path / "x"))
    assert (len(source.missing), source.persist_tun) == (2, False)


def test_line_is_that_of_the_file(profile: Path) -> None:
    profile.write_text("\n".join([*LINES, "key-direction 7"]))
    with pytest.raises(ProfileError) as caught:
        read_profile(str(profile))
    assert (caught.value.line, caught.value.option, caught.value.source) == (7, "key-direction", str(profile))


def test_no_line_rather_than_a_wrong_one(profile: Path) -> None:
    profile.write_text("\n".join([*LINES, "key-direction 1", "key-direction 7"]))
    with pytest.raises(ProfileError) as caught:
        read_profile(str(profile))
    assert caught.value.line == 0


def test_missing_file(profile: Path) -> None:
    (profile.parent / "ca.crt").unlink()
    with pytest.raises(ProfileError, match=r"line 4: ca: can't read ca.crt"):
        read_profile(str(profile))


@pytest.mark.parametrize("name", ["nowhere", ""])
def test_unreadable(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="can't read"):
        read_profile(str(tmp_path / name))


def test_endless_file() -> None:
    with pytest.raises(ProfileError, match="larger than"):
        read_profile("/dev/zero")

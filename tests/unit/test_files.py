"""Files that are replaced as a whole or not at all."""

import os
from pathlib import Path

import pytest

from ovpn3.files import put_aside, write_atomically


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("one", "two, longer", "3é"):
        write_atomically(path, text)
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o600
        assert os.listdir(tmp_path) == ["file"]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    monkeypatch.undo()
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    temporary = tmp_path / ".file.new"
    for plant in (temporary.symlink_to, temporary.hardlink_to):
        plant(victim)
        write_atomically(tmp_path / "file", "x")
        assert victim.read_text() == "precious"
        assert sorted(os.listdir(tmp_path)) == ["file", "victim"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "x", mode=0o644, owner=(1, 2))
    status = path.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o644, 1, 2)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "file", "x")


def test_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("x")
    assert put_aside(path) == tmp_path / "a.json.damaged"
    assert os.listdir(tmp_path) == ["a.json.damaged"]

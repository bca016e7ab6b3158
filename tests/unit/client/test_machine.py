"""The id of a machine: where it comes from, and that it stays the same."""

import hashlib
from pathlib import Path

import pytest

from ovpn3.client.machine import Source, hardware_id

ID = "0123456789abcdef0123456789abcdef"
HASHED = hashlib.sha256(f"OpenVPN 3{ID}Linux".encode()).hexdigest()


def test_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "system").write_text(f"{ID}\n")
    assert hardware_id(tmp_path / "system", tmp_path / "local") == (HASHED, Source.SYSTEM)
    assert not (tmp_path / "local").exists()


@pytest.mark.parametrize("found", [None, "", "uninitialized\n", "\xff"])
def test_of_the_installation(tmp_path: Path, found: str | None) -> None:
    if found is not None:
        (tmp_path / "system").write_text(found, encoding="latin-1")
    first = hardware_id(tmp_path / "system", tmp_path / "local")
    assert first == hardware_id(tmp_path / "system", tmp_path / "local")
    assert first[1] is Source.LOCAL
    (tmp_path / "local").write_text(ID)
    assert hardware_id(tmp_path / "system", tmp_path / "local") == (HASHED, Source.LOCAL)


def test_of_none(tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "where"
    assert hardware_id(nowhere, nowhere)[1] is Source.RANDOM
    assert hardware_id(nowhere, nowhere) != hardware_id(nowhere, nowhere)

"""Settings files as the original and people write them."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import ConfigurationRefused
from ovpn3.settingsfile import dump, flag, read

ORIGINAL = """{
    // Level of logging
    "log_level" : "4",

    // DNS resolver
\t"systemd_resolved" : true, "url": "http://x//y"
}
"""


def test_read(tmp_path: Path) -> None:
    file = tmp_path / "netcfg.json"
    assert read(file) is None
    for text, settings in (
        ("", {}),
        ("\n// nothing\n", {}),
        (ORIGINAL, {"log_level": "4", "systemd_resolved": True, "url": "http://x//y"}),
    ):
        file.write_text(text)
        assert read(file) == settings


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff", b"[" * 100_000, b'{"a": 1} // here'])
def test_what_can_not_be_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "netcfg.json"
    file.write_bytes(content)
    with pytest.raises(ConfigurationRefused, match=r"netcfg\.json can't be read"):
        read(file)
    with pytest.raises(ConfigurationRefused, match="directory"):
        read(tmp_path)


def test_dump() -> None:
    text = dump({"log_level": 4, "timestamp": True, "later": [1]})
    assert re.fullmatch(r'{\n\t// .*\n\t"log_level": "4",\n\t// .*\n\t"timestamp": true,\n\t"later": \[1\]\n}\n', text)
    assert json.loads(dump({})) == {}


@given(st.dictionaries(st.text(), st.booleans() | st.text() | st.none() | st.lists(st.integers())))
def test_what_is_dumped_is_read_again(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, object]) -> None:
    file = tmp_path_factory.mktemp("state") / "file"
    file.write_text(dump(settings), encoding="utf-8")
    assert read(file) == settings


@pytest.mark.parametrize(
    ("value", "is_on"), [(True, True), ("yes", True), ("", True), (False, False), (1, False), (None, False)]
)
def test_flags(value: object, is_on: bool) -> None:
    assert flag(value) is is_on

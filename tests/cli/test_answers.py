"""Stored credentials: where they are found, which files are refused, and how often each is given."""

import os
from pathlib import Path

import pytest

from ovpn3.cli.answers import OPTIONS, Answers, NoAnswer, stored
from ovpn3.cli.command import Command, CommandError
from ovpn3.cli.totp import Totp
from ovpn3.proxies.attention import Slot
from ovpn3.secret import Secret

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def slot(name: str) -> Slot:
    return Slot(1, 1, 0, name, name.title(), True)


def found(*arguments: str) -> dict[str, str]:
    async def run(_: object) -> int:
        return 0

    return {name: value.text() for name, value in stored(Command(run, OPTIONS).parse(arguments)).items()}


def write(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_places_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit, mine = tmp_path / "unit", tmp_path / "mine"
    unit.mkdir()
    mine.mkdir()
    for name in ("USERNAME", "PASSWORD", "TOTP", "PK_PASSPHRASE"):
        monkeypatch.setenv(f"OPENVPN3_{name}", "environment")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(unit))
    for name in ("username", "password", "totp"):
        write(unit / name, "unit\n", 0o440)  # as systemd's rights look with an access list
    for name in ("username", "password"):
        write(mine / name, "mine\r\n")
    assert found("--auth-user-pass", write(tmp_path / "file", "file\n"), "--credentials", str(mine)) == {
        "username": "file",
        "password": "mine",
        "totp": "unit",
        "pk_passphrase": "environment",
    }
    assert not [name for name in os.environ if name.startswith("OPENVPN3_")]


def test_blanks_are_part_of_a_password(tmp_path: Path) -> None:
    write(tmp_path / "password", " a b \n")
    assert found("--credentials", str(tmp_path)) == {"password": " a b "}


@pytest.mark.parametrize(
    ("mode", "problem"),
    [(0o644, "mode 0644: others may read or change this secret; chmod 600"), (0o620, "mode 0620")],
)
def test_a_file_that_others_can_read(tmp_path: Path, mode: int, problem: str) -> None:
    file = write(tmp_path / "password", "secret", mode)
    for arguments in (("--credentials", str(tmp_path)), ("--auth-user-pass", file)):
        with pytest.raises(CommandError, match=problem) as refused:
            found(*arguments)
        assert "secret" not in str(refused.value).replace("this secret", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user(tmp_path: Path) -> None:
    write(tmp_path / "password", "secret")
    os.chown(tmp_path / "password", 1234, 1234)
    with pytest.raises(CommandError, match="uid 1234"):
        found("--credentials", str(tmp_path))


@pytest.mark.parametrize("content", [b"\xff", b"x" * 5000])
def test_no_credential(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    (tmp_path / "password").chmod(0o600)
    with pytest.raises(CommandError, match=r"not a text file|longer than"):
        found("--credentials", str(tmp_path))
    with pytest.raises(CommandError, match="not a directory"):
        found("--credentials", str(tmp_path / "password"))


async def test_an_answer_is_given_once_until_connected() -> None:
    answers = Answers({"password": Secret("right")})
    assert await answers(slot("password")) == "right"
    with pytest.raises(NoAnswer, match="does not take the stored password"):
        await answers(slot("password"))
    answers.renew()
    assert await answers(slot("password")) == "right"
    with pytest.raises(NoAnswer, match="asks for username"):
        await answers(slot("username"))


async def test_a_person_is_asked_for_the_rest() -> None:
    async def person(slot: Slot) -> str:
        return f"typed {slot.name}"

    answers = Answers({"password": Secret("right")}, person)
    assert [await answers(slot(n)) for n in ("username", "password", "password")] == [
        *("typed username", "right", "typed password")
    ]


async def test_no_code_twice() -> None:
    now, slept = 95.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    answers = Answers({"totp": Secret(SECRET)}, clock=lambda: now, sleep=sleep)
    totp = Totp.parse(SECRET)
    assert await answers(slot("static_challenge")) == totp.code(3)
    assert not slept
    answers.renew()
    assert await answers(slot("dynamic_challenge")) == totp.code(4)
    assert slept == [pytest.approx(25.01)]
    now = 50.0  # a clock that is set back gives no old codes
    assert await answers(slot("auth_pending")) == totp.code(5)


def test_a_bad_secret_is_not_shown() -> None:
    with pytest.raises(CommandError, match="TOTP secret can't be used") as refused:
        Answers({"totp": Secret("hunter2!")})
    assert "hunter" not in str(refused.value)

"""Profile text as others get it."""

from pathlib import Path

import pytest

from ovpn3.profile import Directive, build, parse, to_text
from ovpn3.profile.dump import render

DATA = Path(__file__).parents[2] / "data" / "profiles"


def test_options_blocks_and_quotes() -> None:
    text = 'dev tun\nverify-x509-name "a \\"b\\" #c" name\n<ca>\nA # b\n</ca>\nx ""\n'
    assert to_text(parse(text)) == text


def test_access_server_comments_become_options_or_vanish() -> None:
    text = (
        "# OVPN_ACCESS_SERVER_USERNAME=al ice\n# OVPN_ACCESS_SERVER_AUTOLOGIN=1\n# OVPN_ACCESS_SERVER_PROFILE=p/x\n"
        "# OVPN_ACCESS_SERVER_FRIENDLY_NAME=F\n# OVPN_ACCESS_SERVER_NO_WEB=1\n# OVPN_ACCESS_SERVER_WSHOST=a:1\n"
        "# OVPN_ACCESS_SERVER_HOST_LIST_START\n# a\n# OVPN_ACCESS_SERVER_HOST_LIST_STOP\n"
    )
    assert to_text(parse(text)) == (
        'setenv opt USERNAME "al ice"\nsetenv opt AUTOLOGIN 1\nsetenv opt PROFILE p/x\nsetenv opt FRIENDLY_NAME F\n'
    )


@pytest.mark.parametrize("name", ["full.ovpn", "access-server.ovpn"])
def test_written_profile_means_the_same(name: str) -> None:
    directives = parse((DATA / name).read_text())
    again = parse(to_text(directives))
    before, after = build(directives), build(again)
    for field in ("remotes", "setenv", "locked_username", "friendly_name", "autologin", "dns", "verify_x509_name"):
        assert getattr(before, field) == getattr(after, field)
    assert parse(to_text(again)) == again


@pytest.mark.parametrize(
    "directive",
    [
        Directive("dev", ("tun",)),
        Directive("x", ("", "\\", '"', "'", "#;", " ")),
        Directive("ca", block="\n\n"),
        Directive("KEY", (" = x",), meta=True),
        Directive("HOST_LIST", block="a\n\n# b\n", meta=True),
    ],
)
def test_rendered_directive_reads_back(directive: Directive) -> None:
    assert parse(render(directive)) == (directive,)

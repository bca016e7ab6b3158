"""Single pushed options."""

import pytest

from ovpn3.errors import ProfileError
from ovpn3.profile import Directive, parse_line


@pytest.mark.parametrize(
    ("text", "directive"),
    [
        ("route 10.0.0.0 255.0.0.0", Directive("route", ("10.0.0.0", "255.0.0.0"))),
        (" dns search-domains a.example", Directive("dns", ("search-domains", "a.example"))),
        ('echo "two words"', Directive("echo", ("two words",))),
        ("auth-token SESS#1;x", Directive("auth-token", ("SESS#1;x",))),
        ("route 10.0.0.0 255.0.0.0 # office", Directive("route", ("10.0.0.0", "255.0.0.0"))),
        ("explicit-exit-notify", Directive("explicit-exit-notify")),
    ],
)
def test_options(text: str, directive: Directive) -> None:
    assert parse_line(text) == directive


@pytest.mark.parametrize("text", ["", "  ", "# x", "route\n10.0.0.0", "echo \x1b[2J", "<ca>", "-x", "\x00", "\ud800"])
def test_refused(text: str) -> None:
    with pytest.raises(ProfileError):
        parse_line(text)


def test_error_and_repr_keep_a_token_to_themselves() -> None:
    assert "hunter2" not in repr(parse_line("auth-token hunter2"))
    with pytest.raises(ProfileError) as refusal:
        parse_line("auth-token hunter2\x07")
    assert "hunter2" not in str(refusal.value)


def test_long_option_is_split_in_linear_time() -> None:
    assert parse_line("echo " + "x" * 700_000).args == ("x" * 700_000,)

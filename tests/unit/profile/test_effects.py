"""Every option that is used has a test, marked with its name, that shows what it does."""

import ast
from collections.abc import Iterator
from pathlib import Path

from ovpn3.profile.options import Status, table

TESTS = Path(__file__).parents[2]
WITHOUT_EFFECT = {
    "allow-password-save": "for front-ends that can save passwords",
    "become-primary": "new keys are used when they are ready",
    "remote-cache-lifetime": "names are resolved for every attempt",
}


def marked() -> Iterator[str]:
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="option", value=ast.Attribute(attr="mark")), args=arguments):
                    yield from (ast.literal_eval(argument) for argument in arguments)


def test_each_option_that_is_used_is_shown_in_a_test() -> None:
    used = {option.name for option in table().values() if option.status is Status.USED}
    assert set(marked()) == used - set(WITHOUT_EFFECT)
    assert set(WITHOUT_EFFECT) <= used

"""The commands of the documentation, for tests that type them as they stand.

A command is a block of shell, or one of our programs in the middle of a text, with more than its name. A test gets one
by `command`, whose arguments are literals: so tests/unit/test_docs.py sees that there is a test for each.
"""

import re
from functools import cache

from tests.support.bus import PROJECT

PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (PROJECT / "docs").glob("*.md")))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"(?:sudo )?(?:\S*/)?(?:openvpn2|openvpn3(?:-\w+)?) \S")


@cache
def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each."""
    return _FENCE.findall((PROJECT / page).read_text())


@cache
def spans(page: str) -> list[str]:
    """What stands between backquotes outside of blocks, in one line each."""
    prose = _FENCE.sub("", (PROJECT / page).read_text())
    return [" ".join(span.split()) for span in re.findall("`([^`]+)`", prose)]


def inline(page: str) -> list[str]:
    return [span for span in spans(page) if _PROGRAM.match(span)]


def commands(page: str) -> list[str]:
    """Without the mere names of commands."""
    named = re.compile(r"\S+ [a-z-]+|\S+ \S+ --help")
    return [text for language, text in blocks(page) if language == "sh"] + sorted(
        {span for span in inline(page) if not named.fullmatch(span.removeprefix("sudo "))}
    )


def command(page: str, start: str) -> str:
    """The only one of the page that begins like this."""
    found = [text for text in commands(page) if text.startswith(start)]
    assert len(found) == 1, f"{page}: {start!r} begins {len(found)} commands"
    return found[0]

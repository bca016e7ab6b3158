"""What output may do where it goes to."""

import os
import shutil
import sys
from typing import Final

RED, GREEN, YELLOW, CYAN, BOLD, DIM, REVERSE = "31", "32", "33", "36", "1", "2", "7"
DEFAULT_WIDTH: Final = 80


def colours() -> bool:
    """Whether standard output is a terminal that may have colours: see https://no-color.org."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def painted(text: str, code: str, on: bool = True) -> str:
    """`code` holds ANSI numbers, joined by semicolons."""
    return f"\x1b[{code}m{text}\x1b[0m" if on and code else text


def width() -> int:
    """Columns of the terminal, or of what COLUMNS says; DEFAULT_WIDTH for what is neither."""
    return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns

"""What a check has found."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "OK"
    WARNING = "WARNING"  # works, but not as well as it could, or not for ever
    PROBLEM = "PROBLEM"  # something doesn't work


@dataclass(frozen=True)
class Finding:
    """`text` says how it is, `advice` what to do about it: empty if there is nothing."""

    subject: str
    text: str
    level: Level = Level.OK
    advice: str = ""


def warning(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, text, Level.WARNING, advice)


def problem(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, text, Level.PROBLEM, advice)

"""Reads tests/data/vectors."""

import json
from functools import cache
from pathlib import Path
from typing import Any

_DIRECTORY = Path(__file__).parent.parent / "data" / "vectors"


@cache
def load(name: str) -> Any:
    return json.loads((_DIRECTORY / f"{name}.json").read_text())

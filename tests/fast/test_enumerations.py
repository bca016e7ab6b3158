"""Constants of the C side keep their sign with every compiler."""

import re
from pathlib import Path

import ovpn3._fast

MOST_INT = 2**31 - 1
SOURCES = [path for kind in ("*.pxd", "*.pyx") for path in Path(ovpn3._fast.__path__[0]).glob(kind)]
BLOCK = re.compile(r"^cdef enum.*:.*\n((?: {4}.*\n)+)", re.MULTILINE)
NUMBER = re.compile(r"^ {4}\w+ = (0x[0-9A-Fa-f_]+|[0-9_]+)\b(?! *[<*])", re.MULTILINE)


def test_values_beyond_int_have_a_block_of_their_own() -> None:
    """GCC 13 and later make all of a block unsigned with them: what is negative would be more than all others."""
    blocks = [
        [int(number, 0) for number in NUMBER.findall(block)] for s in SOURCES for block in BLOCK.findall(s.read_text())
    ]
    wide = [values for values in blocks if max(values, default=0) > MOST_INT]
    assert len(wide) == 2
    assert all(min(values) > MOST_INT for values in wide)

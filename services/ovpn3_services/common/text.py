"""Text from callers and for them."""

import os


def stripped(text: str) -> str:
    """`text` without control characters, line ends included: how names and values are taken from everybody."""
    return "".join(c for c in text if c >= " ")


def random_uuid(marker: str) -> str:
    """128 random bits in the form of a UUID, its dashes `marker`: so object paths and tokens end."""
    digits = os.urandom(16).hex()
    return marker.join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

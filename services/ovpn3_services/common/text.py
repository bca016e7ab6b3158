"""Text from callers."""


def stripped(text: str) -> str:
    """`text` without control characters, line ends included: how names and values are taken from everybody."""
    return "".join(c for c in text if c >= " ")

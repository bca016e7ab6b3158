"""The daemons. None of them has a use for the `ssl` that asyncio imports where it can: 1 MB in each process."""

import sys

if "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # as documented: an import fails, and asyncio does without

"""The daemons. What libraries import in case it is needed, and no daemon needs, isn't loaded: MBs in each process."""

import sys

from ovpn3.deferred import defer

# asyncio, dataclasses and urllib use these in few functions only. `inspect` brings half the compiler along.
defer("inspect", "ipaddress")
if "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # as documented: an import fails, and asyncio does without

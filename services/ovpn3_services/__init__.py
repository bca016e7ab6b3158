"""The daemons. What libraries import in case it is needed, and no daemon needs, isn't loaded: MBs in each process."""

import sys

from ovpn3.deferred import defer

# What asyncio, dataclasses, traceback, subprocess and urllib use in few functions only. `inspect` loads `ast`, too.
defer("inspect", "ipaddress", "linecache", "locale", "textwrap")
if "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # as documented: an import fails, and asyncio does without

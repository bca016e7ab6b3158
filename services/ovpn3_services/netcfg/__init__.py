import asyncio  # noqa: F401  first, and without ssl
import sys

from ovpn3.deferred import defer

# The netlink library imports these at once for what we don't do.
if sys.modules.get("ssl", ...) is None:
    del sys.modules["ssl"]
defer("ssl", "unittest", "unittest.mock")

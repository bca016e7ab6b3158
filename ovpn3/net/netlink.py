"""What we use of pyroute2, without the rest of it.

The package imports all of its parts by itself, 5 MB that no tunnel needs; so it is put in place without being run.
"""

# ruff: noqa: E402  the package has to be in place before what is in it

from ovpn3.deferred import defer

defer("pyroute2")

from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

__all__ = ["AsyncIPRoute", "NetlinkError", "drop_strays"]


def drop_strays(ipr: AsyncIPRoute) -> None:
    """To be called after each "get": the kernel acknowledges it after the answer, and the library would keep that."""
    strays = ipr.msg_queue.root
    while not strays.empty():
        strays.get_nowait()

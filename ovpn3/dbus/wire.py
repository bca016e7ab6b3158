"""What we use of dbus-fast: messages, their form on the wire, and what names may look like.

The package imports all of its parts by itself: introspection, proxies and objects, of which we have our own, 2 MB in
each process. So it is put in place without being run.
"""

# ruff: noqa: E402  the package has to be in place before what is in it

from ovpn3.deferred import defer

defer("dbus_fast")

from dbus_fast._private.address import get_system_bus_address, parse_address
from dbus_fast._private.unmarshaller import Unmarshaller
from dbus_fast.constants import ErrorType, MessageFlag, MessageType
from dbus_fast.errors import InvalidAddressError
from dbus_fast.message import Message
from dbus_fast.signature import Variant
from dbus_fast.validators import is_interface_name_valid

__all__ = [
    "ErrorType",
    "InvalidAddressError",
    "Message",
    "MessageFlag",
    "MessageType",
    "Unmarshaller",
    "Variant",
    "get_system_bus_address",
    "is_interface_name_valid",
    "parse_address",
]

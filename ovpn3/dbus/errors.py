"""The one place where our errors become D-Bus errors, and the other way round.

Front-ends of the original look at the message text, `GDBus.Error:<domain>: <text>`, not at the name, which
GDBus makes from the domain. Both are kept.
"""

import re

from ovpn3.constants import DOMAIN_DEFAULT, DOMAIN_REQUEST
from ovpn3.dbus.wire import ErrorType, Message
from ovpn3.errors import AccessDenied, Ovpn3Error, RemoteError, ServiceError

UNKNOWN_METHOD = ErrorType.UNKNOWN_METHOD.value
INVALID_ARGS = "org.freedesktop.DBus.Error.InvalidArgs"
FAILED = "org.freedesktop.DBus.Error.Failed"
LIMITS = "org.freedesktop.DBus.Error.LimitsExceeded"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
INTERNAL = "internal error; the service's log has the details"

_DOMAIN_TEXT = re.compile(r"GDBus\.Error:([\w.\-]+): (.*)", re.DOTALL)


def domain_error(domain: str, text: str) -> tuple[str, str]:
    """Error name and message that GDBus would send for `domain`."""
    quark = re.sub(r"[^0-9A-Za-z]", lambda c: f"_{ord(c[0]):02x}", domain)
    return f"org.gtk.GDBus.UnmappedGError.Quark._{quark}.Code36", f"GDBus.Error:{domain}: {text}"


def method_error(error: Exception, domain: str) -> tuple[str, str]:
    """Name and message for an exception out of a method of an object whose own domain is `domain`."""
    match error:
        case AccessDenied():
            return domain_error(DOMAIN_DEFAULT, str(error))  # whatever the object's own is
        case ServiceError():
            return domain_error(error.domain, str(error))
        case RemoteError():
            return domain_error(DOMAIN_REQUEST, str(error))
        case Ovpn3Error():
            return domain_error(domain, str(error))
        case _:
            return domain_error(DOMAIN_REQUEST, INTERNAL)


def property_error(error: Exception) -> tuple[str, str]:
    """Name and message for an exception out of reading or writing a property: plain text, standard names."""
    match error:
        case AccessDenied():
            return DENIED, str(error)
        case Ovpn3Error():
            return FAILED, str(error)
        case _:
            return FAILED, INTERNAL


def error_from_reply(reply: Message) -> RemoteError:
    """The error that another service answered with; its domain, if the text holds one, becomes the name."""
    text = str(reply.body[0]) if reply.body else ""
    name = reply.error_name or FAILED
    if found := _DOMAIN_TEXT.match(text):
        name, text = found.groups()
    return RemoteError(name, text)

"""Which machine this is, for servers that ask for it by push-peer-info: nothing that leads back to its real id."""

import hashlib
import os
import re
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from OpenSSL import SSL

from ovpn3.files import write_atomically

SYSTEM_ID = Path("/etc/machine-id")
LOCAL_ID = Path("/var/lib/openvpn3/machine-id")  # made where the system has none; belongs to the service account
_ID = re.compile("[0-9a-f]{32}")


class Source(StrEnum):
    SYSTEM = "System"
    LOCAL = "Installation local"
    RANDOM = "Random - unreliable"


def machine_info() -> dict[str, str]:
    """Variables for the server."""
    version = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
    return {"IV_HWADDR": hardware_id()[0], "IV_SSL": version, "IV_PLAT_VER": os.uname().release}


def hardware_id(system: Path = SYSTEM_ID, local: Path = LOCAL_ID) -> tuple[str, Source]:
    """The same at each connection, and what it is made of."""
    for path, source in ((system, Source.SYSTEM), (local, Source.LOCAL)):
        if found := _read(path):
            return _hashed(found), source
    made = os.urandom(16).hex()
    try:
        write_atomically(local, f"{made}\n", mode=0o644)
    except OSError:
        return _hashed(made), Source.RANDOM
    return _hashed(made), Source.LOCAL


def _read(path: Path) -> str:
    """An id; empty if there is none, as in an image that has not been booted."""
    text = ""
    with suppress(OSError, UnicodeDecodeError):
        text = path.read_text().strip()
    return text if _ID.fullmatch(text) else ""


def _hashed(machine_id: str) -> str:
    return hashlib.sha256(f"OpenVPN 3{machine_id}Linux".encode()).hexdigest()

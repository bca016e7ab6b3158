"""The programs. What hardly any of them needs of the standard library isn't loaded: a fifth of the time they take."""

from ovpn3.deferred import defer, import_asyncio

import_asyncio()
defer("hashlib", "hmac", "xml", "xml.etree", "xml.etree.ElementTree")

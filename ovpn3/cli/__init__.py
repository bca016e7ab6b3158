"""The programs. What hardly any of them needs of the standard library isn't loaded: a quarter of the time they take."""

from ovpn3.deferred import import_asyncio

import_asyncio()

"""The daemons. What no daemon needs of the standard library isn't loaded: MBs in each process."""

from ovpn3.deferred import import_asyncio

import_asyncio()

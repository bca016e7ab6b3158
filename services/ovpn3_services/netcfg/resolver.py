"""Which resolver this machine has, and that it knows the DNS settings of all tunnels."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, final

from ovpn3.constants import NetworkChange
from ovpn3.dbus.bus import Bus, Subscription
from ovpn3.errors import NetworkError, RemoteError
from ovpn3.proxies import resolved as resolve1
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.log import Log
from ovpn3_services.netcfg.dns import Scope, TunnelDns
from ovpn3_services.netcfg.resolvconf import ResolvConf, is_ours
from ovpn3_services.netcfg.resolved import Resolved

RESOLV_CONF: Final = Path("/etc/resolv.conf")
MAX_OVERWRITTEN: Final = 5  # times within QUARREL_S, then the other one has its way
QUARREL_S: Final = 60.0
NAMESPACES: Final = Path("/etc/netns")  # what `ip netns exec NAME` shows in place of /etc is in NAME there
PATIENCE_S: Final = 5.0  # a resolver that hangs holds no tunnel up for longer

Tell = Callable[[str, NetworkChange, dict[str, str]], None]


class Backend(Protocol):
    name: str

    async def apply(self, tunnels: Sequence[TunnelDns]) -> None: ...
    async def refresh(self) -> None: ...


@final
class Resolver:
    """The back end that the options name, or the one that is found each time something is to be set up.

    `tunnels` gives those that are up, in the order in which they came; `tell` hears of what changed, by device name.
    Failures are logged: a tunnel without its DNS settings is still a tunnel.
    """

    def __init__(self, bus: Bus, options: Options, log: Log, tell: Tell) -> None:
        self._bus, self._log, self._tell = bus, log, tell
        self._detect = bool(options.detect_resolver)
        self._resolved = Resolved(bus)
        self._backend: Backend | None = None
        if options.systemd_resolved:
            self._backend = self._resolved
        elif options.resolv_conf:
            self._backend = ResolvConf(Path(options.resolv_conf), self._on_overwritten)
        self._fixed = self._backend is not None
        self._overwritten: deque[float] = deque(maxlen=MAX_OVERWRITTEN)
        self._elsewhere: dict[str, ResolvConf] = {}  # by network namespace
        self._told: list[tuple[str, NetworkChange, str]] = []
        self._begun = False  # the first time, what a predecessor has left is dealt with
        self._lock = asyncio.Lock()
        self._watch: Subscription | None = None
        self.tunnels: Callable[[], Iterable[TunnelDns]] = tuple

    @property
    def available(self) -> bool:
        return self._fixed or self._detect

    async def start(self) -> None:
        if not self.available:
            self._log.warn("no DNS resolver back end: DNS settings are ignored")
            return
        self._watch = await self._bus.watch_name(resolve1.NAME, self._on_resolved)

    def close(self) -> None:
        if self._watch:
            self._watch.cancel()
        if isinstance(self._backend, ResolvConf):
            self._backend.close()

    async def update(self) -> None:
        """Have the resolver know what the tunnels want now."""
        if not self.available:
            return
        async with self._lock:
            tunnels = [t for t in self.tunnels() if t.servers or t.domains]
            if not tunnels and not self._told and self._begun:
                return
            if not self._begun:
                self._elsewhere = {name: _file_of(name) for name in _left_behind()}
            self._begun = True
            done = await self._tell_elsewhere([t for t in tunnels if t.netns])
            if await self._tell_backend([t for t in tunnels if not t.netns]) and done:
                self._announce(tunnels)

    async def _tell_backend(self, tunnels: Sequence[TunnelDns]) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                backend = await self._choose()
                await backend.apply(tunnels)
        except TimeoutError:
            self._log.error(f"DNS settings: no answer within {PATIENCE_S:g} s")
            return False
        except (NetworkError, RemoteError) as e:
            self._log.error(f"DNS settings: {e}")
            return False
        if isinstance(backend, ResolvConf) and any(t.scope is Scope.TUNNEL for t in tunnels):
            self._log.warn("a DNS scope of tunnel takes systemd-resolved: these servers are not used")
        return True

    async def _tell_elsewhere(self, tunnels: Sequence[TunnelDns]) -> bool:
        """In network namespaces: there is no resolver but the servers themselves."""
        done = True
        for name in {t.netns for t in tunnels} | set(self._elsewhere):
            here = [t for t in tunnels if t.netns == name]
            file = self._elsewhere.setdefault(name, _file_of(name))
            try:
                await file.apply(here)
            except NetworkError as e:
                self._log.error(f"DNS settings: {e}")
                done = False
            if not here:
                del self._elsewhere[name]
        return done

    async def _choose(self) -> Backend:
        """What was set up in the one before is taken back there."""
        if self._fixed:
            assert self._backend is not None
            return self._backend
        uses_resolved = await self._bus.name_owner(resolve1.NAME) and _names_stub(RESOLV_CONF)
        present: Backend
        if uses_resolved:
            present = self._resolved
        else:
            present = (
                self._backend
                if isinstance(self._backend, ResolvConf)
                else ResolvConf(RESOLV_CONF, self._on_overwritten)
            )
        if present is not self._backend:
            if self._backend is not None:
                await self._backend.apply(())
            self._log.verb1(f"DNS settings go to {present.name}")
            self._backend = present
        return present

    def _on_resolved(self, owner: str | None) -> None:
        if owner and self._backend is self._resolved:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    def _on_overwritten(self) -> None:
        """Ours again, unless somebody means it."""
        now = asyncio.get_running_loop().time()
        if len(self._overwritten) == MAX_OVERWRITTEN and now - self._overwritten[0] < QUARREL_S:
            self._log.error("somebody else insists on another resolv.conf: the tunnels' name servers are not in it")
            return
        self._overwritten.append(now)
        self._log.verb1("somebody else has replaced resolv.conf: the tunnels' name servers are put before theirs")
        self._refreshing = asyncio.get_running_loop().create_task(self.update())

    async def _refresh(self) -> None:
        async with self._lock:
            try:
                await self._resolved.refresh()
            except (NetworkError, RemoteError) as e:
                self._log.error(f"DNS settings: {e}")

    def _announce(self, tunnels: Sequence[TunnelDns]) -> None:
        now = [
            *((t.name, NetworkChange.DNS_SERVER_ADDED, server) for t in tunnels for server in t.servers),
            *((t.name, NetworkChange.DNS_SEARCH_ADDED, domain) for t in tunnels for domain in t.domains),
        ]
        for name, kind, value in self._told:
            if (name, kind, value) not in now:
                gone = REMOVED[kind]
                self._tell(name, gone, {DETAIL[kind]: value})
        for name, kind, value in now:
            if (name, kind, value) not in self._told:
                self._tell(name, kind, {DETAIL[kind]: value})
        self._told = now


REMOVED: Final = {
    NetworkChange.DNS_SERVER_ADDED: NetworkChange.DNS_SERVER_REMOVED,
    NetworkChange.DNS_SEARCH_ADDED: NetworkChange.DNS_SEARCH_REMOVED,
}
DETAIL: Final = {NetworkChange.DNS_SERVER_ADDED: "dns_server", NetworkChange.DNS_SEARCH_ADDED: "search_domain"}


def _file_of(netns: str) -> ResolvConf:
    # Whatever is in the folder `ip netns exec` puts over its like in /etc, and complains when there is none.
    backup = NAMESPACES / f"{netns}.{RESOLV_CONF.name}.ovpn3bak"
    return ResolvConf(NAMESPACES / netns / RESOLV_CONF.name, backup=backup)


def _left_behind() -> list[str]:
    """Network namespaces in which a predecessor has left its file."""
    found = []
    for path in NAMESPACES.glob(f"*/{RESOLV_CONF.name}"):
        with suppress(OSError):
            if is_ours(path.read_text(errors="replace")):
                found.append(path.parent.name)
    return found


def _names_stub(path: Path) -> bool:
    """Whether the machine's programs ask systemd-resolved. Our own file says nothing about that."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return False
    return not is_ours(text) and resolve1.names_stub(text)

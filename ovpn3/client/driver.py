"""Keeps one tunnel up: chooses a server, runs an attempt, reconnects, pauses, ends.

It is tried until somebody stops it, or for as many rounds over all remotes and their addresses as connect-retry-max
says. Without such a limit each round in vain is told, with the reason: whoever waits for the connection may give up.
"""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Protocol

from ovpn3.client import attempt as at
from ovpn3.client.attempt import Attempt, DataPath, Relay, Tun
from ovpn3.client.reconnect import LONG_RETRY_DELAY_S, RETRY_DELAY_S, RemoteList, RetryDelay
from ovpn3.client.settings import mss_limit, session_config, tun_settings
from ovpn3.client.tunbuilder import TunDevice
from ovpn3.client.unbroken import unbroken
from ovpn3.constants import LogCategory, StatusMinor
from ovpn3.datapath.offloads import tun_offloads
from ovpn3.datapath.stats import as_statistics, offloads_in_use
from ovpn3.errors import NetworkError, Ovpn3Error
from ovpn3.net.watch import NetworkWatch
from ovpn3.profile.model import HttpProxy, Profile, Remote
from ovpn3.protocol import actions as act
from ovpn3.protocol.actions import Pushed
from ovpn3.protocol.auth import Credentials
from ovpn3.proxies.netcfg import NetworkConfiguration
from ovpn3.secret import Secret
from ovpn3.transport.connect import connect, open_socket, set_buffers, source_address
from ovpn3.transport.proxy import CredentialsNeeded, ProxyError, associate, datagram_header, through
from ovpn3.transport.resolve import Endpoint, resolve, with_random_label

FAILURE_COUNTERS = {
    act.FailureKind.TIMEOUT: "CONNECTION_TIMEOUT",
    act.FailureKind.HANDSHAKE_TIMEOUT: "HANDSHAKE_TIMEOUT",
    act.FailureKind.TLS_ALERT: "TLS_ALERT_MISC",
    act.FailureKind.CERTIFICATE: "CERT_VERIFY_FAIL",
    act.FailureKind.COMPRESSION: "COMPRESS_ERROR",
}


NETWORK_TIMEOUT_S = 30.0  # from the loss of the network service until it must be there again
CLEANUP_TRIES = 3


def _report(task: asyncio.Task[None]) -> None:
    """Nobody awaits the task's result: tell the loop how it failed, if it did."""
    if not task.cancelled() and (error := task.exception()):
        task.get_loop().call_exception_handler({"message": "the tunnel", "exception": error})


class Wish(Enum):
    """What the user wants of the tunnel."""

    UP = "up"
    PAUSED = "paused"
    DOWN = "down"


class Listener(Protocol):
    """Hears of everything that concerns the user. `changed` says that the properties below are new."""

    def log(self, category: LogCategory, text: str) -> None: ...
    def status(self, minor: StatusMinor, text: str = "") -> None: ...
    def changed(self) -> None: ...
    def challenge(self, challenge: act.Challenge) -> None: ...
    def proxy_login(self, reason: str) -> None: ...
    def login_again(self, reason: str) -> None: ...
    def response_again(self, reason: str) -> None: ...
    def text_challenge(self, challenge: act.TextChallenge) -> None: ...
    def web_auth(self, url: str) -> None: ...


class Driver:
    """`name` is the device name given to the network service; `key_password` opens the profile's private key."""

    def __init__(
        self,
        profile: Profile,
        credentials: Credentials,
        network: NetworkConfiguration,
        listener: Listener,
        *,
        name: str,
        key_password: Secret | None = None,
        configure_dns: bool = True,
        peer_info: Mapping[str, str] | None = None,
        protect_socket: bool = True,
    ) -> None:
        self._profile, self._credentials = profile, credentials
        self._network, self._listener = network, listener
        self._key_password, self._peer_info = key_password, peer_info
        self._configure_dns, self._protect_socket = configure_dns, protect_socket
        self._proxy = profile.http_proxy or profile.socks_proxy
        self._remotes = RemoteList(profile.remotes, random.shuffle if profile.remote_random else None)
        self._retry_delay = RetryDelay(profile.connect_retry)
        self._stirred = asyncio.Event()  # by the user, or by this machine's network
        self._following: asyncio.Task[None] | None = None
        self._rounds = 0  # over all remotes, since it was up
        self._name = name
        self.device = TunDevice(network, name, tun_offloads(profile.offloads))
        self.endpoint: Endpoint | None = None  # of the connection that is up
        self._trying: Endpoint | None = None
        self._led_by_mark = False  # to the server, by the machine's own rules
        self._attempt: Attempt | None = None
        self._is_up = self._was_up = False  # this attempt, any attempt
        self._wish = Wish.UP
        self._wish_changed = asyncio.Event()
        self._work: asyncio.Task[float | None] | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._counters: Counter[str] = Counter()
        self._losses = 0  # of the network service
        self._return: asyncio.Task[None] | None = None
        self._last_word: Callable[[], None] | None = None  # told once everything is cleaned up

    # -- orders -----------------------------------------------------------------------------------
    def start(self) -> None:
        self._run_task = asyncio.get_running_loop().create_task(self._run())
        self._run_task.add_done_callback(_report)

    @property
    def running(self) -> bool:
        return self._run_task is not None and not self._run_task.done()

    @property
    def paused(self) -> bool:
        return self._wish is Wish.PAUSED

    def pause(self) -> None:
        self._want(Wish.PAUSED)

    def resume(self) -> None:
        self._want(Wish.UP)

    def restart(self) -> None:
        """A new session now. It ends a pause, too."""
        if self._wish is Wish.PAUSED:
            self.resume()
        elif self._wish is Wish.UP:
            self._wish_changed.set()  # ends a wait between two attempts
            self._stirred.set()
            if self._work:
                self._work.cancel()

    async def stop(self) -> None:
        """End the tunnel; the device and all that belongs to it are gone when this returns."""
        self._want(Wish.DOWN)
        if self._run_task:
            await asyncio.wait({self._run_task})

    def answer(self, text: Secret) -> None:
        """The user's answer to a challenge within the session."""
        if self._attempt:
            self._attempt.answer(text)

    def statistics(self) -> dict[str, int]:
        """Counters of the whole life of the tunnel; of now, offloads in use and what was measured. No zeros."""
        total = Counter(self._counters)
        if not self._attempt:
            return dict(total)
        counters = self._attempt.pump.stats()
        total.update(as_statistics(counters))
        if self._attempt.renegotiations:
            total["N_RENEGOTIATE"] += self._attempt.renegotiations
        return dict(total) | offloads_in_use(counters) | self._attempt.measured

    def _want(self, wish: Wish) -> None:
        if self._wish is not wish:
            self._wish = wish
            self._wish_changed.set()
            self._stirred.set()
            if self._work:
                self._work.cancel()

    # -- the life of the tunnel -------------------------------------------------------------------
    async def _run(self) -> None:
        loss = await self._network.on_loss(self._network_lost)
        watch = NetworkWatch(self._machine_changed, self._address_sought)
        try:
            while self._wish is not Wish.DOWN:
                self._wish_changed.clear()
                if self._wish is Wish.PAUSED:
                    await self._rest()
                elif not await self._connection():
                    return
        finally:
            watch.close()
            if self._following:
                await asyncio.wait({self._following})
            await self._remove_device()
            if self._wish is Wish.DOWN and self._profile.kill_switch:
                await self._release_guards()
            await self._cleanup()
            loss.cancel()
            if self._return:
                self._return.cancel()
            if self._last_word:
                self._last_word()  # the next thing may be another Connect

    async def _rest(self) -> None:
        self._counters["N_PAUSE"] += 1
        if not self._profile.persist_tun:
            await self._remove_device()
        self._listener.status(StatusMinor.CONN_PAUSED)
        await self._wish_changed.wait()

    async def _connection(self) -> bool:
        """One attempt and the wait after it. False: the tunnel has ended and the listener knows why."""
        self._work = asyncio.get_running_loop().create_task(self._work_once())
        await asyncio.wait({self._work})
        work, self._work = self._work, None
        if not work.cancelled():
            delay = work.result()
            if delay is None:
                return False
            if delay:
                self._listener.log(LogCategory.VERB1, f"next attempt in {delay:g} s")
                await self._sleep(delay)
        if self._wish is Wish.UP:
            self._counters["N_RECONNECT"] += 1
        return True

    async def _sleep(self, delay_s: float) -> None:
        """Wait, but not for longer than the user's wish and our address for the server stay as they are."""
        before = self._source_address()
        try:
            async with asyncio.timeout(delay_s):
                while not self._wish_changed.is_set() and before == self._source_address():
                    self._stirred.clear()
                    await self._stirred.wait()
        except TimeoutError:
            return

    def _source_address(self) -> str:
        return source_address(self._trying) if self._trying else ""

    async def _work_once(self) -> float | None:
        """Seconds to wait before the next attempt, or None when there is to be none."""
        try:
            endpoint = await self._next_endpoint()
        except NetworkError as e:
            self._counters["RESOLVE_ERROR"] += 1
            return self._missed(str(e))
        self._trying, self._is_up = endpoint, False
        losses = self._losses
        try:
            end = await self._session(endpoint)
        except CredentialsNeeded as e:
            self._counters["PROXY_NEED_CREDS"] += 1
            return self._end_with(partial(self._listener.proxy_login, str(e)))
        except ProxyError as e:
            self._counters["PROXY_ERROR"] += 1
            return self._missed(f"{endpoint}: {e}", rounds=1)
        except NetworkError as e:
            self._counters["TCP_CONNECT_ERROR" if endpoint.stream else "UDP_CONNECT_ERROR"] += 1
            return self._missed(str(e))
        except Ovpn3Error as e:
            return self._again(str(e), 0.0) if losses != self._losses else self._fail(str(e))
        if isinstance(end, at.Unusable) and losses != self._losses:
            return self._again(end.reason, 0.0)
        return self._after(end)

    async def _next_endpoint(self) -> Endpoint:
        if self._remotes.endpoint is None:
            try:
                self._remotes.resolved(await self._resolve(self._remotes.remote))
            except NetworkError as e:
                # Perhaps no name server can be reached without the tunnel.
                if not self._remotes.recall():
                    raise
                self._listener.log(LogCategory.WARN, f"{e}: trying the addresses of before")
        endpoint = self._remotes.endpoint
        assert endpoint is not None
        return endpoint

    async def _resolve(self, remote: Remote) -> list[Endpoint]:
        host, proxy = remote.host, self._proxy
        if self._profile.remote_random_hostname:
            host = with_random_label(host)
        self._listener.log(LogCategory.VERB2, f"resolving {proxy.host if proxy else host}")
        if proxy is None:
            return await resolve(host, remote.port, remote.proto)
        if remote.is_tcp:
            return await resolve(proxy.host, proxy.port, "tcp", (host, remote.port))
        # Each datagram bears the server's address: of a name the proxy would have to think each time.
        servers = await resolve(host, remote.port, remote.proto)
        found = [await resolve(proxy.host, proxy.port, "udp", (s.address, s.port)) for s in servers]
        return [endpoint for endpoints in found for endpoint in endpoints]

    async def _session(self, endpoint: Endpoint) -> at.End:
        self._listener.log(LogCategory.INFO, f"connecting to {endpoint}")
        sock, relay = await self._reach(endpoint)
        profile = self._profile
        try:
            config = session_config(
                profile,
                self._credentials,
                stream=endpoint.stream,
                key_password=self._key_password,
                peer_info=self._peer_info,
            )
            floating = profile.float_ and relay is None
            data_path = DataPath(profile.tcp_queue_limit, profile.data_threads, profile.offloads, floating, relay)
            attempt = Attempt(config, endpoint, sock, self, data_path)
        except BaseException:
            sock.close()
            if relay:
                relay.keeper.close()
            raise
        self._attempt = attempt
        try:
            return await attempt.run()
        finally:
            await unbroken(self._leave(attempt))  # orders come faster than it goes

    async def _reach(self, endpoint: Endpoint) -> tuple[socket.socket, Relay | None]:
        """A socket whose other end is the server, or a proxy's relay."""
        if endpoint.server is None or self._proxy is None:
            return await self._dial(endpoint), None
        timeout = self._profile.server_poll_timeout
        try:
            async with asyncio.timeout(timeout):
                dial = partial(self._dial, replace(endpoint, stream=True))
                if endpoint.stream or isinstance(self._proxy, HttpProxy):
                    return await through(self._proxy, *endpoint.server, dial), None
                keeper, port = await associate(self._proxy, dial)
                try:
                    sock = await self._dial(replace(endpoint, port=port))
                except BaseException:
                    keeper.close()
                    raise
                return sock, Relay(keeper, datagram_header(*endpoint.server))
        except TimeoutError:
            raise ProxyError(f"no answer from the proxy within {timeout:g} s") from None
        except OSError as e:
            raise ProxyError(f"the connection to the proxy failed: {e.strerror}") from None

    async def _dial(self, endpoint: Endpoint) -> socket.socket:
        sock = open_socket(endpoint, self._profile.local)
        try:
            await self._protect(sock, endpoint)
            set_buffers(sock, self._profile.sndbuf, self._profile.rcvbuf)  # the network service may have set them
            if endpoint.stream or endpoint.server or not self._profile.float_:
                await connect(sock, endpoint, self._profile.server_poll_timeout)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _protect(self, sock: socket.socket, endpoint: Endpoint) -> None:
        """Keep the socket's packets out of the tunnel, and give them the profile's mark: without it they might go
        another way than is wanted, so then it is done in any case."""
        if not self._protect_socket and not self._profile.mark:
            return
        protection = self._network.protect_socket(
            sock.fileno(),
            endpoint.address,
            ipv6=endpoint.ipv6,
            device_path=self.device.path,
            mark=self._profile.mark,
        )
        self._led_by_mark = await unbroken(protection)  # else its route might come after the cleanup

    async def _leave(self, attempt: Attempt) -> None:
        await attempt.leave()
        self._counters.update(as_statistics(attempt.pump.stats()))
        if attempt.renegotiations:
            self._counters["N_RENEGOTIATE"] += attempt.renegotiations
        self._attempt, self.endpoint = None, None
        attempt.stop()
        if self.device.orphaned or not self._profile.persist_tun:
            await self._remove_device()
        self._listener.changed()

    def _address_sought(self) -> str:
        """The server's, if nothing else of the machine concerns us."""
        return self._trying.address if self._trying and not self.device.follows_links else ""

    def _machine_changed(self) -> None:
        """Links, addresses or routes of this machine: perhaps there is another way to the server, or one again."""
        self._stirred.set()
        if self._attempt and self._trying and (self._following is None or self._following.done()):
            self._following = asyncio.get_running_loop().create_task(self._follow_path(self._attempt, self._trying))

    async def _follow_path(self, attempt: Attempt, endpoint: Endpoint) -> None:
        if attempt is not self._attempt:
            return
        sock = attempt.copied_socket()  # our own copy: the attempt may end meanwhile
        try:
            await self._protect(sock, endpoint)
        except Ovpn3Error:
            return  # there is no way at all
        finally:
            sock.close()
        if attempt is self._attempt:
            attempt.follow_path()

    def _network_lost(self) -> None:
        """Traffic goes on, with what the network service has set up."""
        self._losses += 1
        if self.device.fd >= 0 and (self._return is None or self._return.done()):
            self._return = asyncio.get_running_loop().create_task(self._network_returns())

    async def _network_returns(self) -> None:
        """Its successor takes our device over; if it doesn't, nobody would clean up: have it make a new one."""
        taken_back, losses = False, -1
        while losses != self._losses:
            losses = self._losses
            taken_back = await self._network.bring_back(NETWORK_TIMEOUT_S) and await self.device.taken_back()
        if not taken_back and self.device.orphan():
            self._again("the network service is gone, and doesn't know our device any more", 0.0)
            self.restart()

    # -- what becomes of the tunnel after an attempt ----------------------------------------------
    def _after(self, end: at.End) -> float | None:
        match end:
            case act.Failed(kind, reason, fatal):
                self._counters[FAILURE_COUNTERS.get(kind, "TRANSPORT_ERROR")] += 1
                if fatal:
                    return self._fail(reason)
                return self._missed(reason, 0.0 if kind is act.FailureKind.TIMEOUT else None)
            case act.Restart(reason, next_remote):
                self._counters["CLIENT_RESTART"] += 1
                self._remotes.connection_lost(next_remote)
                return self._again(f"the server asks for a new session: {reason}", LONG_RETRY_DELAY_S)
            case act.AuthFailed():
                return self._refused(end)
            case act.Challenge():
                return self._end_with(partial(self._listener.challenge, end))
            case act.Halt(reason):
                self._counters["CLIENT_HALT"] += 1
                return self._fail(f"the server asks us to stop: {reason}")
            case at.Lost(reason):
                return self._missed(reason)
            case at.Unusable(reason):
                self._counters["TUN_SETUP_FAILED"] += 1
                return self._fail(reason)
            case at.Inactive():
                self._counters["INACTIVE_TIMEOUT"] += 1
                return self._give_up(StatusMinor.CONN_DONE, "no traffic")

    def _refused(self, end: act.AuthFailed) -> float | None:
        self._counters["AUTH_FAILED"] += 1
        if end.temporary:
            self._remotes.attempt_failed(end.advance)
            return self._again(f"refused for now: {end.reason}", max(end.backoff or 0.0, RETRY_DELAY_S))
        again = self._listener.login_again
        if self._profile.static_challenge and self._credentials.password:
            again = self._listener.response_again  # the password is still good; a code is good once
        if end.token_rejected:
            reason = "the server no longer takes the session token"
            known = self._credentials.password or not self._credentials.username
            if known and not self._profile.static_challenge:
                return self._again(reason, 0.0)
            return self._end_with(partial(again, reason))
        if self._profile.static_challenge and self._was_up:
            return self._end_with(partial(again, f"the server asks for the log-in again: {end.reason}"))
        if self._profile.auth_fail_retry or self._profile.auth_retry == "nointeract":
            return self._again(f"authentication failed: {end.reason}", LONG_RETRY_DELAY_S)
        if self._profile.auth_retry == "interact":
            return self._end_with(partial(self._listener.login_again, f"authentication failed: {end.reason}"))
        text = "Authentication failed"  # words that front-ends look for
        return self._give_up(StatusMinor.CONN_AUTH_FAILED, f"{text}: {end.reason}" if end.reason else text)

    def _missed(self, reason: str, delay: float | None = None, *, rounds: int | None = None) -> float | None:
        """This address doesn't work, or the connection over it was lost. `rounds`: so many are enough at first."""
        round_over = False
        if self._is_up:
            self._remotes.connection_lost()
        else:
            round_over = self._remotes.attempt_failed()
            self._rounds += round_over
        limit = self._profile.connect_retry_max or (None if self._was_up else rounds)
        if limit is not None and self._rounds >= limit:
            return self._fail(reason)
        if not self._was_up:
            if not round_over:
                return self._again(reason, 0.0)
            if limit is None:  # else it ends by itself, and they wait for that
                self._listener.status(StatusMinor.CONN_CONNECTING, reason)
        return self._again(reason, self._retry_delay.next() if delay is None else delay)

    def _again(self, reason: str, delay: float) -> float:
        self._listener.log(LogCategory.WARN, reason)
        if self._was_up:
            self._listener.status(StatusMinor.CONN_RECONNECTING, reason)
        return delay

    def _fail(self, reason: str) -> float | None:
        self._listener.log(LogCategory.ERROR, reason)
        return self._give_up(StatusMinor.CONN_FAILED, reason)

    def _give_up(self, status: StatusMinor, reason: str) -> float | None:
        return self._end_with(partial(self._listener.status, status, reason))

    def _end_with(self, last_word: Callable[[], None]) -> float | None:
        self._last_word = last_word
        return None

    async def _remove_device(self) -> None:
        if self.device.fd >= 0:
            await self.device.remove()
            self._listener.changed()

    async def _release_guards(self) -> None:
        """The user has ended the tunnel; when it ends by itself what it carried stays unreachable."""
        try:
            await self._network.release_guards(self._name)
        except Ovpn3Error as e:
            self._listener.log(LogCategory.ERROR, f"the kill switch could not be released: {e}")

    async def _cleanup(self) -> None:
        for _ in range(CLEANUP_TRIES):
            losses = self._losses
            try:
                return await self._network.cleanup()
            except Ovpn3Error as e:
                if losses == self._losses:  # else there is a successor that can
                    return self._listener.log(LogCategory.ERROR, f"the network service could not clean up: {e}")

    # -- told by the attempt ----------------------------------------------------------------------
    def log(self, category: LogCategory, text: str) -> None:
        self._listener.log(category, text)

    def first_packet(self) -> None:
        self._listener.log(LogCategory.VERB1, f"{self._trying} answers")

    async def established(self, pushed: Pushed, room: Callable[[int], int]) -> Tun:
        assert self._trying is not None
        server = self._trying
        settings = tun_settings(
            self._profile, pushed.options, lambda text: self.log(LogCategory.WARN, text), pushed.replaced
        )
        if self._led_by_mark:
            settings = replace(settings, bypass_server=False)
        outcome = await unbroken(self.device.build(settings, server, configure_dns=self._configure_dns))
        self.log(LogCategory.INFO, f"tunnel device {self.device.name} {outcome}")
        mss = mss_limit(
            self._profile.mssfix,
            settings.mtu,
            room,
            ipv6_outer=server.ipv6,
            stream=server.stream,
        )
        return Tun(self.device.fd, settings.mtu, mss, self._inactive(pushed), self.device.offloads)

    def _inactive(self, pushed: Pushed) -> tuple[float, int]:
        args = dict(pushed.options).get("inactive", ())
        if args and all(a.isdecimal() and len(a) < 12 for a in args):
            seconds, least = (*map(int, args), 0)[:2]
            return float(seconds), least
        return self._profile.inactive or (0.0, 0)

    def connected(self) -> None:
        self._is_up = self._was_up = True
        self._retry_delay.connected()
        self._remotes.connected()
        self._rounds = 0
        self.endpoint = self._trying
        self._listener.changed()
        if self.endpoint is not None:
            self.log(LogCategory.INFO, f"Connected: {self.device.connection_text(self.endpoint)}")
        self._listener.status(StatusMinor.CONN_CONNECTED)

    def auth_pending(self, timeout_s: float) -> None:
        self.log(LogCategory.INFO, f"the server waits for a further proof of identity, {timeout_s:g} s at most")

    def web_auth(self, url: str) -> None:
        self._listener.web_auth(url)

    def text_challenge(self, challenge: act.TextChallenge) -> None:
        self._listener.text_challenge(challenge)

"""What a profile and the server's push make of a tunnel: its session's configuration and its device's settings."""

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ovpn3.constants import PRODUCT, Framing
from ovpn3.datapath.engine import CBC_CIPHERS, CIPHERS, decompressors
from ovpn3.errors import ConfigurationRefused
from ovpn3.profile.model import DEFAULT_DATA_CIPHERS, DNS_SCOPES, Mssfix, Profile
from ovpn3.protocol import pkcs12
from ovpn3.protocol.auth import Credentials
from ovpn3.protocol.config import PullFilter, SessionConfig, TlsConfig, WrapConfig, WrapMode
from ovpn3.proxies.netcfg import NO_METRIC, Network, RouteRule
from ovpn3.secret import Secret

Options = Iterable[tuple[str, tuple[str, ...]]]
DEFAULT_PING_S, DEFAULT_PING_RESTART_S = 8.0, 40.0
DEFAULT_MSSFIX = 1492
MAX_EXIT_ATTEMPTS = 5  # nobody wants to wait longer
FALLBACK_DNS = ("8.8.8.8", "8.8.4.4")

# How payloads are framed for servers that push nothing of it, by what the profile says.
COMPRESS_FRAMINGS = {
    "": Framing.STUB,
    "stub": Framing.STUB,
    "stub-v2": Framing.STUB_V2,
    "lzo": Framing.LZO_STUB,
    "lz4": Framing.STUB,
    "lz4-v2": Framing.STUB_V2,
}

# Overrides that don't do anything yet, with the value that asks for nothing else than what is done.
UNHEEDED_OVERRIDES: dict[str, object] = {
    "enterprise-profile": "",
}


def unheeded_in(overrides: Mapping[str, object]) -> list[str]:
    """What of a profile's overrides has no effect yet."""
    strange_scope = overrides.get("dns-scope", "") not in ("", *DNS_SCOPES)
    return (["override dns-scope"] if strange_scope else []) + [
        f"override {name}"
        for name, heeded in UNHEEDED_OVERRIDES.items()
        if overrides.get(name, heeded) not in (heeded, "")
    ]


def wrap_config(profile: Profile) -> WrapConfig:
    for mode, key in (
        (WrapMode.TLS_CRYPT_V2, profile.tls_crypt_v2),
        (WrapMode.TLS_CRYPT, profile.tls_crypt),
        (WrapMode.TLS_AUTH, profile.tls_auth),
    ):
        if key is not None:
            return WrapConfig(mode, key, profile.key_direction, (profile.tls_auth_digest or profile.auth).upper())
    return WrapConfig()


def tls_config(profile: Profile, key_password: Secret | None) -> TlsConfig:
    """CryptoError if the profile's PKCS #12 can't be opened."""
    name = profile.verify_x509_name
    ca, cert, key, extra_certs = profile.ca, profile.cert, profile.key, profile.extra_certs
    if profile.pkcs12 and profile.client_cert:
        bundle = pkcs12.unpack(profile.pkcs12, key_password)
        ca, cert, key, key_password = ca or bundle.others, bundle.cert, bundle.key, None
        extra_certs += bundle.others
    return TlsConfig(
        ca=ca,
        cert=cert if profile.client_cert else "",
        extra_certs=extra_certs,
        key=(profile.client_cert and key) or Secret(),
        key_password=key_password,
        crl=profile.crl,
        version_min=profile.tls_version_min,
        version_max=profile.tls_version_max or "",
        ciphers=profile.tls_cipher or "",
        ciphersuites=profile.tls_ciphersuites or "",
        groups=profile.tls_groups or "",
        cert_profile=profile.tls_cert_profile,
        remote_purpose=profile.remote_cert_tls or "",
        remote_eku=profile.remote_cert_eku or "",
        remote_ku=profile.remote_cert_ku,
        netscape_type=profile.ns_cert_type or "",
        verify_name=name.name if name else "",
        verify_kind=name.kind if name else "subject",
        fingerprints=profile.peer_fingerprints,
        sni=profile.sni or "",
    )


def data_ciphers(profile: Profile) -> tuple[str, ...]:
    """Ciphers that the server may choose. CBC is among them if the profile or the user says so."""
    wanted = list(profile.data_ciphers)
    if profile.cipher and profile.data_ciphers == DEFAULT_DATA_CIPHERS:
        wanted.append(profile.cipher)
    if profile.enable_legacy_algorithms:
        wanted += CBC_CIPHERS
    return tuple(dict.fromkeys(c for c in wanted if c in CIPHERS))


def framing(profile: Profile) -> Framing:
    if profile.comp_lzo is not None:
        return Framing.LZO_STUB
    return COMPRESS_FRAMINGS.get(profile.compress, Framing.NONE) if profile.compress is not None else Framing.NONE


def session_config(
    profile: Profile,
    credentials: Credentials,
    *,
    stream: bool,
    key_password: Secret | None = None,
    peer_info: Mapping[str, str] | None = None,
) -> SessionConfig:
    """The control channel's configuration for one attempt. `peer_info`: IV_ variables if the profile sends them.

    ConfigurationRefused if no data cipher of the profile is one of ours.
    """
    ciphers = data_ciphers(profile)
    if not ciphers:
        known = ", ".join(CIPHERS)
        raise ConfigurationRefused(f"none of the profile's data-ciphers is available; there are {known}")
    told = dict(peer_info or {}) if profile.push_peer_info else {}
    told |= {k: v for k, v in profile.setenv.items() if k.startswith("UV_") and profile.push_peer_info}
    return SessionConfig(
        tls=tls_config(profile, key_password),
        wrap=wrap_config(profile),
        credentials=credentials,
        stream=stream,
        data_ciphers=ciphers,
        fallback_cipher=profile.data_ciphers_fallback or profile.cipher or "",
        auth=profile.auth,
        framing=framing(profile),
        decompressors=None if profile.allow_compression == "no" else decompressors(),
        reneg_bytes=profile.reneg_bytes,
        reneg_packets=profile.reneg_pkts,
        replay_window=profile.replay_window,
        epoch_keys=profile.data_threads == 1,
        tun_mtu=profile.tun_mtu,
        tun_mtu_max=profile.tun_mtu_max,
        gui_version=PRODUCT.replace(" ", "_"),
        peer_info=tuple(told.items()),
        pull_filters=tuple(PullFilter(f.action, f.text) for f in profile.pull_filters),
        route_nopull=profile.route_nopull,
        hand_window=profile.hand_window,
        tls_timeout=profile.tls_timeout,
        reneg_sec=profile.reneg_sec,
        tran_window=profile.tran_window,
        server_poll_timeout=profile.server_poll_timeout,
        exit_attempts=min(profile.explicit_exit_notify or 0, MAX_EXIT_ATTEMPTS),
        max_packet_bytes=profile.mssfix_ctrl,
        ping=DEFAULT_PING_S if profile.ping is None else profile.ping,
        ping_restart=DEFAULT_PING_RESTART_S if profile.ping_restart is None else profile.ping_restart,
    )


@dataclass(frozen=True)
class Address:
    """What the tunnel device is given."""

    address: str
    prefix: int
    gateway: str
    ipv6: bool


@dataclass(frozen=True)
class Dns:
    """For the machine's resolver. With a `scope` of tunnel the servers are asked for names in `domains` only."""

    servers: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    scope: str = ""  # global or tunnel; empty: the network service's default
    dnssec: str = ""  # yes, no or optional
    transport: str = ""  # plain, dot or doh


@dataclass(frozen=True)
class TunSettings:
    """Wanted state of the tun device. Compared as a whole to see whether a device can be kept."""

    addresses: tuple[Address, ...]
    mtu: int
    networks: tuple[Network, ...] = ()
    reroute_ipv4: bool = False
    reroute_ipv6: bool = False
    bypass_server: bool = True  # keep a route of its own to the server
    dns: Dns = Dns()
    block_ipv4: bool = False
    block_ipv6: bool = False
    block_local: bool = False
    block_outside_dns: bool = False
    kill_switch: bool = False
    interface: str = ""  # name that is wanted for the device
    netns: str = ""
    route_table: int = 0
    route_rules: tuple[RouteRule, ...] = ()  # whose packets take that table
    route_cgroups: tuple[str, ...] = ()


@dataclass
class _DnsServer:
    """One `dns server`."""

    addresses: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    dnssec: str = ""
    transport: str = ""


@dataclass
class _Collected:
    """Options of a reply as far as they have been read."""

    networks: list[Network] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    redirect: bool = False
    dns: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    dns_search: list[str] = field(default_factory=list)
    servers: dict[int, _DnsServer] = field(default_factory=dict)  # by priority


def tun_settings(
    profile: Profile, pushed: Options, note: Callable[[str], None], replaced: Collection[str] = ()
) -> TunSettings:
    """Merge the profile's network options, but for those in `replaced`, with the pushed ones (profile first).

    A single bad route or DNS option is left out and told to `note`; without a usable address ConfigurationRefused.
    """
    own = [
        *(("route", a) for a in profile.routes),
        *(("route-ipv6", a) for a in profile.routes6),
        *(("redirect-gateway", a) for a in profile.redirect_gateway),
        *(("redirect-private", a) for a in profile.redirect_private),
        *(("dhcp-option", a) for a in profile.dhcp_options),
        *(("dns", a) for a in profile.dns),
    ]
    options = [*((name, args) for name, args in own if name not in replaced), *pushed]
    last = dict(options)
    metric = _number(last.get("route-metric", ()), profile.route_metric)
    got = _Collected()
    for name, args in options:
        try:
            _collect(got, name, args, NO_METRIC if metric is None else metric)
        except ValueError as e:
            note(f"option left out: {name} {' '.join(args)}: {e}")
    mtu = _number(last.get("tun-mtu", ()), profile.tun_mtu) or profile.tun_mtu
    addresses, peers = _addresses(last)

    def wanted(option: str, by_profile: bool) -> bool:
        return option in last or (by_profile and option not in replaced)

    block_ipv4 = wanted("block-ipv4", profile.block_ipv4)
    block_ipv6 = wanted("block-ipv6", profile.block_ipv6)
    block_ipv6 = block_ipv6 or (profile.block_unused_ipv6 and not any(a.ipv6 for a in addresses))
    return TunSettings(
        addresses=addresses,
        mtu=min(max(mtu, 68), max(profile.tun_mtu_max, profile.tun_mtu)),
        networks=(*peers, *got.networks),
        reroute_ipv4=got.redirect and "!ipv4" not in got.flags and not block_ipv4,
        reroute_ipv6=got.redirect and "ipv6" in got.flags and not block_ipv6,
        bypass_server="local" not in got.flags,
        dns=_dns(profile, got),
        block_ipv4=block_ipv4,
        block_ipv6=block_ipv6,
        block_local="block-local" in got.flags,
        block_outside_dns=wanted("block-outside-dns", profile.block_outside_dns),
        kill_switch=profile.kill_switch,
        interface=profile.dev if profile.dev.startswith("tun") and profile.dev != "tun" else "",
        netns=profile.netns,
        route_table=profile.route_table,
        route_rules=_route_rules(profile),
        route_cgroups=profile.route_cgroups,
    )


def _route_rules(profile: Profile) -> tuple[RouteRule, ...]:
    by_mark = [RouteRule(mark.mark, mark.mask)] if (mark := profile.route_fwmark) else []
    return (*by_mark, *(RouteRule(0, 0, first, last) for first, last in profile.route_uids))


def _number(args: tuple[str, ...], otherwise: int | None) -> int | None:
    return int(args[0]) if args and args[0].isdecimal() and len(args[0]) < 8 else otherwise


def _addresses(last: Mapping[str, tuple[str, ...]]) -> tuple[tuple[Address, ...], list[Network]]:
    """Own addresses, and the peers that a point-to-point topology has."""
    found, peers = [], []
    try:
        if args := last.get("ifconfig"):
            gateway = (last.get("route-gateway") or ("",))[0]
            gateway = str(ipaddress.IPv4Address(gateway)) if gateway not in ("", "dhcp") else ""
            if last.get("topology") == ("subnet",):
                own = ipaddress.IPv4Interface(f"{args[0]}/{args[1]}")
                found.append(Address(str(own.ip), own.network.prefixlen, gateway, False))
            else:
                peer = str(ipaddress.IPv4Address(args[1]))
                found.append(Address(str(ipaddress.IPv4Address(args[0])), 32, gateway or peer, False))
                peers.append(Network(peer, 32, ipv6=False))
        if args := last.get("ifconfig-ipv6"):
            own6 = ipaddress.IPv6Interface(args[0])
            gateway = str(ipaddress.IPv6Address(args[1])) if len(args) > 1 else ""
            found.append(Address(str(own6.ip), own6.network.prefixlen, gateway, True))
    except (ValueError, IndexError) as e:
        raise ConfigurationRefused(f"the server pushed an address that can't be used: {e}") from None
    if not found:
        raise ConfigurationRefused("the server pushed no address (ifconfig or ifconfig-ipv6)")
    return tuple(found), peers


def _collect(got: _Collected, name: str, args: tuple[str, ...], metric: int) -> None:
    match name, args:
        case "route", (net, *rest):
            mask, gateway, own_metric = (*rest, *("default",) * 3)[:3]
            mask = "255.255.255.255" if mask == "default" and "/" not in net else mask
            network = ipaddress.IPv4Network(net if "/" in net else f"{net}/{mask}")
            got.networks.append(_network(network, gateway, own_metric, metric))
        case "route-ipv6", (net, *rest):
            gateway, own_metric = (*rest, *("default",) * 2)[:2]
            got.networks.append(_network(ipaddress.IPv6Network(net), gateway, own_metric, metric))
        case (("redirect-gateway" | "redirect-private"), flags):
            got.flags.update(flags)
            got.redirect = name == "redirect-gateway"
        case "dhcp-option", (("DNS" | "DNS6"), address, *_):
            got.dns.append(str(ipaddress.ip_address(address)))
        case "dhcp-option", (("DOMAIN" | "DOMAIN-SEARCH"), *domains):
            got.search.extend(_domain(d) for d in domains)
        case "dhcp-option", ("ADAPTER_DOMAIN_SUFFIX", domain, *_):
            got.search.insert(0, _domain(domain))
        case "dns", ("search-domains", *domains):
            got.dns_search.extend(_domain(d) for d in domains)
        case "dns", ("server", priority, what, *values):
            _collect_server(got.servers.setdefault(int(priority), _DnsServer()), what, values)


def _collect_server(server: _DnsServer, what: str, values: list[str]) -> None:
    match what, values:
        case "address", addresses:
            server.addresses += [_dns_address(address) for address in addresses]
        case "resolve-domains", domains:
            server.domains += [_domain(domain) for domain in domains]
        case "dnssec", [("yes" | "no" | "optional") as mode]:
            server.dnssec = mode
        case "transport", [mode] if mode.lower() in ("plain", "dot", "doh"):
            server.transport = mode.lower()
        case "sni", _:
            pass
        case _:
            raise ValueError("not understood")


def _dns_address(text: str) -> str:
    """ADDRESS, ADDRESS:53 or [ADDRESS]:53."""
    bare, bracket, port = text.removeprefix("[").partition("]") if text.startswith("[") else text.partition(":")
    if text.count(":") > 1 and not bracket.startswith("]"):
        bare, port = text, ""
    if port.removeprefix(":") not in ("", "53"):
        raise ValueError("a port other than 53 is not supported")
    return str(ipaddress.ip_address(bare))


def _dns(profile: Profile, got: _Collected) -> Dns:
    """Where there is a `dns server`, the one of the lowest number counts, and dhcp-options don't."""
    usable = {priority: server for priority, server in got.servers.items() if server.addresses}
    if usable:
        server = usable[min(usable)]
        servers, scope = server.addresses, "tunnel" if server.domains else ""
        domains = [*got.dns_search, *server.domains]
    else:
        server, servers, domains, scope = _DnsServer(), got.dns, [*got.search, *got.dns_search], ""
    return Dns(
        servers=tuple(dict.fromkeys(servers or (FALLBACK_DNS if profile.dns_fallback_google else ()))),
        domains=tuple(dict.fromkeys(domains)),
        scope=profile.dns_scope or scope,
        dnssec=server.dnssec,
        transport=server.transport,
    )


def _network(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, gateway: str, own_metric: str, metric: int
) -> Network:
    if gateway not in ("default", "vpn_gateway", "net_gateway") and not _is_address(gateway):
        raise ValueError(f"gateway {gateway} is not known here")
    if own_metric != "default":
        metric = int(own_metric)
    return Network(
        str(network.network_address),
        network.prefixlen,
        ipv6=network.version == 6,
        exclude=gateway == "net_gateway",
        metric=metric,
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _domain(text: str) -> str:
    if not text or len(text) > 253 or not all(c.isalnum() or c in "._-" for c in text):
        raise ValueError("not a domain name")
    return text


def mss_limit(mssfix: Mssfix | None, mtu: int, room: Callable[[int], int], *, ipv6_outer: bool, stream: bool) -> int:
    """Largest TCP segment (IPv4 inner) that goes through the tunnel without outer fragments; 0 is no limit.

    `room`: octets of payload that a data packet of so many octets has.
    """
    if mssfix is None:
        mssfix = Mssfix(DEFAULT_MSSFIX if mtu == 1500 else 0, "mtu")
    if mssfix.size == 0 or mssfix.mode == "fixed":
        return mssfix.size
    packet = mssfix.size - (2 if stream else 0)
    if mssfix.mode == "mtu":
        packet -= (40 if ipv6_outer else 20) + (20 if stream else 8)
    return max(room(packet) - 40, 0)

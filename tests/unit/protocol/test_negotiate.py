import pytest

from ovpn3.constants import Framing
from ovpn3.protocol.actions import Failed, FailureKind
from ovpn3.protocol.config import SessionConfig, WrapConfig, WrapMode
from ovpn3.protocol.failure import SessionEnd
from ovpn3.protocol.negotiate import ANNOUNCED, Announce, negotiate, options_string, peer_info
from ovpn3.protocol.push import PushAssembler
from tests.support.vectors import load

MESSAGES = load("messages")
CONFIG = SessionConfig()
CIPHER = ("cipher", ("AES-256-GCM",))


def test_announced_bits_are_those_of_the_protocol():
    bits = MESSAGES["iv_proto_bits"]
    for bit in Announce:
        assert bits[bit.name] == bit
    assert not ANNOUNCED & (bits["DNS_OPTION_old"] | bits["NCP_P2P"])
    assert ANNOUNCED == 8094


def test_peer_info_lines():
    config = SessionConfig(gui_version="x\ny 1", peer_info=(("UV_A", "b"), ("UV_EMPTY", "")))
    lines = peer_info(config).splitlines()
    assert "IV_PROTO=8094" in lines
    assert "IV_CIPHERS=AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305" in lines
    assert "IV_GUI_VER=xy 1" in lines
    assert lines[-1] == "UV_A=b"
    assert all("=" in line for line in lines)


def test_options_string():
    wrap = WrapConfig(WrapMode.TLS_AUTH, direction=1)
    assert options_string(CONFIG) == (
        "V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto UDPv4,cipher AES-256-GCM,auth [null-digest],"
        "keysize 256,key-method 2,tls-client"
    )
    assert options_string(SessionConfig(stream=True, wrap=wrap, data_ciphers=("AES-128-GCM",))) == (
        "V4,dev-type tun,link-mtu 1551,tun-mtu 1500,proto TCPv4_CLIENT,keydir 1,cipher AES-128-GCM,"
        "auth [null-digest],keysize 128,tls-auth,key-method 2,tls-client"
    )


def test_a_real_reply():
    options = PushAssembler().add(MESSAGES["real_push_replies"]["2.6.14, all flags"])
    agreed = negotiate(options, CONFIG)
    assert (agreed.cipher, agreed.peer_id) == ("AES-256-GCM", 0)
    assert agreed.tls_ekm
    assert agreed.cc_exit
    assert agreed.dynamic_wrap
    assert (agreed.ping, agreed.ping_restart, agreed.reneg_sec) == (10, 60, 3600)


def test_a_server_of_few_words():
    agreed = negotiate([], SessionConfig(fallback_cipher="AES-128-GCM"))
    assert (agreed.cipher, agreed.peer_id) == ("AES-128-GCM", None)
    assert (agreed.tls_ekm, agreed.cc_exit, agreed.dynamic_wrap) == (False, False, False)
    assert (agreed.ping, agreed.ping_restart) == (CONFIG.ping, CONFIG.ping_restart)


def test_key_derivation_alone():
    assert negotiate([CIPHER, ("key-derivation", ("tls-ekm",))], CONFIG).tls_ekm


@pytest.mark.parametrize(("text", "peer_id"), [("-1", None), ("0", 0), ("16777214", 16777214), ("16777215", None)])
def test_peer_ids(text, peer_id):
    assert negotiate([CIPHER, ("peer-id", (text,))], CONFIG).peer_id == peer_id


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ([("cipher", ("AES-192-GCM",))], FailureKind.CIPHER),
        ([("cipher", ("BF-CBC",))], FailureKind.CIPHER),
        ([], FailureKind.CIPHER),
        ([CIPHER, ("peer-id", ("16777216",))], FailureKind.PUSH),
        ([CIPHER, ("peer-id", ("x",))], FailureKind.PUSH),
        ([CIPHER, ("protocol-flags", ("tls-ekm", "aead-epoch"))], FailureKind.PUSH),
        ([CIPHER, ("comp-lzo", ())], FailureKind.COMPRESSION),
        ([CIPHER, ("comp-lzo", ("adaptive",))], FailureKind.COMPRESSION),
        ([CIPHER, ("compress", ("lz4-v2",))], FailureKind.COMPRESSION),
        ([CIPHER, ("compress", ("lzo",))], FailureKind.COMPRESSION),
    ],
)
def test_refusals(options, kind):
    with pytest.raises(SessionEnd) as caught:
        negotiate(options, CONFIG)
    assert isinstance(caught.value.action, Failed)
    assert (caught.value.action.kind, caught.value.action.fatal) == (kind, True)


@pytest.mark.parametrize(
    ("pushed", "framing"),
    [
        ([("comp-lzo", ("no",))], Framing.LZO_STUB),
        ([("compress", ())], Framing.STUB),
        ([("compress", ("stub",))], Framing.STUB),
        ([("compress", ("stub-v2",))], Framing.STUB_V2),
        ([("compress", ("migrate",))], Framing.NONE),
        ([], Framing.LZO_STUB),
    ],
)
def test_framings(pushed, framing):
    assert negotiate([CIPHER, *pushed], SessionConfig(framing=Framing.LZO_STUB)).framing is framing


@pytest.mark.parametrize(
    ("pushed", "decompressors", "framing"),
    [
        ("comp-lzo", ("lzo",), Framing.LZO_STUB),
        ("comp-lzo yes", ("lzo", "lz4"), Framing.LZO_STUB),
        ("comp-lzo adaptive", ("lzo",), Framing.LZO_STUB),
        ("compress lzo", ("lzo",), Framing.LZO_STUB),
        ("compress lz4", ("lz4",), Framing.STUB),
        ("compress lz4-v2", ("lz4",), Framing.STUB_V2),
        ("compress stub", (), Framing.STUB),
    ],
)
def test_compression_that_is_allowed(pushed, decompressors, framing):
    name, *arguments = pushed.split()
    assert negotiate([CIPHER, (name, tuple(arguments))], SessionConfig(decompressors=decompressors)).framing is framing


@pytest.mark.parametrize(
    ("pushed", "decompressors", "remedy"),
    [
        ("compress lz4", ("lzo",), ", or install liblz4"),
        ("comp-lzo", (), ", or install liblzo2"),
        ("comp-lzo", None, ", or set allow-compression to asym"),
        ("compress snappy", ("lzo", "lz4"), ""),
        ("compress snappy", None, ""),
    ],
)
def test_compression_that_is_refused(pushed, decompressors, remedy):
    name, *arguments = pushed.split()
    with pytest.raises(SessionEnd) as caught:
        negotiate([CIPHER, (name, tuple(arguments))], SessionConfig(decompressors=decompressors))
    why = f"the server pushed compression ({pushed}), which is refused: remove it from the server{remedy}"
    assert caught.value.action.reason == why


@pytest.mark.parametrize(
    ("decompressors", "told"),
    [
        (None, "IV_LZO_STUB"),
        ((), "IV_LZO_STUB"),
        (("lzo",), "IV_LZO"),
        (("lz4",), "IV_LZ4 IV_LZ4v2 IV_LZO_STUB"),
        (("lzo", "lz4"), "IV_LZ4 IV_LZ4v2 IV_LZO"),
    ],
)
def test_compressions_that_are_announced(decompressors, told):
    lines = peer_info(SessionConfig(decompressors=decompressors)).splitlines()
    found = [line for line in lines if line.startswith(("IV_LZ", "IV_COMP"))]
    assert found == [f"{name}=1" for name in [*told.split(), "IV_COMP_STUB", "IV_COMP_STUBv2"]]


@pytest.mark.parametrize("framing", Framing)
def test_any_framing_is_announced_for_servers_that_give_it_up(framing):
    assert (",comp-lzo," in options_string(SessionConfig(framing=framing))) == (framing is not Framing.NONE)


def test_epochs():
    flags = ("protocol-flags", ("aead-epoch", "tls-ekm"))
    options = [CIPHER, ("peer-id", ("7",)), flags]
    assert negotiate(options, CONFIG).epochs
    assert not negotiate(options[:2], CONFIG).epochs
    without = SessionConfig(epoch_keys=False)
    assert "IV_PROTO=7070\n" in peer_info(without)
    cbc = [("cipher", ("AES-256-CBC",)), *options[1:]]
    for refused, config in ((options, without), ([CIPHER, flags], CONFIG), (cbc, CBC)):
        with pytest.raises(SessionEnd) as caught:
            negotiate(refused, config)
        assert "epoch" in caught.value.action.reason


def test_letter_case():
    assert negotiate([("cipher", ("aes-128-gcm",))], CONFIG).cipher == "AES-128-GCM"


CBC = SessionConfig(data_ciphers=("AES-256-CBC",), auth="SHA512", framing=Framing.LZO_STUB)


def test_cbc_and_its_digest():
    pushed = ("cipher", ("AES-256-CBC",))
    assert negotiate([pushed], CBC).digest == "SHA512"
    assert negotiate([pushed, ("auth", ("sha256",))], CBC).digest == "SHA256"
    assert negotiate([pushed, ("auth", ("none",))], CBC).digest == "NONE"
    assert negotiate([CIPHER, ("auth", ("WHIRLPOOL",))], CONFIG).digest == "NONE"
    with pytest.raises(SessionEnd) as caught:
        negotiate([pushed, ("auth", ("WHIRLPOOL",))], CBC)
    assert "WHIRLPOOL" in caught.value.action.reason
    assert "comp-lzo,cipher AES-256-CBC,auth SHA512,keysize 256" in options_string(CBC)


def test_a_fallback():
    assert negotiate([], SessionConfig(fallback_cipher="AES-256-CBC", auth="SHA1")).cipher == "AES-256-CBC"
    with pytest.raises(SessionEnd) as caught:
        negotiate([], SessionConfig(fallback_cipher="BF-CBC"))
    assert "BF-CBC is not available" in caught.value.action.reason


def test_the_last_of_several_counts():
    assert negotiate([("cipher", ("AES-192-GCM",)), CIPHER], CONFIG).cipher == "AES-256-GCM"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ping", "x", 8.0),
        ("ping", "-1", 8.0),
        ("ping_restart", "0", 0.0),
        ("ping_restart", "99999999999", 604800.0),
        ("reneg_sec", "3", 10.0),
        ("reneg_sec", "60", 60.0),
    ],
)
def test_pushed_durations(name, text, value):
    agreed = negotiate([CIPHER, (name.replace("_", "-"), (text,))], CONFIG)
    assert getattr(agreed, name) == value

"""The data channel one packet at a time, against published packets and the reference."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3._fast import channel as compiled
from ovpn3._fast.channel import DataChannel
from ovpn3._fast.packet import pack_data_header, unpack_data_header
from ovpn3.constants import Framing
from ovpn3.datapath import reference
from ovpn3.datapath.engine import AEAD_CIPHERS, CBC_CIPHERS, CIPHERS, Cipher, cipher, events, payload_room
from ovpn3.datapath.engine import EventKind as Kind
from ovpn3.datapath.stats import STATISTICS, as_statistics
from ovpn3.errors import AuthenticationFailed, CryptoError, PeerError
from ovpn3.protocol.keys import DIGEST_BYTES, Key2, data_keys

DATA = Path(__file__).parents[1] / "data/vectors"
VECTORS, CBC, EPOCH = (
    json.loads((DATA / name).read_text()) for name in ("data_aead.json", "data_cbc.json", "epoch.json")
)
ids = st.integers(0, 7)
peers = st.none() | st.integers(0, 0xFFFFFE)
ciphers = st.sampled_from(list(AEAD_CIPHERS.values()))
cbc_ciphers = st.sampled_from(list(CBC_CIPHERS.values()))
digests = st.sampled_from(["", "MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"])
GCM, CHACHA = CIPHERS["AES-256-GCM"], CIPHERS["CHACHA20-POLY1305"]
KEY, IV = bytes(range(32)), bytes(range(8))
WIRE_NONE = -1


def channel(
    cipher: Cipher = GCM,
    key_id: int = 0,
    peer_id: int | None = 5,
    key: bytes = KEY,
    *,
    fast: bool = True,
    packets_sent: int = 0,
    units_used: int = 0,
) -> DataChannel:
    """Sends to itself: one key for both directions."""
    made, key = DataChannel(), key[: cipher.key_bytes]
    number = WIRE_NONE if peer_id is None else peer_id
    spent = {"packets_sent": packets_sent, "units_used": units_used}
    made.install(key_id, cipher.number, key, IV, key, IV, number, **spent, fast=fast)
    made.use(key_id)
    return made


@pytest.mark.parametrize("case", VECTORS["synthetic"], ids=lambda case: case["id"])
def test_published_packets(case: dict[str, Any]) -> None:
    key, iv, plain, packet = (bytes.fromhex(case[n]) for n in ("key", "implicit_iv", "plaintext", "packet"))
    peer_id = WIRE_NONE if case["peer_id"] is None else case["peer_id"]
    made = DataChannel()
    made.install(
        case["key_id"], CIPHERS[case["cipher"]].number, key, iv, key, iv, peer_id, packets_sent=case["packet_id"] - 1
    )
    made.use(case["key_id"])
    assert made.seal(plain) == packet
    assert made.open(packet, 0) == plain


@pytest.mark.parametrize("case", VECTORS["captured"], ids=lambda case: case["id"])
def test_captured_packets(case: dict[str, Any]) -> None:
    keys = data_keys(Key2(bytes.fromhex(case["key2"])), case["cipher"])
    sent, answer = bytes.fromhex(case["c2s_packet"]), bytes.fromhex(case["s2c_packet"])
    made = DataChannel()
    peer_id = WIRE_NONE if sent[0] >> 3 == 6 else int.from_bytes(sent[1:4])
    key_id, packet_id, _, _ = unpack_data_header(sent)
    secrets = (keys.send_key.view(), keys.send_iv.view(), keys.recv_key.view(), keys.recv_iv.view())
    made.install(key_id, CIPHERS[case["cipher"]].number, *secrets, peer_id, packets_sent=packet_id - 1)
    keys.wipe()  # the channel has its own copy
    made.use(key_id)
    assert made.seal(bytes.fromhex(case["c2s_plaintext"])) == sent
    assert made.open(answer, 0) == bytes.fromhex(case["s2c_plaintext"])


@pytest.mark.parametrize("case", VECTORS["negative"], ids=lambda case: case["id"])
def test_forged_packets(case: dict[str, Any]) -> None:
    keys = data_keys(Key2(bytes.fromhex(VECTORS["negative"][0]["key2"])), GCM.name)
    made = DataChannel()
    # They are a client's packets: the server receives with what the client sends with.
    secrets = (keys.recv_key.view(), keys.recv_iv.view(), keys.send_key.view(), keys.send_iv.view())
    made.install(0, GCM.number, *secrets)
    with pytest.raises(ValueError, match="forged"):
        made.open(bytes.fromhex(case["packet"]), 0)


@pytest.mark.parametrize("fast", [True, False], ids=["ipsec-mb if there", "libcrypto"])
@given(ciphers, ids, peers, st.integers(0, 0xFFFFFFFD), st.binary(max_size=2000))
def test_agrees_with_the_reference(
    fast: bool, cipher: Cipher, key_id: int, peer_id: int | None, sent: int, plain: bytes
) -> None:
    made = channel(cipher, key_id, peer_id, packets_sent=sent, fast=fast)
    key = KEY[: cipher.key_bytes]
    packet = reference.seal_aead(cipher.name, key, IV, key_id, peer_id, sent + 1, plain)
    assert made.seal(plain) == packet
    assert made.open(packet, 0) == plain


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: b"\x48\0\0\5\0\0\0\1" + rest))
def test_any_octets_are_judged_as_by_the_reference(packet: bytes) -> None:
    made = channel()
    try:
        reference.open_aead(GCM.name, KEY, IV, packet)
    except PeerError:
        expected = "malformed"
    except AuthenticationFailed:
        expected = "no key" if packet[0] & 7 else "forged"
    with pytest.raises(ValueError, match=expected):
        made.open(packet, 0)


@given(st.binary(max_size=10))
def test_headers_are_read_as_by_the_reference(packet: bytes) -> None:
    try:
        header, rest = reference.split_header(packet)
        expected = (header[0] & 7, int.from_bytes(rest[:4]), int(len(header) == 1), len(header) + 4)
        readable = len(rest) >= 4
    except PeerError:
        readable = False
    if readable:
        assert unpack_data_header(packet) == expected
    else:
        with pytest.raises(ValueError, match="not a data packet"):
            unpack_data_header(packet)


@given(ids, peers, st.integers(0, 0xFFFFFFFF))
def test_headers_are_written_as_by_the_reference(key_id: int, peer_id: int | None, packet_id: int) -> None:
    wire_peer = 0xFFFFFF if peer_id is None else peer_id
    expected = reference.pack_header(key_id, peer_id) + packet_id.to_bytes(4)
    assert pack_data_header(key_id, wire_peer, packet_id) == expected


# -- CBC ------------------------------------------------------------------------------------------
def cbc_channel(
    cipher: Cipher, digest: str, key_id: int = 0, peer_id: int | None = 5, *, sent: int = 0, framing: int = 0
) -> DataChannel:
    made, key = DataChannel(), KEY[: cipher.key_bytes]
    mac = bytes(range(64))[: DIGEST_BYTES.get(digest, 0)]
    number = WIRE_NONE if peer_id is None else peer_id
    how: dict[str, Any] = {"digest": digest, "framing": framing, "packets_sent": sent}
    made.install(key_id, cipher.number, key, mac, key, mac, number, **how)
    made.use(key_id)
    return made


@pytest.mark.parametrize("case", CBC["synthetic"], ids=lambda case: case["id"])
def test_published_cbc_packets(case: dict[str, Any]) -> None:
    """What we seal has an IV of its own each time; what is published we can open."""
    key, mac, plain, packet = (bytes.fromhex(case[n]) for n in ("key", "hmac_key", "plaintext", "packet"))
    made = DataChannel()
    number = CIPHERS[case["cipher"]].number
    made.install(case["key_id"], number, key, mac, key, mac, case["peer_id"] or WIRE_NONE, digest=case["auth"])
    assert made.open(packet, 0) == plain
    with pytest.raises(ValueError, match="replayed"):
        made.open(packet, 0)


@pytest.mark.parametrize("case", CBC["captured"], ids=lambda case: case["id"])
def test_captured_cbc_packets(case: dict[str, Any]) -> None:
    keys = data_keys(Key2(bytes.fromhex(case["key2"])), case["cipher"], case["auth"])
    ours = (keys.send_key.view(), keys.send_hmac.view(), keys.recv_key.view(), keys.recv_hmac.view())
    client, server = DataChannel(), DataChannel()
    for end, secrets in ((client, ours), (server, ours[2:] + ours[:2])):
        end.install(0, CIPHERS[case["cipher"]].number, *secrets, digest=case["auth"])
    assert server.open(bytes.fromhex(case["c2s_packet"]), 0) == bytes.fromhex(case["c2s_plaintext"])
    assert client.open(bytes.fromhex(case["s2c_packet"]), 0) == bytes.fromhex(case["s2c_plaintext"])


@given(cbc_ciphers, digests, ids, peers, st.integers(0, 0xFFFFFFFD), st.binary(max_size=2000))
def test_cbc_agrees_with_the_reference(
    cipher: Cipher, digest: str, key_id: int, peer_id: int | None, sent: int, plain: bytes
) -> None:
    made = cbc_channel(cipher, digest, key_id, peer_id, sent=sent)
    key, mac = KEY[: cipher.key_bytes], bytes(range(64))[: DIGEST_BYTES.get(digest, 0)]
    packet = made.seal(plain)
    opened = reference.open_cbc(key, digest, mac, packet)
    assert (opened.key_id, opened.packet_id, opened.payload) == (key_id, sent + 1, plain)
    assert packet == reference.seal_cbc(
        key, digest, mac, key_id, peer_id, sent + 1, plain, packet[(at := len(packet) - cbc_bytes(plain)) : at + 16]
    )
    assert made.open(packet, 0) == plain


def cbc_bytes(plain: bytes) -> int:
    """Of IV and ciphertext."""
    return 16 + (4 + len(plain)) // 16 * 16 + 16


@given(cbc_ciphers, st.binary(max_size=300), st.integers(0, 2000), st.integers(1, 255))
def test_a_cbc_packet_that_was_touched_is_refused(cipher: Cipher, plain: bytes, where: int, flip: int) -> None:
    made = cbc_channel(cipher, "SHA256")
    packet = bytearray(made.seal(plain))
    where = 4 + where % (len(packet) - 4)  # the header isn't authenticated
    packet[where] ^= flip
    with pytest.raises(ValueError, match="forged"):
        made.open(bytes(packet), 0)
    with pytest.raises(ValueError, match=r"forged|malformed"):
        made.open(bytes(packet[:-1]), 0)


@given(digests, st.binary(max_size=120))
def test_any_octets_are_no_cbc_packet(digest: str, rest: bytes) -> None:
    made = cbc_channel(CIPHERS["AES-256-CBC"], digest)
    packet = b"\x48\0\0\5" + rest
    try:
        mac = bytes(range(64))[: DIGEST_BYTES.get(digest, 0)]
        expected = reference.open_cbc(KEY, digest, mac, packet)
    except (PeerError, AuthenticationFailed):
        with pytest.raises(ValueError, match=r"forged|malformed"):
            made.open(packet, 0)
    else:
        assert not digest  # nothing but a right padding is asked for
        assert expected.packet_id == 0 or made.open(packet, 0) == expected.payload


# -- epochs -----------------------------------------------------------------------------------------
FUTURE = 16  # epochs ahead that are recognised


def epoch_channel(
    cipher: Cipher = GCM, secret: bytes = KEY, key_id: int = 0, peer_id: int = 5, **how: int
) -> DataChannel:
    """Sends to itself, from the first epoch on."""
    made = DataChannel()
    made.install(key_id, cipher.number, secret, b"", secret, b"", peer_id, epochs=True, **how)  # type: ignore[arg-type]
    made.use(key_id)
    return made


def epoch(number: int, secret: bytes = KEY) -> reference.Epoch:
    found = reference.Epoch(1, secret)
    while found.number < number:
        found = found.next()
    return found


def number_of(packet: bytes) -> int:
    return int.from_bytes(packet[4:6])


@pytest.mark.parametrize("case", EPOCH["synthetic"], ids=lambda case: case["id"])
def test_published_epoch_packets(case: dict[str, Any]) -> None:
    made = epoch_channel(CIPHERS[case["cipher"]], bytes.fromhex(EPOCH["E1"]), case["key_id"], case["peer_id"])
    plain, packet = bytes.fromhex(case["plaintext"]), bytes.fromhex(case["packet"])
    assert made.open(packet, 0) == plain
    answer = made.seal(plain)
    assert number_of(answer) == case["epoch"]  # it follows
    if case["counter"] == 1:
        assert answer == packet


@pytest.mark.parametrize("case", EPOCH["captured"], ids=lambda case: case["id"])
def test_captured_epoch_packets(case: dict[str, Any]) -> None:
    keys = data_keys(Key2(bytes.fromhex(case["key2"])), case["cipher"], epochs=True)
    secrets = (keys.send_key.view(), b"", keys.recv_key.view(), b"")
    client, server = DataChannel(), DataChannel()
    for end, ours in ((client, secrets), (server, secrets[2:] + secrets[:2])):
        end.install(0, CIPHERS[case["cipher"]].number, *ours, 0, epochs=True)
    for end, way in ((server, case["c2s"]), (client, case["s2c"])):
        assert end.open(bytes.fromhex(way["packet"]), 0) == bytes.fromhex(way["plaintext"])


@given(
    ciphers,
    ids,
    st.integers(0, 0xFFFFFE),
    st.integers(1, FUTURE + 1),
    st.integers(1, 2**48 - 1),
    st.binary(max_size=99),
)
def test_epochs_agree_with_the_reference(
    cipher: Cipher, key_id: int, peer_id: int, number: int, counter: int, plain: bytes
) -> None:
    made = epoch_channel(cipher, KEY, key_id, peer_id)
    packet = epoch(number).seal(cipher.name, key_id, peer_id, counter, plain)
    assert made.open(packet, 0) == plain
    assert made.seal(plain) == epoch(number).seal(cipher.name, key_id, peer_id, 1, plain)
    with pytest.raises(ValueError, match="replayed"):
        made.open(packet, 0)
    room = payload_room(len(packet), cipher=cipher, digest_bytes=0, framing=Framing.NONE, peer_id=True, epochs=True)
    assert room == len(plain)


@given(st.lists(st.integers(-3, FUTURE + 2), max_size=12))
def test_the_epochs_that_are_known(steps: list[int]) -> None:
    """One back, and sixteen ahead of the latest one that was heard of."""
    made, current = epoch_channel(), 1
    for counter, step in enumerate(steps, 1):
        number = current + step
        if number < 1:
            continue
        packet = epoch(number).seal(GCM.name, 0, 5, counter, b"x")
        if -1 <= step <= FUTURE:
            assert made.open(packet, 0) == b"x"
            current = max(current, number)
        else:
            with pytest.raises(ValueError, match="no key"):
                made.open(packet, 0)
    assert number_of(made.seal(b"")) == current


def test_each_epoch_has_a_replay_window_of_its_own() -> None:
    made = epoch_channel()
    for number, counter in ((1, 7), (2, 7), (1, 6), (2, 6)):
        packet = epoch(number).seal(GCM.name, 0, 5, counter, b"x")
        assert made.open(packet, 0) == b"x"
        with pytest.raises(ValueError, match="replayed"):
            made.open(packet, 0)


def test_what_is_forged_does_not_move_the_epoch() -> None:
    made = epoch_channel()
    packet = epoch(3).seal(GCM.name, 0, 5, 1, b"x")
    for at in (0, 1, 5, 11, 12, -1):
        forged = bytearray(packet)
        forged[at] ^= 2
        with pytest.raises(ValueError, match=r"forged|no key"):
            made.open(forged, 0)
    assert number_of(made.seal(b"")) == 1


def test_the_next_epoch_begins_when_a_key_is_used_up() -> None:
    far, near = epoch_channel(units_used=(1 << 36) - 1 - 4), epoch_channel()
    sealed = [far.seal(bytes(33)) for _ in range(3)]
    assert [number_of(packet) for packet in sealed] == [1, 2, 2]
    assert [int.from_bytes(packet[6:12]) for packet in sealed] == [1, 1, 2]
    assert [near.open(packet, 0) for packet in sealed] == [bytes(33)] * 3
    assert (far.expiring, near.expiring) == ([], [])


def test_a_handshake_is_due_before_the_epochs_end() -> None:
    made, here = epoch_channel(), epoch(1)
    while here.number < 0xFFFF:
        for _ in range(FUTURE):
            here = here.next() if here.number < 0xFFFF else here
        packet = here.seal(GCM.name, 0, 5, 1, b"x")
        if here.number > 0xFFFF - FUTURE - 1:
            with pytest.raises(ValueError, match="no key"):
                made.open(packet, 0)
        else:
            assert made.open(packet, 0) == b"x"
            made.seal(b"")
            assert bool(made.expiring) == (here.number >= 0xF000)


@pytest.mark.parametrize(("cipher", "peer_id", "secret"), [("AES-256-CBC", 5, KEY), ("AES-256-GCM", -1, KEY)])
def test_epochs_have_their_conditions(cipher: str, peer_id: int, secret: bytes) -> None:
    with pytest.raises(ValueError, match="epochs"):
        epoch_channel(CIPHERS[cipher], secret, 0, peer_id)
    with pytest.raises(ValueError, match="length"):
        epoch_channel(secret=secret[:16])


def test_epochs_with_framing() -> None:
    framed, bare = epoch_channel(framing=Framing.STUB), epoch_channel()
    assert framed.open(packet := framed.seal(b"payload"), 0) == b"payload"
    assert bare.open(packet, 0) == FRAMED[Framing.STUB](b"payload")


# -- framing ----------------------------------------------------------------------------------------
FRAMED = {
    Framing.NONE: lambda p: p,
    Framing.LZO_STUB: lambda p: b"\xfa" + p,
    Framing.STUB: lambda p: b"\xfb" + p[1:] + p[:1] if p else p,
    Framing.STUB_V2: lambda p: b"\x50\0" + p if p[:1] == b"\x50" else p,
}


def test_numbers_of_framings() -> None:
    assert (compiled.NO_FRAMING, compiled.LZO_STUB_FRAMING) == (Framing.NONE, Framing.LZO_STUB)
    assert (compiled.STUB_FRAMING, compiled.STUB_V2_FRAMING) == (Framing.STUB, Framing.STUB_V2)


@pytest.mark.parametrize("framing", Framing)
@given(st.sampled_from(list(CIPHERS.values())), st.binary(min_size=1, max_size=2000) | st.just(b"\x50\0x"))
def test_framing(framing: Framing, cipher: Cipher, plain: bytes) -> None:
    bare, framed = (
        cbc_channel(cipher, "SHA1", framing=f) if cipher.cbc else framed_channel(cipher, f) for f in (0, int(framing))
    )
    packet = framed.seal(plain)
    assert framed.open(packet, 0) == plain
    assert bare.open(packet, 0) == FRAMED[framing](plain)
    room = payload_room(len(packet), cipher=cipher, digest_bytes=20, framing=framing, peer_id=True)
    assert room >= len(plain) or plain[:1] == b"\x50"


def framed_channel(cipher: Cipher, framing: int) -> DataChannel:
    made, key = DataChannel(), KEY[: cipher.key_bytes]
    made.install(0, cipher.number, key, IV, key, IV, 5, framing=framing)
    made.use(0)
    return made


@pytest.mark.parametrize(
    ("framing", "payload"),
    [
        (Framing.LZO_STUB, b"\x66data"),
        (Framing.LZO_STUB, b""),
        (Framing.STUB, b"\x69data"),
        (Framing.STUB, b""),
        (Framing.STUB, b"\xfb"),
        (Framing.STUB_V2, b"\x50"),
        (Framing.STUB_V2, b"\x50\1data"),
        (Framing.STUB_V2, b"\x50\2data"),
        (Framing.STUB, b"\x66data"),
    ],
)
def test_what_is_compressed_is_refused(framing: Framing, payload: bytes) -> None:
    compressed = (Framing.LZO_STUB, b"\x66"), (Framing.STUB, b"\x69"), (Framing.STUB_V2, b"\x50\1")
    packet = framed_channel(GCM, 0).seal(payload)
    known = any(framing is of and payload.startswith(start) for of, start in compressed)
    with pytest.raises(ValueError, match="compressed" if known else "malformed"):
        framed_channel(GCM, framing).open(packet, 0)
    assert framed_channel(GCM, Framing.STUB).open(framed_channel(GCM, 0).seal(b"\xfaplain"), 0) == b"plain"


@given(st.integers(200, 3000), st.sampled_from(list(CIPHERS.values())), st.sampled_from(Framing), st.booleans())
def test_the_largest_payload_that_fits(size: int, cipher: Cipher, framing: Framing, has_peer_id: bool) -> None:
    room = payload_room(size, cipher=cipher, digest_bytes=32, framing=framing, peer_id=has_peer_id)
    peer_id = 5 if has_peer_id else None
    made = cbc_channel(cipher, "SHA256", 0, peer_id, framing=framing) if cipher.cbc else DataChannel()
    if not cipher.cbc:
        key = KEY[: cipher.key_bytes]
        made.install(0, cipher.number, key, IV, key, IV, 5 if has_peer_id else WIRE_NONE, framing=framing)
        made.use(0)
    assert len(made.seal(b"\x45" * room)) <= size < len(made.seal(b"\x45" * (room + 1)))


# -- limits -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("limit", "both", "rounds"),
    [
        ({"reneg_bytes": 1000}, False, 11),
        ({"reneg_bytes": 1000}, True, 6),
        ({"reneg_packets": 10}, False, 10),
        ({"reneg_packets": 10}, True, 5),
    ],
)
def test_a_key_expires_after_so_much(limit: dict[str, int], both: bool, rounds: int) -> None:
    made, count = DataChannel(), 0
    made.install(0, GCM.number, KEY, IV, KEY, IV, 5, **limit)  # type: ignore[arg-type]
    made.use(0)
    while not made.expiring:
        packet = made.seal(bytes(100))
        if both:
            made.open(packet, 0)
        count += 1
    assert count == rounds


def test_replays_and_old_keys() -> None:
    made = channel()
    first = made.seal(b"one")
    assert made.open(first, 0) == b"one"
    with pytest.raises(ValueError, match="replayed"):
        made.open(first, 1)
    second = made.seal(b"two")
    made.retire(0)
    for call in (lambda: made.open(second, 1), lambda: made.seal(b"three"), lambda: made.use(0)):
        with pytest.raises(ValueError, match=r"no (such )?key"):
            call()


@pytest.mark.parametrize("epochs", [False, True])
@pytest.mark.parametrize(("reach", "silence_s", "accepted"), [(3, 30, False), (4, 30, True), (4, 1, False)])
def test_how_late_a_packet_may_be(epochs: bool, reach: int, silence_s: float, accepted: bool) -> None:
    made, key = DataChannel(), KEY
    iv = b"" if epochs else IV
    made.install(0, GCM.number, key, iv, key, iv, 5, epochs=epochs, replay_reach=reach, replay_silence_s=silence_s)
    made.use(0)
    late, *packets = [made.seal(b"x") for _ in range(4)]
    for packet in packets:
        made.open(packet, 0)
    if accepted:
        assert made.open(late, 1) == b"x"
    else:
        with pytest.raises(ValueError, match="replayed"):
            made.open(late, 1)


def test_a_new_key_of_the_same_id_replaces_the_old_one() -> None:
    made = channel()
    old = made.seal(b"old")
    made.install(0, GCM.number, KEY[::-1], IV, KEY[::-1], IV)
    with pytest.raises(ValueError, match="forged"):
        made.open(old, 0)
    with pytest.raises(ValueError, match="no key"):
        made.seal(b"not before it is chosen")


def test_packet_ids_end() -> None:
    made = channel(packets_sent=0xFF000000 - 2)
    made.seal(b"")
    assert made.expiring == []
    made.seal(b"")
    assert made.expiring == [0]
    made = channel(packets_sent=0xFFFFFFFD)
    assert made.seal(b"")[4:8] == b"\xff\xff\xff\xfe"
    for _ in range(2):
        with pytest.raises(ValueError, match="spent"):
            made.seal(b"")


def test_the_peers_packet_ids_end_too() -> None:
    made = channel()
    made.open(reference.seal_aead(GCM.name, KEY, IV, 0, 5, 0xFEFFFFFF, b""), 0)
    assert made.expiring == []
    made.open(reference.seal_aead(GCM.name, KEY, IV, 0, 5, 0xFF000000, b""), 0)
    assert made.expiring == [0]


def test_an_aes_gcm_key_seals_so_much() -> None:
    # 33 bytes are three blocks, and the packet counts as one more.
    made = channel(units_used=(1 << 36) // 8 * 7 - 4)
    made.seal(bytes(33))
    assert made.expiring == []
    made.seal(b"")
    assert made.expiring == [0]
    made = channel(units_used=(1 << 36) - 1 - 4)
    made.seal(bytes(33))
    with pytest.raises(ValueError, match="spent"):
        made.seal(b"")


def test_an_aes_gcm_key_opens_so_much() -> None:
    made = channel(units_used=(1 << 36) - 2)
    first, second, third = (reference.seal_aead(GCM.name, KEY, IV, 0, 5, i, b"") for i in (1, 2, 3))
    made.open(first, 0)
    assert made.expiring == [0]
    made.open(second, 0)
    with pytest.raises(ValueError, match="spent"):
        made.open(third, 0)


def test_chacha_has_no_such_limit() -> None:
    made = channel(CHACHA, units_used=(1 << 36) // 8 * 7)
    assert made.open(made.seal(b"x"), 0) == b"x"
    assert made.expiring == []


def test_key_ids_and_sizes_are_checked() -> None:
    made = channel()
    for wrong in (-1, 1, 8):
        with pytest.raises(ValueError, match="no such key"):
            made.use(wrong)
        with pytest.raises(ValueError, match="no such key"):
            made.retire(wrong)
    with pytest.raises(ValueError, match="too long"):
        made.seal(bytes(65536))
    with pytest.raises(ValueError, match="too long"):
        made.open(bytes(70000), 0)
    with pytest.raises(ValueError, match="time"):
        made.open(b"", -1)
    for args in ((8, 5, 1), (-1, 5, 1), (0, 1 << 24, 1)):
        with pytest.raises(ValueError, match="out of range"):
            pack_data_header(*args)


# ---- names ----


def test_cipher_names() -> None:
    assert cipher("aes-256-gcm") is GCM
    assert cipher("ChaCha20-Poly1305") is CHACHA
    with pytest.raises(CryptoError, match="BF-CBC"):
        cipher("BF-CBC")


def test_events_by_name() -> None:
    assert [e.kind for e in events([(int(kind), 0, b"") for kind in Kind])] == list(Kind)


def test_statistics_leave_zeros_out_and_keep_their_order() -> None:
    counters = dict.fromkeys((part for parts in STATISTICS.values() for part in parts), 0)
    assert as_statistics(counters) == {}
    everything = as_statistics(dict.fromkeys(counters, 1))
    assert list(everything) == list(STATISTICS)
    assert everything["BUFFER_ERROR"] == 3

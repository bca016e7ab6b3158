import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import PeerError
from ovpn3.protocol.keymethod import make_source, pack_client, unpack_server
from ovpn3.protocol.keys import KeySource
from ovpn3.secret import Secret
from tests.support.vectors import load

VECTORS = load("messages")["key_method_2"]
SERVER = bytes.fromhex(VECTORS["server"]["message"])


def client(**changes):
    fields = VECTORS["client"]["fields"] | changes
    source = KeySource(
        pre_master=Secret(bytes.fromhex(fields["pre_master"])),
        random1=Secret(bytes.fromhex(fields["random1"])),
        random2=Secret(bytes.fromhex(fields["random2"])),
    )
    password = Secret(fields["password"])
    return pack_client(source, fields["options"], fields["username"], password, fields["peer_info"])


def test_client_message():
    assert client().hex() == VECTORS["client"]["message"]


def test_absent_strings_are_a_bare_zero():
    tail = VECTORS["client_no_credentials"]["tail_after_options"]
    assert client(username="", password="", peer_info="IV_VER=1\n").hex().endswith(tail)


@pytest.mark.parametrize("trailing", ["", "0000", "000000000000", "000000000006" + b"ID=0\n\0".hex()])
def test_server_message_with_and_without_trailing_strings(trailing):
    fixed = SERVER.removesuffix(bytes(6))
    hello = unpack_server(fixed + bytes.fromhex(trailing))
    fields = VECTORS["server"]["fields"]
    assert hello.source.random1.reveal().hex() == fields["random1"]
    assert hello.source.random2.reveal().hex() == fields["random2"]
    assert hello.options == fields["options"]
    assert hello.peer_info == ("ID=0\n" if len(trailing) > 12 else "")


@pytest.mark.parametrize("record", [b"", SERVER[:68], b"\1" + SERVER[1:], b"\0\0\0\0\1" + SERVER[5:], SERVER[:75]])
def test_malformed_server_message(record):
    with pytest.raises(PeerError):
        unpack_server(record)


@given(st.binary(max_size=40))
def test_any_tail_is_read_or_refused(tail):
    with contextlib.suppress(PeerError):
        unpack_server(SERVER[:69] + tail)


def test_each_source_is_drawn_afresh():
    numbers = iter(range(1, 9))
    source = make_source(lambda n: bytes((next(numbers),)) * n)
    assert {len(s) for s in (source.random1, source.random2)} == {32}
    assert len(source.pre_master) == 48
    assert len({s.reveal()[0] for s in (source.random1, source.random2, source.pre_master)}) == 3

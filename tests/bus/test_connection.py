"""The connection itself: buses that don't let us in or make no sense, answers that come too late."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ovpn3.dbus.bus import NO_REPLY, Bus
from ovpn3.dbus.errors import UNKNOWN_METHOD
from ovpn3.dbus.wire import Message, MessageFlag, MessageType
from ovpn3.errors import NetworkError, RemoteError


def hello(reply_serial: int = 1) -> bytes:
    message = Message(
        message_type=MessageType.METHOD_RETURN, reply_serial=reply_serial, signature="s", body=[":1.1"], serial=1
    )
    return bytes(message._marshall(False))


@asynccontextmanager
async def bus_that_says(folder: Path, *answers: bytes) -> AsyncIterator[str]:
    """Address of a socket where each thing we send is answered by the next of `answers`, and the last is the end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        for text in answers:
            await reader.read(1000)
            writer.write(text)
        writer.close()

    async with await asyncio.start_unix_server(answer, folder / "bus"):
        yield f"unix:path={folder}/bus"


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ((b"REJECTED EXTERNAL\r\n",), "refuses us: it answers 'REJECTED EXTERNAL' to AUTH"),
        ((b"OK 1234\r\n", b"ERROR\r\n"), "refuses us: it answers 'ERROR' to NEGOTIATE_UNIX_FD"),
        ((b"OK",), "refuses us: it closed the connection"),
        ((b"x" * 20_000,), "refuses us: its answer doesn't end"),
        ((), "refuses us: it closed the connection"),
        ((b"OK 1234\r\n", b"AGREE_UNIX_FD\r\n", b""), "refuses us: it closed the connection"),
    ],
)
async def test_a_bus_that_does_not_let_us_in(tmp_path: Path, answers: tuple[bytes, ...], text: str) -> None:
    async with bus_that_says(tmp_path, *answers) as address:
        with pytest.raises(NetworkError, match=text):
            await asyncio.wait_for(Bus.connect(address), 5)


async def test_a_bus_that_makes_no_sense_is_left(tmp_path: Path) -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))
    async with bus_that_says(tmp_path, b"OK 1234\r\n", b"AGREE_UNIX_FD\r\n", hello() + b"x" * 64) as address:
        bus = await Bus.connect(address)
        assert bus.unique_name == ":1.1"
        await asyncio.wait_for(bus.lost(), 5)
    assert told == ["the message bus makes no sense"]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("unix:path=/nowhere/bus", "can't reach the system message bus: No such file"),
        ("tcp:host=localhost,port=1", "can't reach the system message bus: not a unix socket: tcp:"),
        ("nonsense", "can't reach the system message bus: address did not contain a transport"),
    ],
)
async def test_no_bus_there(address: str, text: str) -> None:
    with pytest.raises(NetworkError, match=text):
        await Bus.connect(address)


async def test_the_second_address_is_tried(bus_address: str) -> None:
    bus = await Bus.connect(f"tcp:host=localhost,port=1;unix:path=/nowhere/bus;{bus_address}")
    assert bus.unique_name
    bus.close()
    await bus.lost()


async def test_the_descriptors_of_an_answer_that_comes_too_late_are_closed(server: Bus, client: Bus) -> None:
    calls: asyncio.Queue[Message] = asyncio.Queue()
    server.serve(calls.put_nowait)
    open_before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(RemoteError) as refused:
        await client.call(server.unique_name, "/", "org.example.Slow", "Slow", timeout_s=0.01)
    assert refused.value.name == NO_REPLY
    late = os.memfd_create("late")
    server.reply(Message.new_method_return(await calls.get(), "h", [0], [late]), close=[late])
    assert await client.name_owner("org.example.Nobody") == ""  # what came before it has been handled
    assert set(os.listdir("/proc/self/fd")) == open_before


async def test_who_serves_nothing_says_so(server: Bus, client: Bus) -> None:
    with pytest.raises(RemoteError) as refused:
        await client.call(server.unique_name, "/", "org.example.Slow", "Slow", timeout_s=5)
    assert refused.value.name == UNKNOWN_METHOD


def to(bus: Bus, member: str, *fds: int) -> Message:
    return Message(
        destination=bus.unique_name, path="/", interface="org.example", member=member, signature="h" * len(fds),
        body=list(range(len(fds))), unix_fds=list(fds), flags=MessageFlag.NO_REPLY_EXPECTED,
    )  # fmt: skip


async def test_what_is_sent_together_arrives_in_order_with_its_own_descriptors(server: Bus, client: Bus) -> None:
    calls: asyncio.Queue[Message] = asyncio.Queue()
    server.serve(calls.put_nowait)
    given = [os.memfd_create(name) for name in ("first", "second")]
    for message in (to(server, "A"), to(server, "B", given[0]), to(server, "C"), to(server, "D", given[1])):
        client._connection.send(message)
    arrived = [await asyncio.wait_for(calls.get(), 5) for _ in range(4)]
    assert [m.member for m in arrived] == ["A", "B", "C", "D"]
    names = [[os.readlink(f"/proc/self/fd/{fd}").split()[0] for fd in m.unix_fds] for m in arrived]
    assert names == [[], ["/memfd:first"], [], ["/memfd:second"]]
    for fd in given + [fd for m in arrived for fd in m.unix_fds]:
        os.close(fd)


async def test_what_is_sent_before_the_end_arrives(server: Bus, bus_address: str) -> None:
    calls: asyncio.Queue[Message] = asyncio.Queue()
    server.serve(calls.put_nowait)
    leaving = await Bus.connect(bus_address)
    leaving._connection.send(to(server, "Last"))
    leaving.close()
    assert (await asyncio.wait_for(calls.get(), 5)).member == "Last"
    await leaving.lost()

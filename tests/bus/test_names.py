"""Whose a name is: asked once, told from then on."""

import asyncio

import pytest

from ovpn3.constants import CLIENT_NAME_PREFIX
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.peers import Peers
from ovpn3.dbus.wire import Message, MessageType
from ovpn3_services.common.clients import Clients

NAME = "org.example.Name"
RELEASE = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReleaseName", "s")


class Sent:
    """Members of the calls that a connection has made."""

    def __init__(self, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members: list[str] = []
        send = bus._connection.send

        def note(message: Message) -> None:
            if message.message_type is MessageType.METHOD_CALL:
                self.members.append(message.member or "")
            send(message)

        monkeypatch.setattr(bus._connection, "send", note)


@pytest.fixture
async def asked(client: Bus, monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(client, monkeypatch)


async def call(client: Bus, server: Bus) -> str:
    """Sender of a call of the server's, as the client gets it. The client has then been told what came before it."""
    calls: asyncio.Queue[Message] = asyncio.Queue()
    client.serve(calls.put_nowait)
    server.call_no_reply(client.unique_name, "/", "org.example", "Call")
    return (await asyncio.wait_for(calls.get(), 5)).sender or ""


async def test_the_owner_of_a_name_is_asked_for_once(client: Bus, server: Bus, asked: Sent) -> None:
    await server.request_name(NAME)
    assert [await client.owner(NAME) for _ in range(3)] == [server.unique_name] * 3
    assert asked.members == ["AddMatch", "GetNameOwner"]


async def test_who_calls_as_an_owner_is_known_as_that(client: Bus, server: Bus, asked: Sent) -> None:
    assert await client.owner(NAME) == ""
    asked.members.clear()
    await server.request_name(NAME)
    assert await client.owner(NAME) == await call(client, server)
    await server.call(*RELEASE, NAME)
    await call(client, server)
    assert await client.owner(NAME) == ""
    assert not asked.members


async def test_news_is_newer_than_an_answer(client: Bus, server: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner that we were asking for may have lost the name before we look at the answer."""
    await server.request_name(NAME)

    async def answer(name: str) -> str:
        owner = await Bus.name_owner(client, name)
        await server.call(*RELEASE, NAME)
        await call(client, server)
        return owner

    monkeypatch.setattr(client, "name_owner", answer)
    assert await client.owner(NAME) == ""


async def test_names_that_several_watch_have_one_rule(client: Bus, server: Bus, asked: Sent) -> None:
    first: list[str] = []
    second: list[str] = []
    watch = await client.follow_name(NAME, first.append)
    await client.watch_name(NAME, second.append)
    await server.request_name(NAME)
    await call(client, server)
    watch.cancel()
    await server.call(*RELEASE, NAME)
    await call(client, server)
    assert (first, second) == (["", server.unique_name], [server.unique_name, ""])
    assert asked.members == ["AddMatch", "GetNameOwner"]


async def test_a_client_process_is_known_before_it_calls(client: Bus, server: Bus, asked: Sent) -> None:
    clients, peers = Clients(client), Peers(client)
    await clients.watch()
    peer = await peers.peer(server.unique_name)
    name = f"{CLIENT_NAME_PREFIX}{peer.pid}"
    assert not await clients.include(peer)
    await server.request_name(name)
    await call(client, server)
    asked.members.clear()
    assert await clients.include(peer)
    assert not await clients.include(await peers.peer(client.unique_name))
    assert asked.members == ["GetConnectionCredentials"], "the name of another one says nothing, and asks nobody"
    await server.call(*RELEASE, name)
    await call(client, server)
    assert not await clients.include(peer)


async def test_a_client_process_that_was_there_before(client: Bus, server: Bus) -> None:
    clients, peers = Clients(client), Peers(client)
    peer = await peers.peer(server.unique_name)
    await server.request_name(f"{CLIENT_NAME_PREFIX}{peer.pid}")
    await clients.watch()
    assert await clients.include(peer)

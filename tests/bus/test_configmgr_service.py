"""The configuration manager on a bus with the shipped policy: members, who may use them, and what is on the disk."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from dbus_fast import Message, Variant
from dbus_fast.introspection import Node

from ovpn3.constants import (
    CLIENT_NAME_PREFIX,
    CONFIG_INTERFACE,
    CONFIG_NAME,
    CONFIG_PATH,
    DOMAIN_DEFAULT,
    DOMAIN_REQUEST,
    OVERRIDES,
)
from ovpn3.dbus import access
from ovpn3.dbus.bus import Bus, Match
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3_services.common.commandline import Options
from ovpn3_services.configmgr import library, record
from ovpn3_services.configmgr.service import ConfigManager
from ovpn3_services.log.service import LogService
from ovpn3_services.log.settings import parse
from tests.bus.running import ALICE, BOB, connected, policed_bus, running
from tests.support.account import ROOT, Account

CA = "<ca>\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n</ca>\n"
GOOD = f"client\ndev tun\nremote 192.0.2.1 1194 udp\nauth-user-pass\n{CA}"
ORIGINAL = Path(__file__).parents[1] / "data" / "configmgr" / "original.json"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"

Start = Callable[[], AbstractAsyncContextManager[ConfigManager]]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with policed_bus() as address:
        yield address


class State:
    """The directory of persistent profiles, and the log beside it."""

    def __init__(self, folder: Path) -> None:
        self.directory, self.log = folder / "configs", folder / "log"

    def names(self) -> list[str]:
        return sorted(file.name for file in self.directory.iterdir())

    def name(self) -> str:
        (name,) = self.names()
        return name

    def mode(self, name: str) -> int:
        return (self.directory / name).stat().st_mode & 0o777

    def read(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        self.directory.mkdir(exist_ok=True)
        (self.directory / name).write_bytes(content)

    def change(self, name: str, key: str, value: object) -> None:
        """One value of a stored profile."""
        self.write(name, json.dumps({**json.loads(self.read(name)), key: value}).encode())

    def rename(self, old: str, new: str) -> None:
        (self.directory / old).rename(self.directory / new)

    def take_away(self) -> None:
        self.directory.rename(self.directory.with_name("away"))

    def block(self) -> None:
        self.directory.write_text("a file in its place")

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


@pytest.fixture
async def start(address: str, state: State) -> AsyncIterator[Start]:
    """Start the service, again and again on the same directory."""
    options = Options(log_level=6, log_file="", idle_exit=0, state_dir=state.directory)
    async with running(LogService, address, parse(["--log-file", str(state.log), "--log-level", "6"])):

        @asynccontextmanager
        async def start() -> AsyncIterator[ConfigManager]:
            async with running(ConfigManager, address, options) as service:
                yield service

        yield start


@pytest.fixture
async def service(start: Start) -> AsyncIterator[ConfigManager]:
    async with start() as service:
        yield service


@pytest.fixture
async def alice(address: str, service: ConfigManager) -> AsyncIterator[Bus]:
    async with connected(address, ALICE) as bus:
        yield bus


@pytest.fixture
async def bob(address: str, service: ConfigManager) -> AsyncIterator[Bus]:
    async with connected(address, BOB) as bus:
        yield bus


@pytest.fixture
async def account(address: str, service: ConfigManager) -> AsyncIterator[Bus]:
    """A process of the service account; here that is root as well."""
    async with connected(address) as bus:
        yield bus


@pytest.fixture
async def profile(alice: Bus) -> Configuration:
    """One of alice's, not persistent."""
    return await ConfigurationManager(alice).import_profile("office", GOOD)


def as_seen_by(bus: Bus, profile: Configuration) -> Configuration:
    return Configuration(bus, profile.path)


# -- import ---------------------------------------------------------------------------------------
async def test_an_imported_profile(alice: Bus, profile: Configuration) -> None:
    values = await profile.get_all()
    assert values.pop("import_timestamp") > 1_600_000_000
    assert values == {
        "owner": ALICE.uid,
        "acl": [],
        "name": "office",
        "public_access": False,
        "persistent": False,
        "last_used_timestamp": 0,
        "locked_down": False,
        "overrides": {},
        "readonly": False,
        "single_use": False,
        "tags": [],
        "transfer_owner_session": False,
        "used_count": 0,
        "dco": False,
        "valid": True,
    }
    assert await profile.fetch() == GOOD
    assert json.loads(await profile.fetch_json())["remote"] == [["192.0.2.1", "1194", "udp"]]
    assert profile.path.removeprefix(f"{CONFIG_PATH}/").count("x") == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        (GOOD + "no-such-option 1\n", "line 10: no-such-option: unknown option"),
        ("client\nno-such-option 1\n", "line 2: no-such-option"),
        (GOOD.replace("1194", "99999"), "line 3: remote"),
        (GOOD + "fragment 1000\n", "line 10: fragment"),
        (GOOD + "<key>\nAAAA\n", "line 10: <key>"),
        (GOOD + "x" * 600 + "\n", "line 10: line is longer"),
        (GOOD + "auth-nocache\x1b\n", "line 10: control character"),
        ("client\n" * 100_000, "larger than"),
    ],
)
async def test_what_nobody_can_honour_is_refused(alice: Bus, text: str, words: str) -> None:
    with pytest.raises(RemoteError, match=f"Invalid configuration profile: .*{words}") as e:
        await ConfigurationManager(alice).import_profile("bad", text)
    assert e.value.name == DOMAIN_REQUEST
    assert await ConfigurationManager(alice).available() == []


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[31mb", "x" * 201, "a\u202eb"])
async def test_names_are_refused(alice: Bus, profile: Configuration, name: str) -> None:
    with pytest.raises(RemoteError, match="Invalid configuration profile: the name") as e:
        await ConfigurationManager(alice).import_profile(name, GOOD)
    assert "\x1b" not in str(e.value)
    with pytest.raises(RemoteError, match="the name"):
        await profile.set("name", "s", name)
    assert await profile.get("name") == "office"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace(CA, ""), "'ca' is missing"),
        ("client\n", "'remote' is missing"),
        (GOOD + "setenv GENERIC_CONFIG 1\n", "server-locked"),
        (GOOD.replace("auth-user-pass\n", ""), "no way to log in"),
        (GOOD + CA.replace("ca>", "cert>"), "cert without key"),
    ],
)
async def test_what_is_incomplete_is_invalid(alice: Bus, text: str, reason: str) -> None:
    profile = await ConfigurationManager(alice).import_profile("incomplete", text)
    assert await profile.get("valid") is False
    for attempt in (profile.validate, profile.seal):
        with pytest.raises(RemoteError, match=reason) as e:
            await attempt()
        assert e.value.name == DOMAIN_DEFAULT


async def test_imports_of_one_user_are_limited(
    alice: Bus, bob: Bus, profile: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "MAX_PROFILES_PER_OWNER", 1)
    with pytest.raises(RemoteError, match="profiles already"):
        await ConfigurationManager(alice).import_profile("second", GOOD)
    await ConfigurationManager(bob).import_profile("first", GOOD)


async def test_events_tell_of_profiles(alice: Bus, bob: Bus) -> None:
    heard: list[Message] = []
    await bob.subscribe(Match(CONFIG_INTERFACE, "ConfigurationManagerEvent", CONFIG_NAME), heard.append)
    profile = await ConfigurationManager(alice).import_profile("office", GOOD)
    await profile.remove()
    await ConfigurationManager(bob).available()
    assert [m.body for m in heard] == [[profile.path, 1, ALICE.uid], [profile.path, 2, ALICE.uid]]
    assert {m.path for m in heard} == {CONFIG_PATH}


# -- searching ------------------------------------------------------------------------------------
async def test_profiles_are_found_by_who_may_use_them(alice: Bus, bob: Bus, profile: Configuration) -> None:
    await profile.add_tag("work")

    async def found(bus: Bus) -> list[list[str]]:
        manager = ConfigurationManager(bus)
        searches = (
            manager.available(),
            manager.by_name("office"),
            manager.by_tag("work"),
            manager.by_owner(str(ALICE.uid)),
            manager.by_owner(ALICE.name),
        )
        return [[p.path for p in await search] for search in searches]

    async def children(bus: Bus) -> list[str]:
        body = await bus.call(CONFIG_NAME, CONFIG_PATH, "org.freedesktop.DBus.Introspectable", "Introspect")
        return [f"{CONFIG_PATH}/{n.name}" for n in Node.parse(body[0]).nodes]

    assert await found(alice) == [[profile.path]] * 5
    assert await children(alice) == [profile.path]
    assert await found(bob) == [[]] * 5
    assert await children(bob) == []
    await profile.grant(BOB.uid)
    assert await found(bob) == [[profile.path]] * 5
    assert await children(bob) == [profile.path]
    await profile.revoke(BOB.uid)
    assert await found(bob) == [[]] * 5
    await profile.set("public_access", "b", True)
    assert await found(bob) == [[profile.path]] * 5


async def test_searches_are_exact(alice: Bus, profile: Configuration) -> None:
    manager = ConfigurationManager(alice)
    assert await manager.by_name("offic") == []
    assert await manager.by_tag("") == []
    assert await manager.by_owner(str(BOB.uid)) == []
    assert await manager.by_owner("9" * 50) == []
    for who in ("no-such-user", "", "-1", "٣", "x\n" * 10_000):
        with pytest.raises(RemoteError, match="there is no user"):
            await manager.by_owner(who)


# -- access ---------------------------------------------------------------------------------------
CHANGES: dict[str, Callable[[Configuration], Awaitable[object]]] = {
    "SetOption": lambda p: p.call("SetOption", "ss", "verb", "3"),
    "SetOverride": lambda p: p.set_override("log-level", "3"),
    "UnsetOverride": lambda p: p.unset_override("ipv6"),
    "AddTag": lambda p: p.add_tag("new"),
    "RemoveTag": lambda p: p.remove_tag("old"),
    "AccessGrant": lambda p: p.grant(12345),
    "AccessRevoke": lambda p: p.revoke(4321),
    "name": lambda p: p.set("name", "s", "other"),
    "public_access": lambda p: p.set("public_access", "b", False),
    "locked_down": lambda p: p.set("locked_down", "b", False),
}
SHARED_CHANGES: dict[str, Callable[[Configuration], Awaitable[object]]] = {
    "transfer_owner_session": lambda p: p.set("transfer_owner_session", "b", True),
    "dco": lambda p: p.set("dco", "b", True),
}
OWNERS: dict[str, Callable[[Configuration], Awaitable[object]]] = {
    "Seal": lambda p: p.seal(),
    "Remove": lambda p: p.remove(),
}


async def outcome(work: Awaitable[object]) -> str:
    """Empty for success, else the error."""
    try:
        await work
    except RemoteError as e:
        return f"{e.name}: {e}"
    return ""


@pytest.fixture
async def shared(profile: Configuration) -> Configuration:
    """Bob is granted, everybody else comes in because it is public."""
    await profile.set_override("ipv6", "yes")
    await profile.add_tag("old")
    await profile.grant(BOB.uid)
    await profile.grant(4321)
    await profile.set("public_access", "b", True)
    return profile


async def test_the_owner_changes_it(shared: Configuration) -> None:
    for name, change in (CHANGES | SHARED_CHANGES | OWNERS).items():
        assert await outcome(change(shared)) == "", name


async def test_a_granted_user_changes_little(shared: Configuration, bob: Bus) -> None:
    his = as_seen_by(bob, shared)
    for name, change in (CHANGES | OWNERS).items():
        assert "may not use" in await outcome(change(his)), name
    for name, change in SHARED_CHANGES.items():
        assert await outcome(change(his)) == "", name
    assert await outcome(his.validate()) == ""


async def test_the_public_changes_nothing(shared: Configuration, account: Bus) -> None:
    theirs = as_seen_by(account, shared)
    for name, change in (CHANGES | SHARED_CHANGES | OWNERS).items():
        assert "may not use" in await outcome(change(theirs)), name


async def test_strangers_see_the_owner_and_no_more(profile: Configuration, bob: Bus) -> None:
    theirs = as_seen_by(bob, profile)
    assert await theirs.get_all() == {"owner": ALICE.uid}
    for attempt in (theirs.fetch(), theirs.fetch_json(), theirs.validate(), theirs.get("name"), theirs.remove()):
        assert "may not" in await outcome(attempt)


async def test_a_sealed_profile_stays_as_it_is(shared: Configuration) -> None:
    await shared.seal()
    before = await shared.get_all()
    for name, change in (CHANGES | SHARED_CHANGES).items():
        assert "sealed" in await outcome(change(shared)), name
    assert await shared.get_all() == before
    assert await outcome(shared.remove()) == ""


@pytest.mark.parametrize("locked", [False, True])
async def test_who_reads_the_text(shared: Configuration, bob: Bus, account: Bus, locked: bool) -> None:
    await shared.set("locked_down", "b", locked)
    assert await shared.fetch() == GOOD
    assert await as_seen_by(account, shared).fetch() == GOOD
    assert bool(await outcome(as_seen_by(bob, shared).fetch())) is locked
    await shared.revoke(BOB.uid)
    for attempt in (as_seen_by(bob, shared).fetch(), as_seen_by(bob, shared).fetch_json()):
        assert "may not read" in await outcome(attempt), "public access is no right to read it"


async def test_terms_of_a_session_are_for_the_session_manager_only(
    profile: Configuration, account: Bus, bob: Bus, alice: Bus
) -> None:
    asked = as_seen_by(account, profile)
    assert await asked.session_terms(ALICE.uid) == (True, ALICE.uid, False, "")
    assert [(await asked.session_terms(uid)).allowed for uid in (BOB.uid, 0)] == [False, False]
    await profile.set("transfer_owner_session", "b", True)
    await profile.set_override("automatic-restart", "on-failure")
    assert await asked.session_terms(BOB.uid) == (False, ALICE.uid, True, "on-failure")
    for bus in (alice, bob):
        assert DENIED in await outcome(as_seen_by(bus, profile).session_terms(BOB.uid))


async def test_granting_twice_and_revoking_nothing(profile: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    await profile.grant(BOB.uid)
    assert await profile.get("acl") == [BOB.uid]
    assert "already" in await outcome(profile.grant(BOB.uid))
    assert "not granted" in await outcome(profile.revoke(12345))
    monkeypatch.setattr(access, "MAX_GRANTED", 1)
    assert "1 users already" in await outcome(profile.grant(12345))


async def test_root_gives_a_profile_away(profile: Configuration, alice: Bus, bob: Bus, account: Bus) -> None:
    manager = ConfigurationManager(account)
    for bus in (alice, bob):
        assert DENIED in await outcome(ConfigurationManager(bus).transfer_ownership(profile.path, BOB.uid))
    await manager.transfer_ownership(profile.path, BOB.uid)
    assert await profile.get("owner") == BOB.uid
    assert "may not" in await outcome(profile.fetch())
    assert await as_seen_by(bob, profile).fetch() == GOOD
    await manager.transfer_ownership(f"{CONFIG_PATH}/none", BOB.uid)


# -- overrides and tags ---------------------------------------------------------------------------
async def test_every_override_takes_its_type_alone(profile: Configuration) -> None:
    values: dict[str, str | bool] = {"s": "1", "b": True}
    for name, type_ in OVERRIDES.items():
        await profile.set_override(name, values[type_])
        other = {"s": "b", "b": "s"}[type_]
        wrong = profile.call("SetOverride", "sv", name, Variant(other, values[other]))
        assert f"Invalid override data type for '{name}'" in await outcome(wrong)
    assert await profile.get("overrides") == {name: values[type_] for name, type_ in OVERRIDES.items()}
    for name in OVERRIDES:
        await profile.unset_override(name)
    assert await profile.get("overrides") == {}
    assert "has not been set" in await outcome(profile.unset_override("ipv6"))


@pytest.mark.parametrize("value", ["a\u202eb", "\x7f", "x" * (record.MAX_OVERRIDE_CHARS + 1)])
async def test_override_values_are_bounded(profile: Configuration, value: str) -> None:
    assert "printable" in await outcome(profile.set_override("proxy-password", value))
    for variant in (Variant("u", 1), Variant("as", ["x"]), Variant("v", Variant("s", "x"))):
        attempt = profile.call("SetOverride", "sv", "ipv6", variant)
        assert "Invalid override data type" in await outcome(attempt)
    unknown = await outcome(profile.call("SetOverride", "sv", "no\nsuch" * 1000, Variant("s", "x")))
    assert "Invalid override key" in unknown
    assert "\n" not in unknown
    assert len(unknown) < 1000


async def test_a_proxy_password_is_for_readers_only(shared: Configuration, account: Bus, bob: Bus) -> None:
    await shared.set_override("proxy-password", "secret")
    await shared.set("locked_down", "b", True)
    assert (await shared.get("overrides"))["proxy-password"] == "secret"
    assert (await as_seen_by(account, shared).get("overrides"))["proxy-password"] == "secret"
    assert await as_seen_by(bob, shared).get("overrides") == {"ipv6": "yes"}


async def test_tags(profile: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    await profile.add_tag("work")
    await profile.add_tag("x" * record.MAX_TAG_CHARS)
    for tag in ("", "\n", "x" * (record.MAX_TAG_CHARS + 1), "a\u202eb"):
        assert "a tag has 1 to 128" in await outcome(profile.add_tag(tag))
    assert "Tag already exists" in await outcome(profile.add_tag("work"))
    await profile.remove_tag("work")
    assert "Non-existing tag" in await outcome(profile.remove_tag("work"))
    monkeypatch.setattr(record, "MAX_TAGS", 1)
    assert "1 tags already" in await outcome(profile.add_tag("work"))


async def test_control_characters_are_dropped(alice: Bus) -> None:
    """Line ends as well, wherever they come from: a shell, a form. A name that has them inside is a mistake."""
    profile = await ConfigurationManager(alice).import_profile("office\n", GOOD)
    assert await profile.get("name") == "office"
    await profile.add_tag("wo\x1brk\n")
    assert await profile.get("tags") == ["work"]
    assert "Tag already exists" in await outcome(profile.add_tag("work"))
    await profile.remove_tag("work\n")
    await profile.call("SetOverride", "sv", "server-override\n", Variant("s", "vpn.\x1bexample\n"))
    assert await profile.get("overrides") == {"server-override": "vpn.example"}
    await profile.unset_override("server-override\n")
    assert await profile.get("overrides") == {}


# -- client processes -----------------------------------------------------------------------------
@pytest.fixture
async def client(account: Bus) -> Bus:
    await account.request_name(f"{CLIENT_NAME_PREFIX}{os.getpid()}")
    return account


async def test_a_client_s_fetch_is_counted(profile: Configuration, client: Bus) -> None:
    await profile.fetch()
    assert await profile.get("used_count") == 0
    for _ in range(2):
        await as_seen_by(client, profile).fetch()
    assert await profile.get("used_count") == 2
    assert await profile.get("last_used_timestamp") > 1_600_000_000


async def test_a_client_has_all_of_a_profile_at_once(profile: Configuration, client: Bus) -> None:
    await profile.set_override("proxy-password", "secret")
    await profile.set_override("persist-tun", True)
    overrides = {"proxy-password": "secret", "persist-tun": True}
    assert await as_seen_by(client, profile).fetch_for_client() == ("office", overrides, GOOD)
    assert await profile.get("used_count") == 1


async def test_a_single_use_profile_is_fetched_once(alice: Bus, client: Bus) -> None:
    profile = await ConfigurationManager(alice).import_profile("once", GOOD, single_use=True)
    assert await profile.fetch() == GOOD
    its = as_seen_by(client, profile)
    fetched = await asyncio.gather(its.fetch(), its.fetch_for_client(), return_exceptions=True)
    assert sorted(map(str, fetched)) == [GOOD, "the profile has been removed"]
    assert await ConfigurationManager(alice).available() == []


async def test_another_process_of_the_account_is_no_client(alice: Bus, account: Bus, client: Bus, address: str) -> None:
    profile = await ConfigurationManager(alice).import_profile("once", GOOD, single_use=True)
    async with connected(address) as other:
        assert await as_seen_by(other, profile).fetch() == GOOD
        assert "no client process" in await outcome(as_seen_by(other, profile).fetch_for_client())
    assert await profile.get("name") == "once"


# -- on the disk ----------------------------------------------------------------------------------
async def import_persistent(address: str, account: Account = ALICE, **how: bool) -> Configuration:
    async with connected(address, account) as bus:
        return await ConfigurationManager(bus).import_profile("office", GOOD, persistent=True, **how)


async def test_a_persistent_profile_outlives_the_service(start: Start, address: str, state: State) -> None:
    async with start() as service, connected(address, ALICE) as bus:
        profile = await ConfigurationManager(bus).import_profile("office", GOOD, persistent=True)
        await profile.set_override("persist-tun", True)
        await profile.set_override("proxy-password", "secret")
        await profile.add_tag("work")
        await profile.grant(BOB.uid)
        for name in ("public_access", "locked_down", "transfer_owner_session", "dco"):
            await profile.set(name, "b", True)
        await profile.seal()
        before = await profile.get_all()
        assert before["persistent"]
        assert not service.busy()
    assert state.names() == [profile.path.rsplit("/", 1)[1] + ".json"]
    assert state.mode(state.name()) == 0o600
    async with start(), connected(address, ALICE) as bus:
        again = Configuration(bus, profile.path)
        assert await again.get_all() == before
        assert sorted((await again.fetch()).splitlines()) == sorted(GOOD.splitlines())
        await again.remove()
        assert state.names() == []


async def test_a_file_of_the_original_s(start: Start, address: str, state: State) -> None:
    document = json.loads(ORIGINAL.read_text())
    name = document["object_path"].rsplit("/", 1)[1] + ".json"
    state.write(name, ORIGINAL.read_bytes())
    async with start(), connected(address) as bus:
        (profile,) = await ConfigurationManager(bus).available()
        values = await profile.get_all()
        for key, value in document.items():
            if key not in ("object_path", "profile"):
                assert values[key] == value, key
        assert "remote vpn.example.net 1194 udp\n" in await profile.fetch()
        await profile.add_tag("seen")
    written = json.loads(state.read(name))
    assert written.pop("tags") == [*document.pop("tags"), "seen"]
    assert written == document


@pytest.mark.parametrize(
    "damage",
    ["", "null", "[", "[" * 100_000, '{"object_path": 1}', "\xff", '{"profile": {}}'],
    ids=["empty", "null", "cut", "deep", "type", "not-utf8", "no-path"],
)
async def test_a_damaged_file_is_put_aside(start: Start, address: str, state: State, damage: str) -> None:
    async with start():
        profile = await import_persistent(address)
    good, bad, content = state.name(), "0" * 36 + ".json", damage.encode("latin-1")
    state.write(bad, content)
    async with start(), connected(address, ALICE) as bus:
        assert [p.path for p in await ConfigurationManager(bus).available()] == [profile.path]
    assert state.names() == sorted([good, f"{bad}.damaged"])
    assert state.read(f"{bad}.damaged") == content
    assert "!! CRITICAL !!: profile file 0000" in state.said()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("owner", -1),
        ("owner", 1 << 32),
        ("owner", True),
        ("owner", "0"),
        ("acl", [1 << 40]),
        ("acl", 5),
        ("tags", [1]),
        ("overrides", []),
        ("overrides", {"ipv6": 4}),
        ("used_count", 1 << 32),
        ("readonly", 1),
        ("name", None),
        ("object_path", CONFIG_PATH),
        ("object_path", f"{CONFIG_PATH}/a/b"),
        ("object_path", f"{CONFIG_PATH}/é"),
        ("object_path", "/org/example"),
        ("profile", []),
        ("profile", {"remote": [[1]]}),
        ("profile", {"ca": ["x\n</ca>\nscript-security 2\n<ca>\ny\n"]}),
    ],
)
async def test_a_value_of_the_wrong_kind_is_damage(
    start: Start, address: str, state: State, key: str, value: object
) -> None:
    async with start():
        await import_persistent(address)
    name = state.name()
    state.change(name, key, value)
    async with start() as service:
        assert service.library.profiles == {}
    assert state.names() == [f"{name}.damaged"]


async def test_other_files_are_left_alone(start: Start, address: str, state: State) -> None:
    others = sorted(["README", "short.json", "0" * 36 + ".json.bak"])
    for name in others:
        state.write(name, b"x")
    state.write(f".{'0' * 36}.json.new", b"half of a profile, with its key")
    async with start() as service:
        assert service.library.profiles == {}
    assert state.names() == others


async def test_a_profile_from_a_file_of_another_name_stays_in_it(start: Start, address: str, state: State) -> None:
    async with start():
        profile = await import_persistent(address)
    renamed = "0" * 36 + ".json"
    state.rename(state.name(), renamed)
    async with start(), connected(address, ALICE) as bus:
        again = Configuration(bus, profile.path)
        await again.add_tag("work")
        assert state.names() == [renamed]
        await again.remove()
        assert state.names() == []


async def test_two_files_for_one_profile(start: Start, address: str, state: State) -> None:
    async with start():
        profile = await import_persistent(address)
    state.write("0" * 36 + ".json", state.read(state.name()))
    async with start() as service:
        assert list(service.library.profiles) == [profile.path]
    assert [name.endswith(".damaged") for name in state.names()].count(True) == 1


async def test_what_can_not_be_stored_is_not_imported(start: Start, address: str, state: State) -> None:
    async with start() as service:
        state.take_away()
        with pytest.raises(RemoteError, match="can't be stored: No such file"):
            await import_persistent(address)
        assert service.library.profiles == {}


async def test_a_change_that_can_not_be_stored_is_an_error(start: Start, address: str, state: State) -> None:
    async with start(), connected(address, ALICE) as bus, connected(address) as client:
        await client.request_name(f"{CLIENT_NAME_PREFIX}{os.getpid()}")
        profile = await ConfigurationManager(bus).import_profile("office", GOOD, persistent=True)
        state.take_away()
        assert "can't be stored" in await outcome(profile.add_tag("x"))
        assert await Configuration(client, profile.path).fetch() == GOOD, "a tunnel starts anyway"


async def test_a_state_directory_that_can_not_be_read(start: Start, state: State) -> None:
    state.block()
    async with start() as service:
        assert service.library.profiles == {}
    assert "can't be read" in state.said()


async def test_a_removed_profile_does_not_come_back(start: Start, address: str, state: State) -> None:
    """Both calls wait for the caller's credentials; the second one finds the profile gone."""
    async with start():
        profile = await import_persistent(address)
        async with connected(address, ALICE) as bus:
            fresh = Configuration(bus, profile.path)
            results = await asyncio.gather(outcome(fresh.remove()), outcome(fresh.add_tag("x")))
        assert results[0] == ""
        assert "removed" in results[1]
        assert state.names() == []


async def test_only_unstored_profiles_keep_the_service(alice: Bus, service: ConfigManager) -> None:
    assert not service.busy()
    profile = await ConfigurationManager(alice).import_profile("office", GOOD)
    assert service.busy()
    await profile.remove()
    assert not service.busy()


async def test_no_profile_text_and_no_password_in_the_log(service: ConfigManager, address: str, state: State) -> None:
    async with connected(address, ROOT) as bus:
        profile = await ConfigurationManager(bus).import_profile("office", GOOD, persistent=True)
        await profile.set_override("proxy-password", "hunter2")
        await profile.fetch()
        await outcome(ConfigurationManager(bus).import_profile("bad", GOOD + "no-such hunter2\n"))
        await profile.remove()
        await ConfigurationManager(bus).available()
    said = state.said()
    assert "override 'proxy-password' set" in said
    assert "hunter2" not in said
    assert "AAAA" not in said

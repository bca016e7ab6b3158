"""A front-end on the Python module `openvpn3`, run by the system's own Python: JSON lines of what it sees.

Arguments: a profile's file, and user name and password for it.
"""

import gc
import inspect
import json
import os
import sys

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

import openvpn3
from openvpn3.constants import (
    ClientAttentionGroup,
    ClientAttentionType,
    NetCfgChangeType,
    SessionManagerEventType,
    StatusMajor,
    StatusMinor,
)

GIVE_UP_MS = 20_000
loop = GLib.MainLoop()
seen: list[tuple[object, ...]] = []


def say(*what: object) -> None:
    print(json.dumps(what), flush=True)


def until(*wanted: object) -> None:
    """Have the main loop run until this has been seen; what came before it is forgotten."""
    timer = GLib.timeout_add(GIVE_UP_MS, os._exit, 9)
    while wanted not in seen:
        loop.get_context().iteration(True)
    GLib.source_remove(timer)
    seen.clear()


def fails(work: object, *args: object) -> None:
    try:
        work(*args)
    except (dbus.exceptions.DBusException, RuntimeError) as e:
        say("error", type(e).__name__, str(e))


def answer(session: openvpn3.Session, answers: dict[str, str]) -> None:
    """As the original's examples do it."""
    while True:
        try:
            session.Ready()
            return
        except dbus.exceptions.DBusException as e:
            if str(e).find(" Missing user credentials") < 1:
                raise
        for slot in session.FetchUserInputSlots():
            [number, *_] = session.UserInputQueueCheck(*slot.GetTypeGroup())
            again = session.UserInputQueueFetch(*slot.GetTypeGroup(), number)
            assert again.GetVariableName() == slot.GetVariableName()
            assert slot.GetTypeGroup() == (ClientAttentionType.CREDENTIALS, ClientAttentionGroup.USER_PASSWORD)
            say("asked", slot.GetVariableName(), slot.GetLabel(), slot.GetInputMask())
            slot.ProvideInput(answers[slot.GetVariableName()])


def check_names() -> None:
    """Arguments may be given by name; numbers are no integers."""
    names = {
        openvpn3.Configuration: ("dbuscon objpath", {"SetOverride": "override value", "AddTag": "tagvalue"}),
        openvpn3.ConfigurationManager: (
            "dbuscon",
            {"Import": "cfgname cfg single_use persistent system_tag", "SearchByTag": "tagvalue only_path"},
        ),
        openvpn3.Session: ("dbuscon objpath", {"LogCallback": "cbfnc", "SetProperty": "propname propvalue"}),
        openvpn3.SessionManager: ("dbuscon", {"NewTunnel": "cfgobj", "TransferOwnership": "sesspath new_uid"}),
        openvpn3.SessionManagerEvent: ("path type owner", {}),
        openvpn3.NetCfgManager: ("dbuscon", {"SubscribeNetworkChange": "cbfnc filter"}),
        openvpn3.NetworkChangeSignal: ("type device details", {"GetDetails": "prop"}),
    }
    for kind, (made_of, methods) in names.items():
        for method, arguments in {"__init__": made_of, **methods}.items():
            assert list(inspect.signature(getattr(kind, method)).parameters)[1:] == arguments.split(), (kind, method)
    assert StatusMajor.CONNECTION != StatusMinor.CFG_OK
    assert StatusMajor.UNSET
    assert StatusMajor(1) is StatusMajor.CFG_ERROR
    assert isinstance(StatusMinor.CONN_CONNECTED.value, dbus.UInt32)
    assert isinstance(SessionManagerEventType.SESS_CREATED.value, dbus.UInt16)
    assert NetCfgChangeType.UNSET | NetCfgChangeType.DEVICE_ADDED == 1
    change = openvpn3.NetworkChangeSignal(1, "tun0", {})
    assert str(change) == repr(change) == '<NetworkChangeSignal type="DEVICE_ADDED", device="tun0">'


def profile(manager: openvpn3.ConfigurationManager, file: str) -> openvpn3.Configuration:
    parser = openvpn3.ConfigParser(["front-end", "--config", file, "--persist-tun", "--verb", "5"], "")
    parser.SanityCheck()
    offered = parser.RetrieveShellCompletionData()
    assert {"--config", "--remote", "--daemon"} <= set(offered["options"])
    assert "--management" not in offered["options"]
    assert ("SHA256" in offered["argvalues"]["--auth"], "--ca" in offered["argvalues"]) == (True, False)
    numbers = (parser.GetDaemon(), parser.GetLogVerbosity(), parser.GetPersistTun())
    say("parsed", parser.GetConfigName(), *numbers, parser.GetOverrides())
    profile = manager.Import("office", parser.GenerateConfig(), False, False, system_tag="front-end")
    profile.Validate()
    profile.AddTag("work")
    fails(profile.AddTag, "system:mine")
    profile.SetOverride("log-level", "5")
    profile.SetOverride("persist-tun", parser.GetPersistTun())
    profile.SetOverride("dns-scope", "tunnel")
    profile.UnsetOverride("dns-scope")
    profile.SetProperty("public_access", True)
    profile.SetOwnershipTransfer(False)
    profile.AccessGrant(0)
    profile.AccessRevoke(0)
    assert "client" in profile.FetchJSON()
    assert "<ca>" in profile.Fetch()
    assert manager.LookupConfigName("office") == [profile.GetPath()]
    assert [c.GetPath() for c in manager.SearchByTag("work")] == manager.SearchByTag("work", True)
    assert [c.GetPath() for c in manager.FetchAvailableConfigs()] == [profile.GetPath()]
    again = manager.Retrieve(profile.GetPath())
    say(
        "profile",
        again.GetConfigName(),
        again.GetTags(),
        again.GetOverrides(),
        again.GetProperty("public_access"),
    )
    return profile


def tell(event: openvpn3.SessionManagerEvent) -> None:
    assert event == event.GetType()
    assert event == event.GetPath()
    assert event != "/"
    seen.append((event.GetPath(), event.GetType(), event.GetOwner()))


def main(file: str, user: str, password: str) -> None:
    check_names()
    bus = dbus.SystemBus(mainloop=DBusGMainLoop())
    config = profile(openvpn3.ConfigurationManager(bus), file)
    manager = openvpn3.SessionManager(bus)
    manager.SessionManagerCallback(tell)
    session = manager.NewTunnel(config)
    say("named", str(session.GetStatus()["minor"]), f"{ClientAttentionType.CREDENTIALS}")
    say("session", session.GetPath(), list(session.GetStatus()), session.GetStatus()["minor"].name)
    until(session.GetPath(), SessionManagerEventType.SESS_CREATED, os.getuid())
    asked: list[str] = []
    session.AttentionRequiredCallback(lambda kind, group, text: asked.append(text))
    session.AttentionRequiredCallback(
        lambda kind, group, text: seen.append((ClientAttentionType(kind), ClientAttentionGroup(group)))
    )
    session.StatusChangeCallback(lambda major, minor, message: seen.append((StatusMajor(major), StatusMinor(minor))))
    fails(session.StatusChangeCallback, print)
    lines: list[str] = []
    session.LogCallback(lambda group, category, text: lines.append(text))
    again = manager.Retrieve(session.GetPath())
    again.StatusChangeCallback(lambda major, minor, message: os._exit(8))
    del again  # and with it, that it is told
    gc.collect()
    assert session.GetProperty("log_forwards") == []
    session.LogCallback(None)
    session.StatusChangeCallback(None)
    session.StatusChangeCallback(lambda major, minor, message: seen.append((StatusMajor(major), StatusMinor(minor))))
    session.LogCallback(lambda group, category, text: lines.append(text))
    answer(session, {"username": user, "password": "wrong"})
    session.Connect()
    until(ClientAttentionType.CREDENTIALS, ClientAttentionGroup.USER_PASSWORD)
    assert asked
    session.AttentionRequiredCallback(None)
    answer(session, {"username": user, "password": password})
    session.SetProperty("log_verbosity", 5)
    session.Connect()
    until(StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED)
    say("connected", bool(lines), session.GetProperty("device_name"), session.GetDCO())
    say("statistics", "BYTES_IN" in session.GetStatistics(), session.GetFormattedStatistics().splitlines()[0])
    assert manager.LookupConfigName("office") == [session.GetPath()]
    assert manager.LookupInterface(session.GetProperty("device_name")) == session.GetPath()
    assert [s.GetPath() for s in manager.FetchAvailableSessions()] == [session.GetPath()]
    session.LogCallback(None)  # the other goes on
    session.Pause()
    until(StatusMajor.CONNECTION, StatusMinor.CONN_PAUSED)
    session.Resume()
    until(StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED)
    session.Restart()
    until(StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED)
    path = session.GetPath()
    session.Disconnect()
    fails(session.GetStatus)
    ended = manager.Retrieve(path)
    fails(ended.Disconnect)
    fails(ended.Disconnect)
    fails(manager.Retrieve(path).Ready)
    until(path, SessionManagerEventType.SESS_DESTROYED, os.getuid())
    session.StatusChangeCallback(None)
    config.Remove()
    fails(config.Fetch)
    network = openvpn3.NetCfgManager(bus)
    fails(network.SubscribeNetworkChange, print)
    fails(network.FetchAllDevices)
    fails(network.Retrieve("/net/openvpn/v3/netcfg/1").Destroy)


def watch_network() -> None:
    """As root: the changes that a tunnel of somebody else brings, until it has gone."""
    bus = dbus.SystemBus(mainloop=DBusGMainLoop())
    network = openvpn3.NetCfgManager(bus)
    assert network.GetObjectPath() == "/net/openvpn/v3/netcfg"
    assert "NotificationSubscribe" in network.Introspect()

    def tell(change: openvpn3.NetworkChangeSignal) -> None:
        say(change.GetType().name, change.GetDevice(), change.GetAllDetails())
        if change.GetType() is NetCfgChangeType.DEVICE_ADDED:
            assert [d.GetDeviceName() for d in network.FetchAllDevices()] == [change.GetDevice()]
        elif change.GetType() is NetCfgChangeType.DEVICE_REMOVED:
            network.UnsubscribeNetworkChange()
            loop.quit()

    added = NetCfgChangeType.DEVICE_ADDED | NetCfgChangeType.DEVICE_REMOVED | NetCfgChangeType.IPADDR_ADDED
    network.SubscribeNetworkChange(tell, added)
    say("ready", network.GetConfiguredDNSservers(), network.GetConfiguredDNSsearch())
    GLib.timeout_add(3 * GIVE_UP_MS, os._exit, 9)
    loop.run()


if len(sys.argv) > 1:
    main(*sys.argv[1:])
else:
    watch_network()

"""A front-end on dbus-python and GLib, run by the system's own Python: the life of one session as JSON lines.

Arguments: the profile's text and its name. On standard output: ["what", value...] for everything that is seen.
"""

import json
import sys

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

PREFIX = "net.openvpn.v3."
ROOT = "/net/openvpn/v3/"
CONNECTION, CONNECTED, PAUSED = 2, 7, 14
CREATED, DESTROYED = 1, 2
GIVE_UP_MS = 20_000


class FrontEnd:
    def __init__(self) -> None:
        self.bus = dbus.SystemBus(mainloop=DBusGMainLoop())
        self.loop = GLib.MainLoop()
        self.seen: list[tuple] = []
        self.wanted: tuple = ()
        sessions = PREFIX + "sessions"
        self.bus.add_signal_receiver(
            lambda path, kind, owner: self.see("event", str(path), int(kind), int(owner)),
            "SessionManagerEvent",
            sessions,
        )
        self.bus.add_signal_receiver(
            lambda major, minor, text, path: self.see("status", str(path), int(major), int(minor)),
            "StatusChange",
            PREFIX + "backends",
            PREFIX + "log",
            path_keyword="path",
        )

    def see(self, *what: object) -> None:
        print(json.dumps(what), flush=True)
        self.seen.append(what)
        if what[: len(self.wanted)] == self.wanted:
            self.loop.quit()

    def until(self, *wanted: object) -> None:
        """Wait for something that begins so, or has been seen already; what came before it is forgotten."""
        self.wanted = wanted
        if not any(what[: len(wanted)] == wanted for what in self.seen):
            timer = GLib.timeout_add(GIVE_UP_MS, sys.exit, f"no {wanted}")
            self.loop.run()
            GLib.source_remove(timer)
        self.wanted = ()
        self.seen.clear()

    def object(self, service: str, path: str) -> dbus.Interface:
        return dbus.Interface(self.bus.get_object(PREFIX + service, path), PREFIX + service)

    def fails(self, work: object, *args: object) -> None:
        try:
            work(*args)
        except dbus.DBusException as e:
            self.see("error", e.get_dbus_name(), e.get_dbus_message())


def main(text: str, name: str) -> None:
    ui = FrontEnd()
    config = ui.object("configuration", ROOT + "configuration").Import(name, text, False, False)
    manager = ui.object("sessions", ROOT + "sessions")
    path = str(manager.NewTunnel(config))
    ui.until("event", path, CREATED)
    ui.fails(manager.NewTunnel, config)
    session = ui.object("sessions", path)
    values = dbus.Interface(session, "org.freedesktop.DBus.Properties")
    session.LogForward(True)
    ui.fails(session.Pause, "too early")
    session.Ready()
    session.Connect()
    ui.until("status", path, CONNECTION, CONNECTED)
    ui.see("to", *values.Get(PREFIX + "sessions", "connected_to"))
    ui.see("statistics", sorted(values.Get(PREFIX + "sessions", "statistics")))
    ui.see("properties", sorted(values.GetAll(PREFIX + "sessions")))
    session.Pause("lunch")
    ui.until("status", path, CONNECTION, PAUSED)
    for order in (session.Resume, session.Restart):
        order()
        ui.until("status", path, CONNECTION, CONNECTED)
    session.Disconnect()
    ui.until("event", path, DESTROYED)
    ui.fails(session.Ready)
    ui.fails(values.Get, PREFIX + "sessions", "status")


main(*sys.argv[1:])

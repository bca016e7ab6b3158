"""Introspection documents, made from the member tables of our classes.

Names, types and path elements hold no character that XML would want escaped.
"""

from collections.abc import Iterable
from dataclasses import dataclass

DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


@dataclass(frozen=True)
class Arg:
    """Name and D-Bus type of an argument."""

    name: str
    type: str


def args(spec: str) -> tuple[Arg, ...]:
    """Read "name:s paths:ao" into arguments."""
    return tuple(Arg(*item.rsplit(":", 1)) for item in spec.split())


def signature(arguments: Iterable[Arg]) -> str:
    return "".join(a.type for a in arguments)


@dataclass(frozen=True)
class Signal:
    """A signal an object announces: `Signal("Log", "group:u level:u message:s")`."""

    name: str
    spec: str

    @property
    def signature(self) -> str:
        return signature(args(self.spec))


def _arg_lines(arguments: Iterable[Arg], direction: str) -> Iterable[str]:
    way = f' direction="{direction}"' if direction else ""
    for a in arguments:
        yield f'      <arg type="{a.type}" name="{a.name}"{way}/>'


def method_lines(name: str, takes: Iterable[Arg], gives: Iterable[Arg]) -> list[str]:
    inner = [*_arg_lines(takes, "in"), *_arg_lines(gives, "out")]
    return [f'    <method name="{name}">', *inner, "    </method>"]


def signal_lines(signal: Signal) -> list[str]:
    return [
        f'    <signal name="{signal.name}">',
        *_arg_lines(args(signal.spec), ""),
        "    </signal>",
    ]


def property_line(name: str, type_: str, writable: bool) -> str:
    access = "readwrite" if writable else "read"
    return f'    <property type="{type_}" name="{name}" access="{access}"/>'


def interface(name: str, lines: Iterable[str]) -> str:
    return "\n".join([f'  <interface name="{name}">', *lines, "  </interface>"])


STANDARD = "\n".join(
    [
        interface(
            "org.freedesktop.DBus.Properties",
            [
                *method_lines("Get", args("interface_name:s property_name:s"), args("value:v")),
                *method_lines("GetAll", args("interface_name:s"), args("properties:a{sv}")),
                *method_lines("Set", args("interface_name:s property_name:s value:v"), ()),
                *signal_lines(
                    Signal(
                        "PropertiesChanged",
                        "interface_name:s changed_properties:a{sv} invalidated_properties:as",
                    )
                ),
            ],
        ),
        interface("org.freedesktop.DBus.Introspectable", method_lines("Introspect", (), args("xml_data:s"))),
        interface(
            "org.freedesktop.DBus.Peer",
            [*method_lines("Ping", (), ()), *method_lines("GetMachineId", (), args("machine_uuid:s"))],
        ),
    ]
)


def node(interfaces: Iterable[str], children: Iterable[str]) -> str:
    """The document of one object: its interfaces, and the last path elements of its children."""
    kids = [f'  <node name="{c}"/>' for c in sorted(children)]
    return "\n".join([f"{DOCTYPE}<node>", STANDARD, *interfaces, *kids, "</node>"]) + "\n"

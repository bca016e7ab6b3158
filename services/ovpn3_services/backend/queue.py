"""Questions to the user: one slot each, answered over D-Bus by whoever manages the session."""

from dataclasses import dataclass

from ovpn3.constants import DOMAIN_CLIENT, AttentionGroup, AttentionType
from ovpn3.errors import ServiceError
from ovpn3.secret import Secret
from ovpn3_services.common.log import clean
from ovpn3_services.common.text import stripped


@dataclass
class Slot:
    """Something the user is asked for."""

    type: AttentionType
    group: AttentionGroup
    number: int  # counts from 0 within type and group
    name: str
    label: str
    hidden: bool
    value: Secret | None = None


def refusal(kind: str, text: str) -> ServiceError:
    """The prefix of the text is what front-ends of the original look for."""
    return ServiceError(DOMAIN_CLIENT, f"net.openvpn.v3.{kind}: {text}")


class InputQueue:
    def __init__(self) -> None:
        self._slots: list[Slot] = []

    def add(self, group: AttentionGroup, name: str, label: str, *, hidden: bool, value: Secret | None = None) -> None:
        """Ask for `name`, unless that has been asked already; with a `value` it counts as answered."""
        if self._named(group, name) is None:
            number = len(self._of(AttentionType.CREDENTIALS, group))
            self._slots.append(Slot(AttentionType.CREDENTIALS, group, number, name, clean(label), hidden, value))

    def value(self, group: AttentionGroup, name: str) -> Secret | None:
        slot = self._named(group, name)
        return slot.value if slot else None

    def forget(self, group: AttentionGroup) -> None:
        """Drop the group's slots, wiping what was answered."""
        for slot in self._slots:
            if slot.group == group and slot.value:
                slot.value.wipe()
        self._slots = [s for s in self._slots if s.group != group]

    def waiting(self) -> bool:
        return any(s.value is None for s in self._slots)

    def groups(self) -> list[tuple[int, int]]:
        """(type, group) with unanswered slots, in order of creation."""
        return list(dict.fromkeys((int(s.type), int(s.group)) for s in self._slots if s.value is None))

    def check(self, type_: int, group: int) -> list[int]:
        return [s.number for s in self._of(type_, group) if s.value is None]

    def fetch(self, type_: int, group: int, number: int) -> Slot:
        slot = self._find(type_, group, number)
        if slot is None:
            raise refusal("element-not-found", "no such user input is asked for")
        if slot.value is not None:
            raise refusal("already-provided", f"{slot.name} has been provided already")
        return slot

    def provide(self, type_: int, group: int, number: int, value: str) -> Slot:
        """Store an answer, without control characters."""
        slot = self._find(type_, group, number)
        text = stripped(value)
        if slot is not None and slot.value is not None:
            raise refusal("error.input-already-provided", f"{slot.name} has been provided already")
        if not self.check(type_, group):
            raise ServiceError(DOMAIN_CLIENT, "User input not required")
        if slot is None:
            raise refusal("invalid-input", "no such user input is asked for")
        if not text:
            raise refusal("error.invalid-input", f"No value provided for {slot.name}")
        slot.value = Secret(text)
        return slot

    def _of(self, type_: int, group: int) -> list[Slot]:
        return [s for s in self._slots if (s.type, s.group) == (type_, group)]

    def _find(self, type_: int, group: int, number: int) -> Slot | None:
        return next((s for s in self._of(type_, group) if s.number == number), None)

    def _named(self, group: AttentionGroup, name: str) -> Slot | None:
        return next((s for s in self._slots if s.group == group and s.name == name), None)

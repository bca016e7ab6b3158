"""The questions a session asks: slots of its user-input queue."""

from dataclasses import dataclass

from ovpn3.constants import AttentionType
from ovpn3.proxies.session import Session


@dataclass(frozen=True)
class Slot:
    """One question that has no answer yet. `hidden`: what is typed must not be seen."""

    type: int
    group: int
    number: int
    name: str
    label: str
    hidden: bool


async def unanswered(session: Session) -> list[Slot]:
    """Open questions for credentials, in the order in which they were asked."""
    return [
        Slot(*await session.fetch(type_, group, number))
        for type_, group in await session.type_groups()
        if type_ == AttentionType.CREDENTIALS
        for number in await session.check(type_, group)
    ]


async def provide(session: Session, slot: Slot, value: str) -> None:
    """Answer a question."""
    await session.provide(slot.type, slot.group, slot.number, value)

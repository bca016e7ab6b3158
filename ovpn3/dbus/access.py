"""Owner, granted users and public access of an object, and the rules made from them."""

import os

from ovpn3.dbus.dispatch import Call
from ovpn3.errors import AccessDenied, ConfigurationRefused

MAX_GRANTED = 1000


class AccessList:
    """Who may use an object. uid numbers throughout."""

    def __init__(self, owner: int, granted: list[int] | None = None, public: bool = False) -> None:
        self.owner, self.granted, self.public = owner, list(granted or ()), public

    def grant(self, uid: int) -> None:
        if uid in self.granted:
            raise ConfigurationRefused("UID already granted access")
        if len(self.granted) >= MAX_GRANTED:
            raise ConfigurationRefused(f"access is granted to {MAX_GRANTED} users already")
        self.granted.append(uid)

    def revoke(self, uid: int) -> None:
        if uid not in self.granted:
            raise ConfigurationRefused("UID not granted access")
        self.granted.remove(uid)

    def may_use(self, uid: int) -> bool:
        return self.public or uid == self.owner or uid in self.granted


class Governed:
    """Mixin of objects that have an AccessList."""

    access: AccessList


def service_uid() -> int:
    """The service account: the account that this process runs as."""
    return os.geteuid()


def refusal(call: Call, reason: str = "") -> AccessDenied:
    """What a caller without the right is told, whatever the rule: who, what, where, and if it helps, why."""
    text = f"Access denied: {call.sender} may not use {call.target} on {call.path}"
    return AccessDenied(f"{text}: {reason}" if reason else text)


async def owner(obj: Governed, call: Call) -> None:
    """The owner."""
    if await call.uid() != obj.access.owner:
        raise refusal(call)


async def owner_or_granted(obj: Governed, call: Call) -> None:
    """Owner and granted users; public access doesn't help."""
    uid = await call.uid()
    if uid != obj.access.owner and uid not in obj.access.granted:
        raise refusal(call)


async def user(obj: Governed, call: Call) -> None:
    """Owner and granted users, everybody once the object is public."""
    if not obj.access.may_use(await call.uid()):
        raise refusal(call)


async def user_or_service(obj: Governed, call: Call) -> None:
    """Owner, granted users, service account, everybody once the object is public."""
    uid = await call.uid()
    if uid != service_uid() and not obj.access.may_use(uid):
        raise refusal(call)


async def insider(obj: Governed, call: Call) -> None:
    """Root, owner, granted users, service account; public access doesn't help."""
    uid = await call.uid()
    if uid not in (0, obj.access.owner, service_uid()) and uid not in obj.access.granted:
        raise refusal(call)


async def same_uid(obj: object, call: Call) -> None:
    """The service account."""
    if await call.uid() != service_uid():
        raise refusal(call)


async def administrator(obj: object, call: Call) -> None:
    """Root and the service account."""
    if await call.uid() not in (0, service_uid()):
        raise refusal(call)


async def root(obj: object, call: Call) -> None:
    """Root."""
    if await call.uid() != 0:
        raise refusal(call)

"""Ordinary users of the sandbox, and how to be one of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """A user of the sandbox; group and user id are the same number."""

    name: str
    uid: int

    @property
    def home(self) -> str:
        return f"/run/home/{self.name}" if self.uid else "/root"

    @contextmanager
    def assumed(self) -> Iterator[None]:
        """Let this process be the user meanwhile, which is what a bus takes from whoever connects."""
        os.setresgid(self.uid, self.uid, 0)
        os.setresuid(self.uid, self.uid, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)


ROOT = Account("root", 0)
ALICE = Account("alice", 29001)
BOB = Account("bob", 29002)

"""Modules that are loaded when something in them is first asked for, and else take no memory.

For what a library imports in case it is needed, and for the front door of a package of which we use few rooms: its
submodules can be imported as ever.
"""

import importlib.util
import sys
from types import ModuleType


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> object:
        submodule = f"{self.__name__}.{name}"
        if "__path__" in vars(self) and importlib.util.find_spec(submodule):
            return importlib.import_module(submodule)
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on what it seems to be
        assert self.__spec__
        assert self.__spec__.loader
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def defer(*names: str) -> None:
    """Put modules in place without running them, if they aren't loaded yet. A package comes before its parts."""
    for name in names:
        if name not in sys.modules:
            spec = importlib.util.find_spec(name)
            if spec is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            module = importlib.util.module_from_spec(spec)
            module.__class__ = _Deferred
            sys.modules[name] = module


def import_asyncio() -> None:
    """Without what it and the rest of the standard library use in few functions only, such as TLS."""
    # Python 3.13 has `dataclasses` load `inspect`, which needs `ast` for little of what it does.
    defer("ast", "inspect", "ipaddress", "linecache", "locale", "textwrap")
    if "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # as documented: an import fails, and asyncio does without
    import asyncio  # noqa: F401

    del sys.modules["ssl"]

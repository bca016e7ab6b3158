"""Work of other processes that can't be called back."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def unbroken(work: Coroutine[Any, Any, _T]) -> _T:
    """Await `work`; if we are cancelled meanwhile, then only once it is done."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()  # looked at: asyncio would complain of one that nobody has seen
        raise asyncio.CancelledError
    return task.result()

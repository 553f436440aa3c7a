"""One call at a time for an object that several threads share."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound="Shared")


class Shared:
    """Holds a lock, which copies and pickles do not share."""

    _lock: threading.RLock

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Make the lock, also for copies, which call no ``__init__``."""
        made = super().__new__(cls)
        made._lock = threading.RLock()
        return made

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: value for name, value in vars(self).items() if name != "_lock"}


def one_at_a_time(*names: str) -> Callable[[type[Kind]], type[Kind]]:
    """Let calls of some methods of a class wait for each other, so that each is whole.

    Parameters
    ----------
    names : str
        The methods; they may call each other.
    """

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def whole(self: Shared, *arguments: Any, **named: Any) -> Any:
            with self._lock:
                return method(self, *arguments, **named)

        return whole

    def decorated(kind: type[Kind]) -> type[Kind]:
        for name in names:
            setattr(kind, name, locked(getattr(kind, name)))
        return kind

    return decorated

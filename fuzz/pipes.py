# SPDX-License-Identifier: Apache-2.0
"""The pipes between the driver and a worker, seen from the driver: one line of JSON a message.

Nothing that comes out of them is believed before it is checked: the target's code runs in the worker and may write to
its pipe, kill it in the middle of a line, or leave a child that holds the pipe open.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import time
from collections.abc import Callable
from typing import Any

from fuzz.case import MeshfuzzError

QUOTED = 80  # characters of a reply that cannot be read
REPLY_LIMIT = 64 << 20  # bytes of one message; the longest are modules with their constants
POLL = 0.25  # seconds between looks at a process that works; memory is filled with up to 4 GiB a second
PIPE = 1 << 16  # bytes, a full one


class Misbehaved(MeshfuzzError):
    """The process did what ends it, though it lives and the deadline has not come. The message says what."""


class Pipes:
    """The driver's ends. Used by one thread at a time."""

    def __init__(self) -> None:
        self._replies, replies = os.pipe()
        # Nothing is ever written here: that its other end closes tells the worker that this process is gone.
        lifeline, self._life = os.pipe()
        requests, self._requests = os.pipe()
        os.set_blocking(self._requests, False)
        self._theirs = (requests, replies, lifeline)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._replies, selectors.EVENT_READ)
        self._buffer = bytearray()
        self._token = ""
        self._looked = 0.0

    def theirs(self) -> tuple[int, int, int]:
        """The worker's ends, for requests, replies and the lifeline; to be closed here once the worker has them."""
        return self._theirs

    def ask(self, request: dict[str, Any], until: float) -> None:
        """Send a request. Only its replies are taken from now on. Raises what `write` raises."""
        # What does not carry it is no reply to this: an answer to an earlier request, or somebody else's line.
        self._token = secrets.token_hex(8)
        self._looked = time.monotonic()
        self.write({**request, "token": self._token}, until)

    def write(self, message: dict[str, Any], until: float) -> None:
        """Send a message. Raises TimeoutError at `until` (time.monotonic) if the process does not take it."""
        left = memoryview(json.dumps(message).encode() + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_WRITE)
            # A dead reader is noticed, with its cause, where the reply is read.
            with contextlib.suppress(BrokenPipeError):
                while left:
                    if not selector.select(max(0.0, until - time.monotonic())):
                        raise TimeoutError
                    left = left[os.write(self._requests, left) :]

    def next(self, until: float, look: Callable[[], bool]) -> dict[str, Any] | None:
        """The next message; None if the process is dead. `look` is called now and then, and says whether it is.

        Raises TimeoutError at `until` (time.monotonic), Misbehaved, and what `look` raises.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > REPLY_LIMIT:
                raise Misbehaved(f"wrote a reply of more than {readable_size(REPLY_LIMIT)}")
            now = time.monotonic()
            if now >= until:
                raise TimeoutError
            if now >= self._looked + POLL:
                self._looked = now
                if look():
                    return self._last()
            if self._selector.select(min(until - now, POLL)):
                chunk = os.read(self._replies, PIPE)
                if not chunk:
                    return None
                self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return self._checked(line)

    def _last(self) -> dict[str, Any] | None:
        """What the process still said before it died. Its children may hold the pipe open, and write to it."""
        if self._selector.select(0):
            self._buffer += os.read(self._replies, PIPE)
        line, end, _ = bytes(self._buffer).partition(b"\n")
        self._buffer.clear()
        return self._checked(line) if end else None

    def _checked(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Misbehaved(unreadable(line)) from error
        if not isinstance(message, dict) or message.pop("token", "") != self._token:
            raise Misbehaved(unreadable(line))
        return message

    def waiting(self) -> bool:
        """Whether the process has said something, or closed its pipe, without being asked."""
        return bool(self._buffer) or bool(self._selector.select(0))

    def dismiss(self) -> None:
        """Close the pipe of requests, which asks the process to end."""
        if self._requests >= 0:
            os.close(self._requests)
            self._requests = -1

    def close(self) -> None:
        self.dismiss()
        self._selector.close()
        os.close(self._replies)
        os.close(self._life)


def unreadable(reply: object) -> str:
    """What is wrong with a reply that is none."""
    # What follows the semicolon is no part of the failure's signature.
    return f"wrote what is no reply; it begins with {repr(reply)[:QUOTED]}"


def readable_size(count: int) -> str:
    """Bytes for people."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"

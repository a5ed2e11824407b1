"""A gate: so many may be inside at once, the others stand in line. Its width moves while it is in use.

Pure but for the calls that wake whoever waits: `_drive.py` gives each turn its own, an event or a future. Threads may
share one.
"""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Gate:
    """As wide as the smallest of its measures. `window` is moved by success and refusal: one more at a time, half at
    once; `most` is never passed; then the room that the service says it has, under each of its limits.
    """

    def __init__(self, window: float, most: float = float("inf")) -> None:
        self._lock = threading.RLock()
        self._window = window
        self._most = most
        self._rooms: dict[str, float] = {}
        self._inside = 0
        self._line: deque[Turn] = deque()

    @property
    def width(self) -> float:
        """How many may be inside."""
        return max(1, min(self._window, self._most, *self._rooms.values()))

    @property
    def inside(self) -> int:
        """How many are."""
        return self._inside

    def turn(self) -> "Turn":
        """A place at the end of the line, or inside at once."""
        with self._lock:
            turn = Turn(self)
            self._line.append(turn)
            self._let_in()
        return turn

    def grow(self, most: float) -> None:
        """One more, up to `most`: where the width was used and there was room for more."""
        with self._lock:
            if self._inside + 1 > self._window < most:
                self._window += 1
                self._let_in()

    def halve(self) -> None:
        """Half as many: where one was refused."""
        with self._lock:
            self._window = max(1.0, min(self._window, self._inside) // 2)

    def open(self) -> None:
        """As wide as it gets."""
        with self._lock:
            self._window = float("inf")
            self._let_in()

    def has_room_for(self, limit: str, room: float) -> None:
        """Under that limit, the service has room for so many of ours."""
        with self._lock:
            self._rooms[limit] = room
            self._let_in()

    def leave(self, turn: "Turn") -> None:
        """The turn is over, or its place in the line is given up; once is enough."""
        with self._lock:
            if turn.inside:
                turn.inside = False
                self._inside -= 1
                self._let_in()
            elif turn in self._line:
                self._line.remove(turn)

    def await_(self, turn: "Turn", wake: Callable[[], object]) -> None:
        """Have `wake` called when the turn is inside; at once where it is."""
        with self._lock:
            if turn.inside:
                wake()
            else:
                turn.wake = wake

    def _let_in(self) -> None:
        while self._line and self._inside + 1 <= self.width:
            turn = self._line.popleft()
            self._inside += 1
            turn.inside = True
            if turn.wake is not None:
                turn.wake()


class Turn:
    """One's place at a gate: in line, inside, or over."""

    __slots__ = ("gate", "inside", "wake")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside = False
        self.wake: Callable[[], object] | None = None

    def await_(self, wake: Callable[[], object]) -> None:
        """Have `wake` called when it is inside; at once where it is."""
        self.gate.await_(self, wake)

    def leave(self) -> None:
        """Let the next one in."""
        self.gate.leave(self)


class Turns:
    """The turns of one task at all gates that it passes, for as long as the task is under way: leave when it has ended."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []

    def add(self, turn: Turn) -> Turn:
        """Take this one along."""
        self._turns.append(turn)
        return turn

    def leave(self) -> None:
        """Let the next task in; once is enough."""
        while self._turns:
            self._turns.pop().leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

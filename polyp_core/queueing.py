"""Runs wait for their turn: one trains at a time, the others in an order that anybody can change.

There is no master. Every run that was asked to start has a ticket, a small file with its place;
its worker waits until no living ticket stands before its own, then takes a slot, which is a lock.
A worker that dies gives up both, whatever killed it.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from polyp_core.access import check_writable, is_demo
from polyp_core.files import write_atomically
from polyp_core.runs import ACTIVE_STATES, Run

_LOOK_EVERY_S = 0.3
_GRACE_S = 20.0  # so long a ticket counts whose worker has not come up yet


@dataclass(frozen=True)
class Ticket:
    """A run that waits or works; who was asked first has the lower place."""

    path: Path
    run: Run
    place: float
    written_at: float

    def is_valid(self) -> bool:
        """Whether its worker lives, or may still be coming up."""
        return time.time() - self.written_at < _GRACE_S or self.run.is_alive()


def add_ticket(queue_dir: Path, run: Run) -> None:
    """Put a run at the end of the queue; one that is there already keeps its place."""
    queue_dir.mkdir(parents=True, exist_ok=True)
    path = _name_ticket(queue_dir, run)
    known = None
    with contextlib.suppress(OSError):  # there is none
        known = _read_ticket(path)
    _write_ticket(path, run, known.place if known and known.is_valid() else time.time())


def remove_ticket(queue_dir: Path, run: Run) -> None:
    """Take a run out of the queue."""
    _throw_away(_name_ticket(queue_dir, run))


def list_tickets(queue_dir: Path) -> list[Ticket]:
    """Every valid ticket in its order; those of dead workers and damaged ones are thrown away."""
    tickets = []
    for path in queue_dir.glob("*.json"):
        try:
            ticket = _read_ticket(path)
        except OSError:  # it has just gone, or cannot be read now: the next look will tell
            continue
        if ticket is not None and ticket.is_valid():
            tickets.append(ticket)
        elif not is_demo():  # where looking changes nothing
            _throw_away(path)
    return sorted(tickets, key=lambda ticket: (ticket.place, ticket.path.name))


def list_active_runs(queue_dir: Path) -> list[tuple[Run, dict[str, Any]]]:
    """The runs that train, then those that wait, in their order; each with its status."""
    found = [(ticket.run, ticket.run.read_status()) for ticket in list_tickets(queue_dir)]
    return [item for state in ("running", "queued") for item in found if item[1]["state"] == state]


def move_run(queue_dir: Path, run: Run, *, earlier: bool) -> None:
    """Let a waiting run change places with its neighbour; nothing where it has none."""
    check_writable("Changing the queue")
    waiting = [t for t in list_tickets(queue_dir) if t.run.read_status()["state"] == "queued"]
    path = _name_ticket(queue_dir, run)
    position = next((n for n, ticket in enumerate(waiting) if ticket.path == path), None)
    other = None if position is None else position + (-1 if earlier else 1)
    if position is None or other is None or not 0 <= other < len(waiting):
        return
    mine, neighbour = waiting[position], waiting[other]
    _write_ticket(mine.path, mine.run, neighbour.place)
    _write_ticket(neighbour.path, neighbour.run, mine.place)


def wait_for_slot(
    queue_dir: Path, run: Run, num_slots: int, on_wait: Callable[[int], None]
) -> FileLock:
    """Wait until it is a run's turn and a slot is free.

    Args:
        queue_dir: Where tickets and slots lie.
        run: Whose worker this is; it holds the run's lock.
        num_slots: How many runs may train at once.
        on_wait: Called with the number of runs that have to end before, several times a second.
            An exception it raises ends the waiting.

    Returns:
        The slot's lock, to be held as long as the run works.
    """
    while True:
        before = _list_before(queue_dir, run)
        if "queued" not in before:
            for number in range(num_slots):
                slot = FileLock(queue_dir / f"slot-{number}.lock")
                try:
                    slot.acquire(timeout=0)
                except Timeout:
                    continue
                return slot
        on_wait(max(1, len(before) - num_slots + 1))
        time.sleep(_LOOK_EVERY_S)


def _list_before(queue_dir: Path, run: Run) -> list[str]:
    """The states of the active runs that stand before this one; a lost ticket is written anew."""
    path = _name_ticket(queue_dir, run)
    if not path.exists():
        add_ticket(queue_dir, run)
    before = []
    for ticket in list_tickets(queue_dir):
        if ticket.path == path:
            break
        before.append(str(ticket.run.read_status()["state"]))
    return [state for state in before if state in ACTIVE_STATES]


def _name_ticket(queue_dir: Path, run: Run) -> Path:
    directory = str(run.directory.resolve())
    return queue_dir / f"{hashlib.sha256(directory.encode()).hexdigest()[:16]}.json"


def _write_ticket(path: Path, run: Run, place: float) -> None:
    values = {"directory": str(run.directory.absolute()), "place": place, "written_at": time.time()}
    write_atomically(path, json.dumps(values))


def _read_ticket(path: Path) -> Ticket | None:
    """A ticket, or None if it is damaged.

    Raises:
        OSError: If there is none, or it cannot be read at the moment.
    """
    text = path.read_bytes()
    try:
        values: dict[str, Any] = json.loads(text)
        run = Run(Path(values["directory"]))
        return Ticket(path, run, float(values["place"]), float(values["written_at"]))
    except (ValueError, KeyError, TypeError):
        return None


def _throw_away(path: Path) -> None:
    """Delete a ticket; on Windows it stays while somebody reads it, until a later look."""
    with contextlib.suppress(OSError):
        path.unlink()

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from polyp_core import queueing
from polyp_core.queueing import (
    add_ticket,
    list_active_runs,
    list_tickets,
    move_run,
    remove_ticket,
    wait_for_slot,
)
from polyp_core.runs import Run
from polyp_core.workspace import get_queue_dir


class LookedError(Exception):
    """Raised by a waiting run after its first look, so that a test need not wait."""


@pytest.fixture
def queue_dir():
    return get_queue_dir()


@pytest.fixture
def make_run(tmp_path, queue_dir):
    """Makes runs whose workers live: their locks are held until the test ends."""
    with ExitStack() as locks:

        def make(name, state="queued", *, is_alive=True, has_ticket=True):
            run = Run(tmp_path / "runs" / name)
            run.directory.mkdir(parents=True)
            run.path("worker.log").touch()
            run.write_json("status.json", {"state": state, "message": ""})
            if is_alive:
                locks.enter_context(run.lock().acquire())
            if has_ticket:
                add_ticket(queue_dir, run)
                time.sleep(0.002)  # the next one is asked later
            return run

        yield make


def count_before(queue_dir, run):
    """How many runs a waiting one is told to be before it."""
    told = []

    def look(num_before):
        told.append(num_before)
        raise LookedError

    with pytest.raises(LookedError):
        wait_for_slot(queue_dir, run, 1, look)
    return told[0]


def name_order(queue_dir):
    return [ticket.run.name for ticket in list_tickets(queue_dir)]


def never(_):
    raise AssertionError("it should not wait")


def test_who_was_asked_first_is_first(queue_dir, make_run):
    for name in ("c", "a", "b"):
        make_run(name)
    assert name_order(queue_dir) == ["c", "a", "b"]


def test_asking_again_keeps_the_place(queue_dir, make_run):
    first, _ = make_run("first"), make_run("second")
    add_ticket(queue_dir, first)
    assert name_order(queue_dir) == ["first", "second"]


def test_the_first_run_starts_and_the_others_are_told_how_many_are_before_them(queue_dir, make_run):
    first, second, third = (make_run(name) for name in ("first", "second", "third"))
    slot = wait_for_slot(queue_dir, first, 1, never)
    assert (count_before(queue_dir, second), count_before(queue_dir, third)) == (1, 2)
    first.write_json("status.json", {"state": "running"})
    assert (count_before(queue_dir, second), count_before(queue_dir, third)) == (1, 2)
    slot.release()
    wait_for_slot(queue_dir, second, 1, never).release()


def test_a_slot_is_free_again_whatever_ended_its_run(queue_dir, make_run):
    """The slot is a lock and the ticket counts only with one: both fall with the process."""
    make_run("killed", "running", is_alive=False)
    waiting = make_run("waiting")
    wait_for_slot(queue_dir, waiting, 1, never).release()


def test_a_waiting_run_that_was_killed_holds_nobody_up(queue_dir, make_run):
    make_run("killed", "queued", is_alive=False)
    waiting = make_run("waiting")
    wait_for_slot(queue_dir, waiting, 1, never).release()


def test_two_slots_let_two_runs_work(queue_dir, make_run):
    first, second, third = (make_run(name) for name in ("first", "second", "third"))
    slots = []
    for run in (first, second):
        slots.append(wait_for_slot(queue_dir, run, 2, never))
        run.write_json("status.json", {"state": "running"})
    told = []

    def look(num_before):
        told.append(num_before)
        raise LookedError

    with pytest.raises(LookedError):
        wait_for_slot(queue_dir, third, 2, look)
    assert told == [1]
    for slot in slots:
        slot.release()


def test_waiting_goes_on_until_the_slot_is_free(queue_dir, make_run, monkeypatch):
    monkeypatch.setattr(queueing, "_LOOK_EVERY_S", 0.001)
    run, told = make_run("waiting"), []
    other = FileLock(queue_dir / "slot-0.lock")
    other.acquire()

    def look(num_before):
        told.append(num_before)
        if len(told) == 3:
            other.release()

    slot = wait_for_slot(queue_dir, run, 1, look)
    assert told == [1, 1, 1]
    with pytest.raises(Timeout):
        FileLock(queue_dir / "slot-0.lock").acquire(timeout=0)
    slot.release()


def test_a_run_changes_places_with_its_waiting_neighbour(queue_dir, make_run):
    working = make_run("working", "running")
    slot = wait_for_slot(queue_dir, working, 1, never)
    a, b, c = (make_run(name) for name in "abc")
    move_run(queue_dir, c, earlier=True)
    assert name_order(queue_dir) == ["working", "a", "c", "b"]
    move_run(queue_dir, a, earlier=False)
    assert name_order(queue_dir) == ["working", "c", "a", "b"]
    # At an end, or not waiting at all: nothing happens. The one that works stays the first.
    for run, earlier in (
        (c, True),
        (b, False),
        (working, False),
        (Run(working.directory.parent), True),
    ):
        move_run(queue_dir, run, earlier=earlier)
    assert name_order(queue_dir) == ["working", "c", "a", "b"]
    assert [count_before(queue_dir, run) for run in (c, a, b)] == [1, 2, 3]
    slot.release()


def test_the_list_shows_first_who_works_then_who_waits(queue_dir, make_run):
    make_run("waits-1")
    make_run("works", "running")
    make_run("waits-2")
    make_run("has ended", "stopped", is_alive=False)
    assert [run.name for run, _ in list_active_runs(queue_dir)] == ["works", "waits-1", "waits-2"]


def test_a_ticket_counts_for_a_while_until_its_worker_has_come_up(queue_dir, make_run):
    run = make_run("coming", is_alive=False)
    assert name_order(queue_dir) == ["coming"]
    (path,) = queue_dir.glob("*.json")
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"written_at": time.time() - 21}))
    assert name_order(queue_dir) == []
    assert not path.exists()  # a dead one is thrown away
    add_ticket(queue_dir, run)
    assert name_order(queue_dir) == ["coming"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"directory": 1}', '{"directory": "x"}'])
def test_a_damaged_ticket_is_thrown_away(queue_dir, make_run, text):
    make_run("good")
    (queue_dir / "bad.json").write_text(text)
    assert name_order(queue_dir) == ["good"]
    assert not (queue_dir / "bad.json").exists()


@pytest.fixture
def refuse(monkeypatch):
    """Makes reading or deleting the files of one name fail, as Windows does while others use it."""

    def refuse_(method, name):
        known = getattr(Path, method)

        def call(path, *args, **kwargs):
            if path.name == name:
                raise PermissionError(13, "in use")
            return known(path, *args, **kwargs)

        monkeypatch.setattr(Path, method, call)

    return refuse_


def test_a_ticket_that_cannot_be_read_now_is_passed_over_and_kept(
    queue_dir, make_run, refuse, monkeypatch
):
    make_run("first")
    (path,) = queue_dir.glob("*.json")
    make_run("second")
    for method in ("read_text", "read_bytes"):
        refuse(method, path.name)
    assert name_order(queue_dir) == ["second"]
    monkeypatch.undo()
    assert [ticket.run.name for ticket in list_tickets(queue_dir)] == ["first", "second"]


def test_a_ticket_that_goes_while_it_is_looked_at_is_passed_over(queue_dir, make_run, monkeypatch):
    first, _ = make_run("first"), make_run("second")
    known = queueing._read_ticket

    def read(path):
        remove_ticket(queue_dir, first)  # its worker ends at this very moment
        return known(path)

    monkeypatch.setattr(queueing, "_read_ticket", read)
    assert name_order(queue_dir) == ["second"]


def test_a_ticket_that_cannot_be_deleted_now_is_deleted_at_a_later_look(
    queue_dir, make_run, refuse, monkeypatch
):
    run = make_run("ended", is_alive=False)
    (path,) = queue_dir.glob("*.json")
    path.write_text("{")
    refuse("unlink", path.name)
    assert name_order(queue_dir) == []
    remove_ticket(queue_dir, run)
    assert path.exists()
    monkeypatch.undo()
    assert list_tickets(queue_dir) == []
    assert not path.exists()


def test_a_new_ticket_is_not_asked_whether_its_worker_lives(queue_dir, make_run, monkeypatch):
    make_run("new")
    monkeypatch.setattr(Run, "is_alive", never)
    assert name_order(queue_dir) == ["new"]


def test_a_lost_ticket_is_written_anew_at_the_end(queue_dir, make_run):
    lost, other = make_run("lost"), make_run("other")
    remove_ticket(queue_dir, lost)
    assert count_before(queue_dir, lost) == 1
    assert name_order(queue_dir) == ["other", "lost"]
    wait_for_slot(queue_dir, other, 1, never).release()


def test_a_ticket_is_removed_once_and_again(queue_dir, make_run):
    run = make_run("one")
    remove_ticket(queue_dir, run)
    remove_ticket(queue_dir, run)
    assert name_order(queue_dir) == []
    assert list_tickets(queue_dir / "nowhere") == []


def test_two_runs_of_one_name_in_different_folders_have_two_tickets(tmp_path, queue_dir):
    for folder in ("here", "there"):
        run = Run(tmp_path / folder / "same")
        run.directory.mkdir(parents=True)
        add_ticket(queue_dir, run)
    assert name_order(queue_dir) == ["same", "same"]

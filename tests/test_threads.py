"""What goes by `asyncio.to_thread`, and so may go on behind the back of a task that was cancelled: only what reads.
And how threads and tasks are begun: so that no error ends one unseen.

The rules stand in holdfast/base/tasks.py and threads.py; here they are checked in the source itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "src" / "holdfast"
MODULE = Path(__file__).parent.parent / "module"
MAY_GO_ON = {
    "commands/failed.py": {"lambda: list(itertools.islice(meant, BATCH))"},
    "commands/syncing.py": {"list", "selected"},
    "commands/uploading.py": {
        "lambda: Candidates(manager.files, roots, sync_paths).find(path)",
        "lambda: list(itertools.islice(found, _BATCH))",
    },
    "steering/open_sequences.py": {"function"},  # what follows it waits for it, and nobody else
    "steering/user_settings.py": {"settings_file.read"},
    "storage/writing/disk_writer.py": {"self._end"},  # only waits, for threads that end by themselves
    "storage/stores.py": {"left_behind"},
    "sync/quarantine_count.py": {"self._count"},
    "storage/space/limits.py": {"self.check"},  # `close` waits for it
    "storage/store.py": {"self._lock.owner", "self._look_at_root", "self._why_protected"},
    "base/tasks.py": {"function"},  # `in_thread`
    "sync/walk/backlog.py": {"next"},
    "sync/walk/round_files.py": {"next", "self._look_at_all", "walk.look_at"},
    "sync/rounds.py": {"select", "walk.look_at"},
    "sync/way/lookup.py": {"_look_up"},
    "sync/cloud/cloud.py": {"roots"},
    "sync/delivery/sequence_delivery.py": {"read", "self._files.stat"},
    "sync/summary.py": {"_real"},
    "sync/uploads/uploads.py": {"file.is_unchanged"},
}
"""By file: what neither changes the disk nor counts, or what somebody else waits for."""


def sent_to_threads(source: str) -> Iterator[str]:
    """What is run on a worker thread and not by `in_thread`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "run_in_executor":
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "to_thread":
            yield ast.unparse(node.args[0])


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_only_what_reads_may_go_on_when_its_task_is_cancelled(path: Path) -> None:
    """Something new here either goes by `in_thread`, or is entered above since it only reads."""
    name = str(path.relative_to(SOURCES))
    assert set(sent_to_threads(path.read_text())) == MAY_GO_ON.get(name, set())


def test_each_exception_is_of_a_file_that_is_there() -> None:
    assert [name for name in MAY_GO_ON if not (SOURCES / name).exists()] == []


@pytest.mark.parametrize(
    "source",
    ["asyncio.to_thread(remove, 1)", "to_thread(remove)", "loop.run_in_executor(None, remove)"],
)
def test_whatever_goes_to_a_thread_is_seen(source: str) -> None:
    assert len(list(sent_to_threads(source))) == 1


BEGINS = {
    "threading.Thread": {"base/threads.py"},
    "start_new_thread": {"base/threads.py"},
    "create_task": {
        "base/tasks.py",
        "capture/collector.py",  # its call takes every error itself
        "main.py",  # waits for it
    },
}
"""What begins a thread or a task, and the files that may do it; all others go by `SupervisedThread` and `begin`."""


@pytest.mark.parametrize(("call", "may"), BEGINS.items(), ids=BEGINS)
def test_no_thread_and_no_task_is_begun_that_an_error_could_end_unseen(call: str, may: set[str]) -> None:
    found = set()
    for folder in (SOURCES, MODULE):
        for path in folder.rglob("*.py"):
            calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
            if any(ast.unparse(node.func).endswith(call) for node in calls):
                found.add(str(path.relative_to(folder)))
    assert found == may

"""What really goes wrong with a disk is a problem as long as it lasts, with its true cost, and is summed up in the
log."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.storage.space import limits
from holdfast.storage.writing import losses
from tests.users import US, acting_as, folder_of, needs_root, open_place
from tests.waiting import eventually

from . import disks, strace
from .disks import MEBIBYTE
from .test_disks import NAMES, Machine, disk_threads

OTHERS = NAMES[1:]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses and the disk are looked at often here, and losses are over soon."""
    monkeypatch.setattr(limits, "DISK_CHECK_S", 0.5)
    monkeypatch.setattr(losses, "LOOK_S", 0.05)
    monkeypatch.setattr(losses, "QUIET_S", 0.5)
    monkeypatch.setattr(losses, "SAY_S", 1.0)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def start(folder: Path, **attributes: Any) -> Machine:
        made.append(Machine(folder))
        made[-1].start(**attributes)
        return made[-1]

    yield start
    for each in made:
        await each.stop()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of a user who is not root; this process acts as that user."""
    with open_place() as folder:
        ours = folder_of(US, folder / "of-us")
        with acting_as(US):
            yield ours


def of_the_disk(machine: Machine, word: str) -> list[dict[str, Any]]:
    return [
        each for each in machine.status["problems"] if each["kind"] in ("disk", "state") and word in each["what"]
    ]


async def it_is_a_problem(machine: Machine, word: str) -> dict[str, Any]:
    """Returns the problem with this word as soon as it costs readings of all collectors."""

    def now() -> list[dict[str, Any]]:
        return [each for each in of_the_disk(machine, word) if "were dropped until" not in each["what"]]

    await eventually(lambda: any("of 10 collectors" in each["cost"] for each in now()))
    found = next(each for each in now() if each["cost"])
    dropped = sum(machine.dropped.values())
    assert 0 < int(re.match(r"\d+", found["cost"])[0]) <= dropped  # type: ignore[index]
    assert found["times"] == 1 and found["do"] and found["since"].endswith("Z")
    return found


async def it_is_over(machine: Machine) -> None:
    await eventually(lambda: all("were dropped until" in each["what"] for each in of_the_disk(machine, "")))


def numbers(caplog: pytest.LogCaptureFixture, text: str) -> list[int]:
    """The numbers of readings in these lines of the log."""
    return [int(found) for found in re.findall(text, caplog.text)]


@pytest.mark.usefixtures("needs_disks")
async def test_a_full_disk_is_a_problem_while_it_is_full_and_the_log_has_the_whole_number(
    machine: Callable[..., Machine], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with disks.ext4(tmp_path / "disk", 16 * MEBIBYTE) as disk:
        it = machine(disk.folder)
        await it.all_are_kept_again()
        assert of_the_disk(it, "") == []
        for _ in range(2):
            before = sum(it.dropped.values())
            caplog.clear()
            disk.fill()
            found = await it_is_a_problem(it, "No space left on device")
            assert "free space" in found["do"]
            await eventually(lambda: "since this began: " in caplog.text)
            await disk.free()
            await it.all_are_kept_again()
            await it_is_over(it)
            (whole,) = numbers(caplog, r"takes readings again: \w+ cost (\d+) readings of 10 collectors")
            assert whole == sum(it.dropped.values()) - before
            assert numbers(caplog, r"since this began: (\d+)")[0] <= whole
            assert "capture goes on" not in caplog.text
        await it.stopped_with_a_true_account()


@pytest.mark.usefixtures("needs_disks")
async def test_a_read_only_disk_is_a_problem_until_it_is_writable(
    machine: Callable[..., Machine], tmp_path: Path
) -> None:
    with disks.ext4(tmp_path / "disk", 16 * MEBIBYTE) as disk:
        it = machine(disk.folder)
        await it.all_are_kept_again()
        disk.refuse()
        assert "dmesg" in (await it_is_a_problem(it, "Read-only file system"))["do"]
        disk.permit()
        await it.all_are_kept_again()
        await it_is_over(it)


@needs_root
async def test_a_capture_folder_that_may_not_be_written_is_a_problem_from_the_start(
    machine: Callable[..., Machine], place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "capture").mkdir(mode=0o500)
    it = machine(place)
    found = await it_is_a_problem(it, "are dropped")
    assert "Permission denied" in found["what"] and "chown" in found["do"]
    (waits,) = of_the_disk(it, "is sent until that works")
    assert "Permission denied" in waits["what"] and waits["cost"] == ""
    assert it.kept(NAMES[0]) <= 5, "what is captured is dropped, and said to be"
    assert "sync waits until that works" in caplog.text and "capture goes on" not in caplog.text
    (place / "capture").chmod(0o700)
    await it.all_are_kept_again()
    await it_is_over(it)


@needs_root
async def test_a_folder_of_one_collector_that_may_not_be_written_is_a_problem_of_that_one(
    machine: Callable[..., Machine], place: Path
) -> None:
    sealed = place / "capture" / "rdk_component_sensor" / NAMES[0] / "Readings"
    sealed.mkdir(parents=True, mode=0o500)
    it = machine(place)
    await eventually(lambda: it.counts(NAMES[0]).dropped.get("no_permission", 0) > 3)
    await eventually(lambda: all(it.kept(name) > 10 for name in OTHERS))
    (found,) = of_the_disk(it, "are dropped")
    assert f"readings of {NAMES[0]} are dropped" in found["what"] and str(sealed) in found["what"]
    assert found["cost"].endswith("of 1 collector dropped")
    sealed.chmod(0o700)
    await it.all_are_kept_again()
    await it_is_over(it)


@needs_root
async def test_a_state_folder_that_can_not_be_used_costs_no_reading_and_is_a_problem(
    machine: Callable[..., Machine], place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = place / "capture" / ".holdfast"
    state.parent.mkdir()
    state.write_text("a file in the place of the folder")
    it = machine(place)
    await it.all_are_kept_again()
    (found,) = of_the_disk(it, ".holdfast")
    assert "is sent until that works" in found["what"] and found["cost"] == "" and not it.dropped
    assert "sync waits until that works" in caplog.text
    state.unlink()
    await it_is_over(it)


@pytest.mark.usefixtures("needs_strace")
@pytest.mark.parametrize(
    ("calls", "what"),
    [
        ("fsync", "a power cut now may cost"),
        ("rename", "are not sent before the disk gives them"),
        ("write", "counts since then are lost"),
    ],
)
async def test_a_disk_that_does_not_confirm_complete_or_count_is_a_problem_until_it_does(
    calls: str, what: str, machine: Callable[..., Machine], tmp_path: Path
) -> None:
    it = machine(tmp_path)
    await it.all_are_kept_again()
    async with strace.failing(disk_threads("holdfast-sync-disk"), calls, "EIO"):
        await eventually(lambda: of_the_disk(it, what))
    await it_is_over(it)


@pytest.mark.usefixtures("needs_disks")
async def test_what_a_limit_deletes_is_a_problem_with_the_number_of_readings(
    machine: Callable[..., Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELETING_S", 3.0)
    with disks.tmpfs(tmp_path / "disk", MEBIBYTE) as disk:
        it = machine(disk.folder, disk_usage_deletion_threshold=0.6, capture_dir_deletion_threshold=0.3)
        await eventually(lambda: of_the_disk(it, "that the cloud does not have was deleted"), timeout_s=40)
        status = it.status
        (found,) = [each for each in status["problems"] if "was deleted" in each["what"]]
        assert "the disk was" in found["what"]
        assert found["cost"].startswith(f"{status['space']['folders'][0]['deleted_readings']} readings in ")
        it.start(capture_disabled=True, disk_usage_deletion_threshold=1.0)
        await it_is_over(it)


@pytest.mark.usefixtures("needs_disks")
async def test_a_disk_full_of_other_data_is_a_problem_until_it_is_freed(
    machine: Callable[..., Machine], tmp_path: Path
) -> None:
    with disks.tmpfs(tmp_path / "disk", 16 * MEBIBYTE) as disk:
        (disk.folder / "other").write_bytes(bytes(15 * MEBIBYTE))
        it = machine(disk.folder)
        await eventually(lambda: of_the_disk(it, "full, mostly of what is not captured data"))
        os.unlink(disk.folder / "other")
        await it_is_over(it)

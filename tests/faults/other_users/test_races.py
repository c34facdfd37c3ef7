"""A folder that changes places with a link thousands of times a second, while root's module sends, quarantines,
puts back and deletes what is in it: nothing of root is touched, and nothing of the neighbour's is lost."""

from __future__ import annotations

from pathlib import Path

import grpc

from holdfast.storage.quarantine.listing import quarantined_files
from holdfast.storage.quarantine.removal import QuarantineRemoval
from tests.sync.conftest import World, make_world, metadata, reading, write_capture_file
from tests.waiting import eventually

from .place import Place, make_old

FILES = 60
ROOTS = b"root's own content"
KINDS = ("good-{}.txt", "refused-{}.txt", "{:04}-a.capture", "{:04}-b.prog")


def is_refused(method: str, request: bytes | None) -> grpc.StatusCode | None:
    return grpc.StatusCode.INVALID_ARGUMENT if b"refused" in (request or b"") else None


def names() -> list[str]:
    return [kind.format(number) for kind in KINDS for number in range(FILES)]


def fill(place: Place, folder: Path, root_folder: Path) -> None:
    """Puts files of every kind into the neighbour's folder, and files of the same names into one of root."""
    (root_folder / "failed").mkdir(parents=True)
    for name in names():
        (root_folder / name).write_bytes(ROOTS)
        (root_folder / "failed" / name).write_bytes(ROOTS)
        if name.endswith(".txt"):
            place.neighbour.file(folder / name, name)
    for number in range(FILES):
        for letter, extension in (("a", ".capture"), ("b", ".prog")):
            path = write_capture_file(folder, f"{number:04}-{letter}", [reading(number)], metadata(letter))
            path.rename(path.with_suffix(extension))
    make_old(folder, root_folder)


async def work(world: World, place: Place, rounds: int) -> None:
    """Lets the module do all that it does in a sync path, for so many rounds."""
    removal = QuarantineRemoval(world.files, lambda file: world.ledger)
    done = world.completed + rounds
    while world.completed < done:
        seen = world.completed
        found = list(quarantined_files(world.files, [str(world.folder)], [str(place.logs)]))
        removal.put_back(found[:10])
        removal.discard(found[10:11])
        await eventually(lambda: world.completed > seen)  # noqa: B023 - it is awaited here


async def test_nothing_outside_is_touched_and_nothing_is_lost_while_a_folder_and_a_link_change_places(
    place: Place,
) -> None:
    inner, trap, root_folder = place.logs / "inner", place.home / "trap", place.etc / "inner"
    place.neighbour.folder(inner)
    place.neighbour.link(root_folder, trap)
    fill(place, inner, root_folder)
    (place.base / "module").mkdir()
    before = place.untouchable()
    async with make_world(place.base / "module") as world:
        await world.connected()
        world.cloud.fail_while = is_refused
        world.rounds.configure(world.settings(additional_paths=(str(place.logs),)))
        with place.neighbour.swapping(inner, trap):
            await work(world, place, 30)
        assert place.untouchable() == before
        assert ROOTS not in [content for _, content in world.arrived.files]
        world.cloud.fail_while = None  # what was refused and is not in quarantine yet is sent now
        await eventually(lambda: not list(inner.glob("*.txt")) and not list(inner.glob("*.capture")), 60)
        sent = {content.decode() for _, content in world.arrived.files}
        assert {f"good-{number}.txt" for number in range(FILES)} <= sent
        assert set(world.arrived.of("a")) == set(range(FILES))
    assert place.untouchable() == before

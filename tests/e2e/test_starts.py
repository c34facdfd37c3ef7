"""The ways in which viam-server is started: in each the module captures, delivers and ends in order."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from .machines import CREDENTIALS, Machine, Servers, a_machine, readings_of, sensor, until
from .viam_server import ViamServer

CHECKOUT = Path(__file__).parent.parent.parent
ENTRYPOINT = "module/run.sh"
USER = 1000
PLACE = "/mnt"
"""Where the container sees the test's folder."""
CONTAINER = f"""
mount --make-rprivate / && mount --bind "$1" {PLACE} && mount -t tmpfs -o noexec,mode=1777 tmpfs "$TMPDIR" &&
mount -o remount,bind,ro / && mount -t tmpfs -o ro tmpfs /dev/shm || exit 1
shift
exec setpriv --reuid={USER} --regid={USER} --clear-groups --bounding-set=-all --no-new-privs "$@"
"""
"""The root is read-only but for the test's folder, no program starts from the temporary one, and there is no shared
memory. viam-server is the first process, and has no rights."""


NOTHING: Mapping[str, str | None] = {"PATH": None, "LANG": None, "HOME": None}
WAYS: dict[str, tuple[Sequence[str], Mapping[str, str | None]]] = {
    "by TCP": ((), {"VIAM_TCP_SOCKETS": "1"}),
    "without variables": ((), NOTHING),
    "by systemd": (
        ("prlimit", "--nofile=1024:1024", "sh", "-c", 'umask 0077; cd /; exec "$@" <&-', "sh"),
        {**NOTHING, "INVOCATION_ID": "1", "JOURNAL_STREAM": "8:1"},
    ),
    "by viam-agent": ((), {"VIAM_AGENT_HANDLES_NEEDS_RESTART_CHECKING": "true"}),
}
"""The programs that start viam-server, and its variables."""


async def assert_all_is_well(machine: Machine) -> None:
    """The machine's fake sensor is captured and delivered, and all ends by itself."""
    await machine.start(components=[sensor("fake")], capture_methods=[readings_of("fake", 50)])
    await until(lambda: len(machine.of("fake")) >= 20, "readings arrive")
    await machine.stop_capture_and_sync()
    status = await machine.status()
    assert status["readings"]["captured"] == status["readings"]["delivered"] == len(machine.of("fake"))
    assert status["ledger"]["state"].startswith("kept in")
    assert await machine.stop()


@pytest.mark.parametrize(("prefix", "variables"), WAYS.values(), ids=WAYS)
async def test_however_viam_server_is_started_the_module_captures_delivers_and_ends_in_order(
    viam_server: Servers, tmp_path: Path, prefix: Sequence[str], variables: Mapping[str, str | None]
) -> None:
    async with a_machine(viam_server, tmp_path, env={**CREDENTIALS, **variables}) as machine:
        machine.server.prefix = prefix
        await assert_all_is_well(machine)


class Contained(ViamServer):
    """A viam-server that runs as an unprivileged user in a container with a read-only root."""

    def _command(self) -> list[str]:
        _, *arguments = (argument.replace(str(self.folder.parent), PLACE) for argument in super()._command())
        inside = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", CONTAINER, "sh"]
        return [*inside, str(self.folder.parent), f"{PLACE}/viam-server", *arguments]

    def _signal(self, number: int) -> None:
        for process in self._processes():
            if process.name() == "viam-server":
                process.send_signal(number)

    def _environment(self) -> dict[str, str]:
        inside = {"HOME": "/nonexistent", "VIAM_HOME": str(self.viam_home).replace(str(self.folder.parent), PLACE)}
        return {**super()._environment(), **inside}


@pytest.mark.usefixtures("needs_namespaces")
async def test_an_unprivileged_user_in_a_container_with_a_read_only_root_needs_only_the_capture_folder(
    viam_server_binary: Path, unpacked: Path, tmp_path: Path
) -> None:
    shutil.copy2(viam_server_binary, tmp_path / "viam-server")

    def servers(name: str, env: Mapping[str, str | None]) -> ViamServer:
        return Contained(viam_server_binary, tmp_path / name, env)

    async with a_machine(servers, tmp_path) as machine:
        machine.executable = Path(PLACE) / unpacked.relative_to(tmp_path) / ENTRYPOINT
        machine.attributes["capture_dir"] = f"{PLACE}/captured"
        machine.attributes["capture_store"] = "memory"
        machine.server.write_config({})
        tmp_path.chmod(0o755)
        for path in (tmp_path, *tmp_path.rglob("*")):
            if not path.is_relative_to(unpacked):
                os.chown(path, USER, USER, follow_symlinks=False)
        await assert_all_is_well(machine)


@pytest.fixture
def latin_1(tmp_path: Path) -> dict[str, str]:
    """The variables of a locale whose letters are not UTF-8."""
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(tmp_path / "de_DE.ISO-8859-1")],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("the sources of locales are not here: apt-get install locales")
    return {"LOCPATH": str(tmp_path), "LC_ALL": "de_DE.ISO-8859-1"}


@pytest.mark.parametrize("form", ["archive", "checkout"])
async def test_names_are_utf_8_on_the_disk_whatever_the_locale_says(
    viam_server: Servers, tmp_path: Path, latin_1: dict[str, str], request: pytest.FixtureRequest, form: str
) -> None:
    async with a_machine(viam_server, tmp_path, env={**CREDENTIALS, **latin_1}) as machine:
        root = request.getfixturevalue("unpacked") if form == "archive" else CHECKOUT
        machine.executable = root / ENTRYPOINT
        machine.capture_dir = tmp_path / "Käpt'n 日本"
        machine.attributes["capture_dir"] = str(machine.capture_dir)
        await assert_all_is_well(machine)
        assert (machine.capture_dir / ".holdfast").is_dir()


def test_a_checkout_that_can_not_be_written_says_so_and_what_helps(clone: Path, tmp_path: Path) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user")
    place = Path("/dev/shm") / f"holdfast-test-{os.getpid()}"
    shutil.copytree(clone / "module", place / "module")
    shutil.copy(clone / "requirements.txt", place)
    try:
        ran = subprocess.run(
            [
                "setpriv",
                f"--reuid={USER}",
                f"--regid={USER}",
                "--clear-groups",
                str(place / ENTRYPOINT),
                "/a/socket",
            ],
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(place)
    assert ran.returncode != 0
    assert f"can't be made in {place}" in ran.stderr and "the archive" in ran.stderr

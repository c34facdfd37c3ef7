"""Measures how large the module's archive is, and how long its start takes: python -m bench.package [archive]

A start is timed from the fork to the answer to Ready, which viam-server waits for; there is no parent to call back.
The module of the archive and that of this checkout are started in turn, so that the two can be compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from viam.proto.module import ReadyRequest, ReadyResponse

ROOT = Path(__file__).parent.parent
ENTRYPOINT = "module/run.sh"
ROUNDS = 10
_TIMEOUT_S = 30.0


def start(executable: Path) -> tuple[float, float]:
    """Starts a module; returns the seconds until Ready is answered, and the MiB in memory then.

    The process has ended when this returns. Raises RuntimeError when the module does not start.
    """
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        socket = Path(folder) / "module.sock"
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "VIAM_NO_MODULE_PARENT": "true"}
        began_s = time.monotonic()
        process = subprocess.Popen(
            [str(executable), str(socket)], cwd=folder, env=environment, stdout=subprocess.DEVNULL
        )
        try:
            with grpc.insecure_channel(f"unix:{socket}", [("grpc.initial_reconnect_backoff_ms", 5)]) as channel:
                while not socket.exists():
                    if process.poll() is not None or time.monotonic() - began_s > _TIMEOUT_S:
                        raise RuntimeError(f"{executable} does not start")
                    time.sleep(0.002)
                ready = channel.unary_unary(
                    "/viam.module.v1.ModuleService/Ready", ReadyRequest.SerializeToString, ReadyResponse.FromString
                )
                ready(
                    ReadyRequest(parent_address=f"unix:{folder}/parent.sock"),
                    timeout=_TIMEOUT_S,
                    wait_for_ready=True,
                )
            took_s = time.monotonic() - began_s
            return took_s, _resident_mib(process.pid)
        finally:
            process.terminate()
            process.wait(_TIMEOUT_S)


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def _row(name: str, starts: Sequence[tuple[float, float]]) -> str:
    took = [seconds * 1000 for seconds, _ in starts]
    return (
        f"| {name} | {statistics.median(took):.0f} ms ({min(took):.0f}–{max(took):.0f}) "
        f"| {statistics.median(resident for _, resident in starts):.0f} MiB |"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("archive", nargs="?", type=Path, default=ROOT / "dist" / "archive.tar.gz")
    archive: Path = arguments.parse_args().archive
    if not archive.exists():
        sys.exit(f"there is no {archive}; build it with: make module")
    with tempfile.TemporaryDirectory(prefix="hf-") as name:
        folder = Path(name)
        subprocess.run(["tar", "-xzf", str(archive), "-C", name], check=True)
        print(f"archive {archive.stat().st_size / 2**20:.1f} MiB, unpacked {_size_mib(folder):.1f} MiB\n")
        modules = {"the archive": folder / ENTRYPOINT, "the checkout": ROOT / ENTRYPOINT}
        starts: dict[str, list[tuple[float, float]]] = {each: [] for each in modules}
        for executable in modules.values():
            start(executable)  # the first start reads from the disk, and the checkout's may create its environment
        for _ in range(ROUNDS):
            for each, executable in modules.items():
                starts[each].append(start(executable))
    print(f"| {ROUNDS} starts, in turn | until Ready is answered | in memory then |\n|---|---|---|")
    for each, found in starts.items():
        print(_row(each, found))


if __name__ == "__main__":
    main()

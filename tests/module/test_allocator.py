"""Memory that was needed for a moment goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HAS_MALLOPT = hasattr(ctypes.CDLL(None), "mallopt")
MOST_KEPT_MIB = 40
PROGRAM = """
import sys, threading
from module.allocator import give_memory_back

if sys.argv[1] == "ours":
    give_memory_back()

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

def work():
    for size_mib in (10, 20, 30, 20):  # the allocator adapts to what it has seen
        together.wait()
        block = b"x" * (size_mib << 20)
        together.wait()
        del block

before_mib = resident_mib()
together = threading.Barrier(8)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident_mib() - before_mib)
"""


def kept_mib(bounds: str) -> float:
    """Returns how much more memory a process has after eight threads held up to 30 MiB each."""
    program = [sys.executable, "-c", PROGRAM, bounds]
    return float(subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not HAS_MALLOPT, reason="the C library is not glibc")
def test_what_was_large_goes_back_to_the_system() -> None:
    assert kept_mib("ours") < MOST_KEPT_MIB < kept_mib("the C library's")

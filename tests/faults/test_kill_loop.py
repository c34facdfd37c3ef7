"""These are short runs of the kill loop, for every day; `make kill-loop` makes the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from .kill_loop import KillLoop

SEED = 20


async def _survives(loop: KillLoop) -> None:
    result = await loop.run()
    print(result)
    assert result.good, f"seed {SEED}\n{result}"
    assert result.verdict.arrived > 0
    assert sum(result.kills.values()) == result.rounds


async def test_kills_at_any_moment_cost_at_most_a_flush_interval(tmp_path: Path) -> None:
    await _survives(KillLoop(tmp_path, rounds=6, seed=SEED, trap_share=0))


@pytest.mark.usefixtures("needs_strace")
async def test_kills_at_a_system_call_cost_at_most_a_flush_interval(
    tmp_path: Path,
) -> None:
    await _survives(KillLoop(tmp_path, rounds=8, seed=SEED, trap_share=1))


async def test_kills_of_viam_server_and_the_module_in_it_cost_at_most_a_flush_interval(
    viam_server_binary: Path, tmp_path: Path
) -> None:
    await _survives(KillLoop(tmp_path, rounds=4, seed=SEED, server=viam_server_binary, trap_share=0))

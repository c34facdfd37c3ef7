"""Texts leave the program by few doors, where each is escaped: nothing else prints, or answers with an error."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOORS = {
    "print": {"src/holdfast/cli/terminal.py"},
    "sys.stdout.write": set(),
    "sys.stderr.write": set(),
    "GRPCError": {"module/rpc_errors.py"},
    "logging.StreamHandler": set(),
    "logging.basicConfig": set(),
}


def called(source: str) -> Iterator[str]:
    """The names of what is called with a text that may hold anything."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and not (node.args and isinstance(node.args[-1], ast.Constant)):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("name", DOORS)
def test_a_text_goes_to_people_by_its_door_only(name: str) -> None:
    sources = [path for folder in ("src", "module") for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in sources if name in called(path.read_text())}
    assert found == DOORS[name]


def test_one_function_makes_the_errors_of_calls() -> None:
    assert list(called((ROOT / "module" / "rpc_errors.py").read_text())).count("GRPCError") == 1

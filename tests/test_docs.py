"""The documents say what is so: each example is accepted, each name exists."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.clock import SystemClock
from holdfast.commands import COMMANDS
from holdfast.config import Config, parse
from holdfast.filesystem import FileSystem
from holdfast.manager import Manager, Resources
from holdfast.space_config import SpaceLimits
from holdfast.status import status

from .fakes import FakeClient
from .waiting import eventually

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NOT_ATTRIBUTES = {"problems", "memory_dir", "limits", "off_methods"}


def text(name: str) -> str:
    return (ROOT / name).read_text()


def names_of_tests() -> set[str]:
    names = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                names.add(node.name)
    return names


def test_every_test_that_compatibility_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", text("docs/compatibility.md")))
    assert len(named) > 40
    assert named - names_of_tests() == set()


def test_every_row_that_works_names_a_test() -> None:
    rows = [line.split("|") for line in text("docs/compatibility.md").splitlines() if line.startswith("| ")]
    working = [row for row in rows if row[3].strip().startswith(("works", "partly"))]
    assert len(working) > 20
    assert [row[1] for row in working if "`test_" not in row[4]] == []


def test_the_minimal_config_captures_without_a_word_of_warning(tmp_path: Path) -> None:
    (example,) = (json.loads(found) for found in re.findall(r"```json\n(.*?)```", text("README.md"), re.DOTALL))
    (service,) = example["services"]
    config = parse(service["attributes"], {"HOME": str(tmp_path)})
    assert config.problems == ()
    assert [method.name for method in config.methods] == [example["components"][0]["name"]]
    assert service["model"] == json.loads(text("meta.json"))["models"][0]["model"]


def attributes_in(table: str) -> Iterator[tuple[str, str]]:
    for line in table.splitlines():
        found = re.match(r"\| `(\w+)` \| (.*?) \|", line)
        if found:
            yield found[1], found[2]


def test_every_attribute_in_the_readme_is_understood_and_its_default_is_right() -> None:
    service, method = text("README.md").partition("An entry of `capture_methods`")[::2]
    for name, default in attributes_in(service):
        assert not any("no such attribute" in p for p in parse({name: None}, {}).problems), name
        if default.startswith("`") and name not in ("capture_dir", "capture_methods"):
            try:
                value: Any = json.loads(default.strip("`"))
            except ValueError:
                value = default.strip("`")
            assert parse({name: value}, {}) == parse({}, {}), name
    entry = {"name": "a", "method": "Readings", "capture_frequency_hz": 1.0}
    names = [name for name, _ in attributes_in(method)]
    assert set(entry) <= set(names)
    for name in names:
        config = parse({"capture_methods": [{**entry, name: entry.get(name)}]}, {})
        assert config.problems == (), name


def test_every_attribute_that_is_understood_stands_in_the_readme() -> None:
    documented = {name for name, _ in attributes_in(text("README.md"))}
    assert len(documented) > 15
    fields = set(Config.__dataclass_fields__) - NOT_ATTRIBUTES
    renamed = {
        "methods": "capture_methods",
        "flush_interval_s": "capture_flush_interval_ms",
        "fsync_interval_s": "capture_fsync_interval_ms",
        "sync_interval_s": "sync_interval_mins",
        "file_last_modified_s": "file_last_modified_millis",
        "in_memory": "capture_store",
    }
    assert {renamed.get(field, field) for field in fields} - documented == set()
    of_limits = {
        "every_nth": "delete_every_nth_when_disk_full",
        "disk_usage": "disk_usage_deletion_threshold",
        "capture_dir_share": "capture_dir_deletion_threshold",
        "most_bytes": "capture_dir_limit_bytes",
        "most_age_s": "capture_dir_limit_age_hours",
    }
    assert {of_limits.get(field, field) for field in SpaceLimits.__dataclass_fields__} - documented == set()


def test_every_command_and_argument_stands_in_docs_commands() -> None:
    sections = re.split(r"^## `(\w+)`", text("docs/commands.md"), flags=re.MULTILINE)[1:]
    documented = dict(zip(sections[::2], sections[1::2], strict=True))
    assert set(documented) == set(COMMANDS)
    for name, command in COMMANDS.items():
        assert set(re.findall(r"^\| `(\w+)` \|", documented[name], re.MULTILINE)) == {
            argument.name for argument in command.arguments
        }


async def test_every_field_of_the_status_is_documented(tmp_path: Path) -> None:
    manager = Manager({"HOME": str(tmp_path)}, FileSystem(), SystemClock())
    attributes = {
        "capture_methods": [{"name": "a", "method": "Readings", "capture_frequency_hz": 100}],
        "local_copy": {"dir": str(tmp_path / "copy")},
    }
    client = FakeClient()
    manager.apply(
        parse(attributes, {"HOME": str(tmp_path)}), Resources({"a": frozenset({"rdk:component:sensor"})}, client)
    )
    await eventually(lambda: client.calls)
    found = status(manager)
    await manager.stop()
    documented = text("docs/status.md")
    missing = [name for name in fields_of(found) if f"`{name}`" not in documented]
    assert missing == []


def fields_of(found: dict[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        if name == "space":
            yield from (f"space.{inner}" for inner in value)
            yield from (f"space.folders[].{inner}" for inner in value["folders"][0])
            yield from (f"space.local_copy.{inner}" for inner in value["local_copy"])
        elif name == "readings":
            yield from value
        elif name == "capture":
            yield from (f"capture.{inner}" for inner in value if inner != "collectors")
            yield from value["collectors"][0]
        elif isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", document.read_text())) <= {
            pair for target in targets for pair in ((target, ""), ("", target))
        }


def test_the_architectures_map_names_files_that_exist() -> None:
    for name in re.findall(r"`([\w/]+\.(?:py|sh))`", text("ARCHITECTURE.md")):
        assert list(ROOT.glob(f"**/{name}")), name

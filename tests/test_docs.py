"""The documents say what is so: each example is accepted, each name exists."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.adoption import Adoption, MachineFile
from holdfast.base import unforeseen
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.base.presentable import known
from holdfast.base.problems import Kind
from holdfast.capture.methods import TABLES
from holdfast.commands import COMMANDS, HELP
from holdfast.config import CaptureMethod, Config, Host, SpaceLimits, parse, short_name
from holdfast.errors import ConfigError
from holdfast.machine_config import cards_of
from holdfast.manager import Manager, Resources
from holdfast.status import status

from .fakes import FakeClient
from .waiting import eventually

ROOT = Path(__file__).parent.parent
FAULTS = ROOT / "tests" / "faults"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), FAULTS / "README.md"])
MODEL_PAGE = "holdfast_data-manager_durable.md"
NOT_ATTRIBUTES = {"problems", "protected", "memory_dir", "limits", "off_methods", "paths", "former_folders"}
RENAMED = {
    "methods": "capture_methods",
    "flush_interval_s": "capture_flush_interval_ms",
    "fsync_interval_s": "capture_fsync_interval_ms",
    "sync_interval_s": "sync_interval_mins",
    "file_last_modified_s": "file_last_modified_millis",
    "in_memory": "capture_store",
}
OF_LIMITS = {
    "every_nth": "delete_every_nth_when_disk_full",
    "disk_usage": "disk_usage_deletion_threshold",
    "capture_dir_share": "capture_dir_deletion_threshold",
    "most_bytes": "capture_dir_limit_bytes",
    "most_age_s": "capture_dir_limit_age_hours",
}
OF_A_METHOD = {"frequency_hz": "capture_frequency_hz", "params": "additional_params", "timeout_s": "timeout_ms"}


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


PROMISED = {"A": 10, "B": 18, "C": 4, "D": 16, "E": 9, "F": 14}
"""How many features each section has."""


def ids_of(cell: str) -> set[str]:
    """The features of a row: "B1, B3, B5–B7" are five, and "F1a" is a part of F1."""
    found = set()
    for first, last in re.findall(r"([A-F]\d+)[a-z]?(?:–[A-F](\d+))?", cell):
        found |= {f"{first[0]}{number}" for number in range(int(first[1:]), int(last or first[1:]) + 1)}
    return found


def compatibility() -> list[list[str]]:
    """The rows of the document, in cells: id, what, state, tests."""
    lines = text("docs/compatibility.md").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if re.match(r"\| [A-F]\d", line)]
    assert {len(row) for row in rows} == {4}
    return rows


def test_every_feature_has_its_row_in_compatibility() -> None:
    promised = {f"{section}{number}" for section, count in PROMISED.items() for number in range(1, count + 1)}
    assert set().union(*(ids_of(row[0]) for row in compatibility())) == promised


def test_a_row_that_does_not_work_says_why() -> None:
    for row in compatibility():
        assert re.match(r"works\b|(partly|no): .", row[2]), row[0]


def test_the_summary_of_compatibility_names_the_rows_that_do_not_work_and_no_other() -> None:
    (summary,) = re.findall(r"^\*\*Missing so far:\*\* (.*)$", text("docs/compatibility.md"), re.MULTILINE)
    missing = {row[0] for row in compatibility() if not row[2].startswith("works")}
    assert set(re.findall(r"\b[A-F]\d+[a-z]?\b", summary)) == missing


def test_every_row_that_works_names_a_test() -> None:
    rows = [line.split("|") for line in text("docs/compatibility.md").splitlines() if line.startswith("| ")]
    working = [row for row in rows if row[3].strip().startswith(("works", "partly"))]
    assert len(working) > 20
    assert [row[1] for row in working if "`test_" not in row[4]] == []


def test_the_minimal_config_captures_without_a_word_of_warning(tmp_path: Path) -> None:
    (example,) = (json.loads(found) for found in re.findall(r"```json\n(.*?)```", text("README.md"), re.DOTALL))
    (service,) = example["services"]
    cards, findings = cards_of(example)
    config = parse(service.get("attributes", {}), Host(str(tmp_path)), cards)
    assert findings == []
    assert config.problems == ()
    assert [short_name(method.name) for method in config.methods] == [example["components"][0]["name"]]
    assert service["model"] == json.loads(text("meta.json"))["models"][0]["model"]


@dataclass(frozen=True)
class Row:
    """One attribute as the model's page describes it."""

    name: str
    type: str
    required: bool
    default: str


def attributes_in(table: str) -> list[Row]:
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return [
        Row(name.strip("`"), kind, inclusion == "**Required**", default)
        for name, kind, inclusion, default, _ in rows
    ]


def attributes() -> tuple[list[Row], list[Row]]:
    """What the model's page says of the service's attributes, and of those of a capture method."""
    section = text(MODEL_PAGE).partition("### Attributes")[2].partition("### Ranges")[0]
    service, method = section.split("An entry of `capture_methods`")
    return attributes_in(service), attributes_in(method)


HOST = Host("/home/user")
NO_TYPE = [1.5]
"""A value that is of no attribute's type."""
OF_THE_TYPE: dict[str, Any] = {
    "string": "x",
    "boolean": True,
    "integer": 7,
    "number": 0.5,
    "object": {},
    "list of strings": ["x"],
    "list of objects": [],
}


def complaints(attributes: dict[str, Any]) -> list[str]:
    """What is said of these attributes, refused or not."""
    try:
        return list(parse(attributes, HOST).problems)
    except ConfigError as error:
        return [str(error)]


def of_a_wrong_type(said: list[str]) -> bool:
    return any("must be" in each for each in said)


def test_every_attribute_on_the_models_page_is_understood_and_its_default_is_right() -> None:
    service, _ = attributes()
    for row in service:
        assert not any("no such attribute" in said for said in complaints({row.name: None})), row
        if row.default.startswith("`") and row.name not in ("capture_dir", "capture_methods"):
            try:
                value: Any = json.loads(row.default.strip("`"))
            except ValueError:
                value = row.default.strip("`")
            assert parse({row.name: value}, HOST) == parse({}, HOST), row


def test_every_attribute_on_the_models_page_has_its_type() -> None:
    service, method = attributes()
    entry = {"name": "a", "method": "Readings", "capture_frequency_hz": 1.0}
    for row in service:
        assert not of_a_wrong_type(complaints({row.name: OF_THE_TYPE[row.type]})), row
        assert of_a_wrong_type(complaints({row.name: 1.5 if row.type == "integer" else NO_TYPE})), row
    for row in method:
        right, wrong = ({**entry, row.name: value} for value in (OF_THE_TYPE[row.type], NO_TYPE))
        assert not of_a_wrong_type(complaints({"capture_methods": [right]})), row
        assert of_a_wrong_type(complaints({"capture_methods": [wrong]})), row


def test_every_attribute_of_a_capture_method_is_understood_and_those_that_must_be_there_are_said() -> None:
    _, method = attributes()
    entry = {"name": "a", "method": "Readings", "capture_frequency_hz": 1.0}
    for row in method:
        left_out = {name: value for name, value in entry.items() if name != row.name}
        said = complaints({"capture_methods": [{**left_out, row.name: None}]})
        assert bool(said) == row.required, row
        assert not any("no such attribute" in each for each in said), row


def test_every_attribute_that_is_understood_stands_on_the_models_page() -> None:
    service, method = attributes()
    assert len(service) > 15
    fields = set(Config.__dataclass_fields__) - NOT_ATTRIBUTES
    assert {RENAMED.get(field, field) for field in fields} - {row.name for row in service} == set()
    limits = {OF_LIMITS.get(field, field) for field in SpaceLimits.__dataclass_fields__}
    assert limits - {row.name for row in service} == set()
    fields = set(CaptureMethod.__dataclass_fields__) - {"source"}
    of_a_method = {OF_A_METHOD.get(field, field) for field in fields}
    assert of_a_method - {row.name for row in method} == set()


def ranges() -> list[list[str]]:
    """The rows of the model's page: name, least, most, what is used in place of another number."""
    section = text(MODEL_PAGE).partition("### Ranges")[2].partition("\n### ")[0]
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in section.splitlines() if "`" in line]


def with_number(name: str, value: float) -> dict[str, Any]:
    """Attributes in which the one called `name` is `value`."""
    where, _, inner = name.rpartition(".")
    if where == "capture_methods[]":
        return {where[:-2]: [{"name": "a", "method": "Readings", "capture_frequency_hz": 1.0, inner: value}]}
    return {where: {"dir": "/kept", inner: value}} if where else {name: value}


@pytest.mark.parametrize("row", ranges(), ids=lambda row: row[0])
def test_a_number_is_used_in_its_range_alone_as_the_models_page_has_it(row: list[str]) -> None:
    name, least, most, instead = row
    bounds = [float(bound) for bound in (least, most) if re.fullmatch(r"[\d.]+", bound)]
    for bound in bounds:
        assert complaints(with_number(name, bound)) == [], bound
    beyond = [float(most) * 2] if most else []
    if bounds[0] > 0 and least != "1" and not least.startswith("above"):
        beyond.append(bounds[0] / 2 if bounds[0] < 1 else bounds[0] - 1)
    assert beyond
    for value in beyond:
        (said,) = complaints(with_number(name, value))
        assert name.rpartition(".")[2] in said and f"{value:.12g}" in said
        if instead.startswith("the nearest"):
            nearest = min(bounds, key=lambda bound: abs(bound - value))
            assert parse(with_number(name, value), HOST) == parse(with_number(name, nearest), HOST), value
        elif not instead.startswith("the entry"):
            assert parse(with_number(name, value), HOST) == parse(with_number(name, 0.0), HOST) or value > bounds[0]


def test_every_number_on_the_models_page_has_its_range() -> None:
    service, method = attributes()
    numbers = {row.name for row in service if row.type in ("integer", "number")}
    of_a_method = {f"capture_methods[].{row.name}" for row in method if row.type in ("integer", "number")}
    inner = {"local_copy.max_bytes", "local_copy.max_age_hours"}
    assert {row[0] for row in ranges()} == numbers | of_a_method | inner


def test_the_example_on_the_models_page_is_taken_without_a_word_of_warning() -> None:
    section = text(MODEL_PAGE).partition("### Example Configuration")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    assert complaints(json.loads(example)) == []


def test_the_models_page_has_the_headings_of_viams_registry_in_their_order() -> None:
    headings = re.findall(r"^#+ .*", text(MODEL_PAGE), re.MULTILINE)
    model = json.loads(text("meta.json"))["models"][0]
    assert model["markdown_link"] == MODEL_PAGE
    form = [f"# Model {model['model']}", "## Configuration", "### Attributes", "### Example Configuration"]
    form += ["## DoCommand", "### Example DoCommand"]
    assert [heading for heading in headings if heading in form] == form


def test_the_models_page_which_the_registry_shows_alone_has_no_relative_link() -> None:
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", text(MODEL_PAGE)) == []
    named = re.findall(r"`(docs/[^`]+)`", text(MODEL_PAGE))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_what_can_be_captured_stands_on_the_models_page() -> None:
    section = text(MODEL_PAGE).partition("## What can be captured")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([a-z_]+)(?: \(service\))? \| (.*) \|$", section, re.MULTILINE))
    everywhere = {"DoCommand", "GetWorldPose"}
    own = {api.rpartition(":")[2]: set(methods) - everywhere for api, methods in TABLES.items()}
    assert {api for api, methods in own.items() if methods} == set(rows)
    for api, methods in rows.items():
        named = set(re.findall(r"`(\w+)`(?: \(|, |$)", re.sub(r"\(.*?\)", "(", methods)))
        assert named == own[api], api


def test_every_command_has_an_example_on_the_models_page_which_is_one_of_docs_commands() -> None:
    section = text(MODEL_PAGE).partition("## DoCommand")[2]
    examples = re.findall(r"```json\n(.*?)\n```", section, re.DOTALL)
    assert [json.loads(example)["command"] for example in examples] == [HELP, *COMMANDS]
    described = re.findall(r"```json\n(.*?)\n```", text("docs/commands.md"), re.DOTALL)
    assert set(examples[1:]) - set(described) == set()


def test_every_command_and_argument_stands_in_docs_commands() -> None:
    sections = re.split(r"^## `(\w+)`", text("docs/commands.md"), flags=re.MULTILINE)[1:]
    documented = dict(zip(sections[::2], sections[1::2], strict=True))
    assert set(documented) == set(COMMANDS)
    for name, command in COMMANDS.items():
        assert set(re.findall(r"^\| `(\w+)` \|", documented[name], re.MULTILINE)) == {
            argument.name for argument in command.arguments
        }


async def test_every_field_of_the_status_is_documented_and_no_other_and_says_when_it_is_left_out(
    tmp_path: Path,
) -> None:
    async def machine_file() -> MachineFile:
        return MachineFile(str(tmp_path / "machine.json"))

    async def revision() -> str:
        return "r1"

    (tmp_path / "machine.json").write_text('{"revision": "r1"}')
    adoption = Adoption(FileSystem(), SystemClock(), machine_file, revision)
    manager = Manager({"HOME": str(tmp_path)}, FileSystem(), SystemClock(), adoption)
    attributes = {
        "capture_methods": [{"name": "a", "method": "Readings", "capture_frequency_hz": 100}],
        "local_copy": {"dir": str(tmp_path / "copy")},
        "of_no_use": "a problem",
    }
    client = FakeClient()
    manager.apply(
        parse(attributes, Host(str(tmp_path))), Resources({"a": frozenset({"rdk:component:sensor"})}, client)
    )
    await eventually(lambda: status(manager)["capture"]["collectors"])
    at_first = status(manager)
    await adoption.look()
    await eventually(lambda: client.calls)
    unforeseen.note("a part", ValueError("a mistake"), "it goes on")
    found = status(manager)
    await manager.stop()
    documented = text("docs/status.md")
    missing = [name for name in fields_of(found) if f"`{name}`" not in documented]
    assert missing == []
    fields, _, kinds = documented.partition("\n## Problems\n")
    assert re.findall(r"^\| `(\w+)` \|", kinds.partition("\n## ")[0], re.MULTILINE)[1:] == [
        each.value for each in Kind
    ]
    rows = [line.split("|") for line in fields.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(.+?)`", row[1])}
    assert named - set(fields_of(found)) == {"readings.*", "capture.collectors[]", "problems[]", "not_shown"}, (
        "nothing else is documented"
    )
    not_known = set(fields_of(at_first)) - set(fields_of(known(at_first)))
    assert len(not_known) > 10
    says_so = {name for row in rows if "left out" in row[2].lower() for name in re.findall(r"`(.+?)`", row[1])}
    assert not_known - says_so == set()


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
            yield from (inner for each in value["collectors"][:1] for inner in each)
        elif name in ("problems", "unexpected_errors"):
            yield from (f"{name}[].{inner}" for each in value[:1] for inner in each)
        elif isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name


def lines_of_the_log() -> Iterator[tuple[str, str]]:
    """The level and the text of each logger call, with `…` for what differs."""
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("module/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
                how = ast.unparse(node.func).removeprefix("logger.")
                text_of = node.args[how == "log"]
                assert isinstance(text_of, ast.Constant), f"{path}:{node.lineno}: its text is not in the code"
                level = {"log": "WARNING, ERROR", "exception": "ERROR"}.get(how, how.upper())
                yield level, re.sub(r"%(?:\.\d+)?[a-z]", "…", str(text_of.value)).replace("%%", "%")


def test_every_line_of_the_log_stands_in_docs_logs_and_no_other() -> None:
    said = set(lines_of_the_log())
    assert len(said) > 60
    documented = re.findall(r"^\| ([A-Z, ]+) \| `(.+?)` \|", text("docs/logs.md"), re.MULTILINE)
    assert set(documented) == said
    assert len(documented) == len(said), "each once"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_index_of_the_documents_names_each_of_them() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", index)}
    assert {path.name for path in ROOT.glob("docs/*.md")} - linked == {"README.md"}


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", document.read_text())) <= {
            pair for target in targets for pair in ((target, ""), ("", target))
        }


def test_the_architectures_map_names_files_that_exist() -> None:
    for name in re.findall(r"`([\w/]+\.(?:py|sh))`", text("ARCHITECTURE.md")):
        assert list(ROOT.glob(f"**/{name}")), name


def test_the_map_of_the_fault_tests_names_each_of_their_files_and_no_other() -> None:
    section = (FAULTS / "README.md").read_text().partition("\n## The map\n")[2].partition("\n## ")[0]
    files = {path.name for path in FAULTS.rglob("*.py")} - {"__init__.py", "conftest.py"}
    assert set(re.findall(r"`(\w+\.py)`", section)) == {name for name in files if not name.startswith("test_")}


def test_the_guide_to_the_fault_tests_names_places_that_exist() -> None:
    for name in re.findall(r"`((?:src|module|tests|demo)/[\w/.]+)`", (FAULTS / "README.md").read_text()):
        assert (ROOT / name).exists(), name


def test_each_bound_of_the_architecture_names_where_it_is() -> None:
    section = text("ARCHITECTURE.md").partition("\n## Bounds\n")[2].partition("\n## ")[0]
    cells = [row.split("|")[3] for row in section.splitlines() if row.startswith("| ")]
    places = re.findall(r"`([\w.]+)`", " ".join(cells))
    assert len(places) > 15
    for place in places:
        module, _, constant = place.partition(".")
        (path,) = [*ROOT.glob(f"src/holdfast/**/{module}.py")] or ROOT.glob(f"module/**/{module}.py")
        assert re.search(rf"^{constant}\b", path.read_text(), re.MULTILINE), place

"""Every example of the documents works: a config has no problem, a command exists and takes its arguments."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from holdfast import cli
from holdfast.capture.causes import Cause
from holdfast.cli.check import check
from holdfast.cli.to_builtin import convert_to_builtin
from holdfast.cli.to_holdfast import convert_to_holdfast, registry_module
from holdfast.commands import COMMANDS, HELP
from holdfast.config import Host
from holdfast.machine_config import is_fine
from holdfast.steering import SelectiveSyncer
from holdfast.storage.ledger.counts import ReadingCounts
from holdfast.sync.cloud.link import LinkState

from .machine_config.configs import of_holdfast

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NOT_OURS = {"git", "/opt/holdfast/.venv/bin/python", "cd", "cp", "viam", "echo", "update-ca-certificates"}
"""What a shell example may call besides our own."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    place: str
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text()
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(f"{document.name}:{line}", match[1], match[2]))
    return [block for block in found if block.language in languages]


def commands_in(text: str) -> Iterator[list[str]]:
    """The single commands of a shell example, without what is redirected and without settings before them."""
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in (";", "|", "&&", "||"):
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    del words[0]
                if words[:1] == ["sudo"]:
                    del words[0]
                if words:
                    yield words[: next((at for at, each in enumerate(words) if each in (">", "<")), len(words))]
                words = []
            else:
                words.append(word)


def flaw_of(words: list[str]) -> str:
    """What is wrong with a command, or nothing."""
    name, arguments = words[0], words[1:]
    if name == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        missing = [each for each in arguments if "=" not in each and each not in targets]
        return f"no target {missing}" if missing else ""
    if name == "holdfast" or name.endswith("module/run.sh"):
        return _refused(arguments)
    if name.endswith("python") and arguments[:1] == ["-m"]:
        if importlib.util.find_spec(arguments[1]) is None:
            return f"no module {arguments[1]}"
        return _refused(arguments[2:]) if arguments[1] == "holdfast" else ""
    if name.startswith("./"):
        return "" if (ROOT / name).is_file() else f"no file {name}"
    return "" if name in NOT_OURS else f"{name} is no command that this test knows"


def _refused(arguments: list[str]) -> str:
    """What our command line says of arguments that it does not take."""
    said = io.StringIO()
    read_nothing = [each if each.startswith("-") or "." not in each else "/no/such.json" for each in arguments]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            cli.main([*read_nothing, *([] if "/no/such.json" in read_nothing else ["/no/such.json"])])
        except SystemExit as ended:
            return said.getvalue() if ended.code else ""
    return ""


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.place)
def test_an_example_in_json_is_a_command_that_exists_or_a_config_without_a_problem(block: Block) -> None:
    example: dict[str, Any] = json.loads(block.text)
    if "command" in example:
        command = COMMANDS.get(example["command"])
        assert command is not None or example["command"] == HELP
        arguments = {each.name for each in command.arguments} if command else set()
        assert set(example) - {"command"} <= arguments
        return
    if "executable_path" in example:
        example = of_holdfast(modules=[example])
    if any(each.get("model") == "rdk:builtin:builtin" for each in example.get("services", [])):
        conversion = convert_to_holdfast(example, registry_module())
        assert conversion.config is not None
        assert is_fine(conversion.findings)
        example = conversion.config
    findings = check(example, Host("/home/user"))
    assert is_fine(findings), findings


@pytest.mark.parametrize("block", blocks("sh", "bash"), ids=lambda block: block.place)
def test_an_example_for_the_shell_calls_what_exists(block: Block) -> None:
    commands = list(commands_in(block.text))
    assert commands
    for words in commands:
        assert flaw_of(words) == "", words


def test_no_command_stands_in_a_block_that_is_not_tested() -> None:
    for block in blocks(""):
        assert not block.text.startswith(("make ", "holdfast ", "python ", "git ", "module/")), block.place


@pytest.mark.parametrize(
    "line",
    [
        "make no-such-target",
        "holdfast config convrt machine.json",
        "holdfast config check --no-such machine.json",
        "module/run.sh config convert --back --executable x machine.json",
        "python -m no_such_module",
        "python -m holdfast confg",
        "A=1 no-such-command | holdfast config check",
    ],
)
def test_an_example_that_would_fail_is_found(line: str) -> None:
    assert any(flaw_of(words) for words in commands_in(line))


def headings(document: Path) -> set[str]:
    """The anchors of a document, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_place_in_a_document_leads_to_a_heading(document: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", document.read_text()):
        assert anchor in headings(document.parent / target if target else document), (target, anchor)


def test_a_name_that_a_guide_uses_is_an_attribute_a_field_or_another_name_of_the_program() -> None:
    references = [ROOT / "holdfast_data-manager_durable.md", ROOT / "docs" / "status.md"]
    sources = [*references, *(ROOT / "src").rglob("*.py")]
    known = {word for path in sources for word in re.findall(r"\w+", path.read_text())} | {"from_dm_from_extra"}
    for name in ("getting-started", "moving", "how-to", "troubleshooting", "security", "command-line"):
        guide = (ROOT / "docs" / f"{name}.md").read_text()
        assert set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", guide)) - known == set(), name


def test_the_config_that_the_guide_shows_as_converted_is_what_the_converter_makes() -> None:
    before, after = (json.loads(block.text) for block in blocks("json") if block.place.startswith("moving.md"))
    conversion = convert_to_holdfast(before, registry_module())
    assert (conversion.config, conversion.findings) == (after, [])
    assert convert_to_builtin(after).config == before


def test_what_the_troubleshooting_names_of_the_status_is_there() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    named = set(re.findall(r"`((?:sync|capture|steering|space)\.[\w.\[\]]+)`", text))
    assert len(named) > 8
    documented = (ROOT / "docs" / "status.md").read_text()
    assert {name for name in named if f"`{name}`" not in documented and f"`{name}." not in documented} == set()
    states = text.partition("| `sync.link`")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z ]+)` \|", states, re.MULTILINE)) | {LinkState.CONNECTING.value} == {
        each.value for each in LinkState
    }


def section(document: str, heading: str) -> str:
    return (ROOT / "docs" / document).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


async def test_the_troubleshooting_names_the_states_of_sync_as_they_are_said() -> None:
    table = section("troubleshooting.md", "Nothing arrives in the cloud").partition("| `sync.state`")[2]
    named = [name.partition("…")[0] for name in re.findall(r"^\| `(.+?)`", table, re.MULTILINE)]
    assert len(named) >= 5
    said = " ".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    said += f"waiting: {await SelectiveSyncer('a', None).reason_to_wait()}"
    assert [name for name in named if name not in said] == []


def test_the_troubleshooting_names_each_bound_and_each_count_of_readings() -> None:
    bounds = section("troubleshooting.md", "Fewer readings than configured")
    assert re.findall(r"^\| `(\w+)` \|", bounds, re.MULTILINE)[1:] == [each.value for each in Cause]
    counts = re.findall(r"^\| `(\w+)` \|", section("troubleshooting.md", "Readings are missing"), re.MULTILINE)
    summands = {field.name for field in fields(ReadingCounts) if field.compare} | {"on_disk"}
    assert summands - {"captured", "adopted"} == set(counts)


def test_the_troubleshooting_quotes_what_the_start_says() -> None:
    script = (ROOT / "module" / "environment.sh").read_text().replace("$python", "python3")
    quoted = re.findall(r"^\| `([^`]+)` \|", section("troubleshooting.md", "The data manager does not start"), re.M)
    ours = [text for text in quoted if not text.startswith("max instance number")]
    assert len(ours) == 4
    assert [text for text in ours if text not in script] == []

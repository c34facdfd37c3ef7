"""The command line: streams, exit codes, machine-readable answers."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast import __version__
from holdfast.cli import main

from ..machine_config.configs import READINGS, component, data_manager, machine, of_holdfast

ROOT = Path(__file__).parent.parent.parent
GOOD = machine(component("Ä", READINGS))
BAD = of_holdfast({"name": "a", "method": "Reading", "capture_frequency_hz": 1}, components=[component("a")])


def run(
    arguments: str, given: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Returns the exit code, stdout and stderr of `holdfast ARGUMENTS` with `given` on stdin."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    code = main(shlex.split(arguments))
    return (code, *capsys.readouterr())


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_what_is_converted_goes_to_stdout_and_what_is_said_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tagged = machine(component("Ä", {**READINGS, "tags": ["t"]}))
    code, out, err = run("config convert", as_bytes(tagged), monkeypatch, capsys)
    assert code == 0
    assert '"Ä"' in out
    assert err.startswith("note: tags of Readings of")
    code, out, err = run("config convert --back -", out.encode(), monkeypatch, capsys)
    assert (code, json.loads(out)) == (0, tagged)


def test_what_a_config_names_steers_no_terminal_and_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    forged = "a\nfine\x1b[2J\x9b\u2028\u202e"
    wrong = of_holdfast(
        {"name": forged, "method": forged, "capture_frequency_hz": 1}, components=[component(forged)]
    )
    code, out, _ = run("config check", as_bytes(wrong), monkeypatch, capsys)
    assert code == 1 and r"a\nfine\x1b[2J\u009b\u2028\u202e" in out
    assert all(line.isprintable() and line != "fine" for line in out.split("\n"))
    for command in ("check --json", "convert", "convert --json", "convert --back"):
        _, out, err = run(f"config {command}", as_bytes(wrong), monkeypatch, capsys)
        assert all(line.isprintable() for line in (*out.split("\n"), *err.split("\n")))
        assert json.dumps(forged)[1:-1] in json.dumps(json.loads(out))
    for arguments in (["config", "check", str(tmp_path / forged)], ["config", "check", "x", forged]):
        with suppress(SystemExit):
            main(arguments)
        err = capsys.readouterr().err
        assert r"a\nfine" in err and "\x1b" not in err and "\u202e" not in err


def test_the_executable_of_a_local_module_is_an_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run("config convert --executable /x/run.sh", as_bytes(GOOD), monkeypatch, capsys)
    assert json.loads(out)["modules"] == [{"type": "local", "name": "holdfast", "executable_path": "/x/run.sh"}]


def test_a_config_may_be_a_file_with_a_byte_order_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "machine.json"
    file.write_bytes(b"\xef\xbb\xbf" + as_bytes(of_holdfast()))
    assert run(f"config check {file}", b"", monkeypatch, capsys)[:2] == (0, "fine\n")


@pytest.mark.parametrize(
    ("arguments", "config", "code"),
    [
        ("config convert --json", GOOD, 0),
        ("config convert --json", {"services": []}, 1),
        ("config convert --back --json", GOOD, 1),
        ("config check --json", of_holdfast(), 0),
        ("config check --json", BAD, 1),
        ("config check --json", GOOD, 1),
    ],
)
def test_with_json_the_whole_answer_is_one_object(
    arguments: str, config: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = run(arguments, as_bytes(config), monkeypatch, capsys)
    assert (found, err) == (code, "")
    answer = json.loads(out)
    assert set(answer) == {"findings", "fine" if "check" in arguments else "config"}
    assert all(set(each) == {"level", "text"} for each in answer["findings"])
    assert bool(answer["findings"]) == (code == 1)
    if "check" in arguments:
        assert answer["fine"] == (code == 0)


def test_problems_are_named_and_the_exit_code_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run("config check", as_bytes(BAD), monkeypatch, capsys)
    assert code == 1
    assert out.startswith(
        "problem: capture_methods: Reading of a (rdk:component:sensor) can't be captured; did you mean 'Readings'?"
    )
    assert "fine" not in out


def test_a_config_that_can_not_be_converted_prints_nothing_to_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run("config convert", as_bytes({"services": []}), monkeypatch, capsys)
    assert (code, out) == (1, "")
    assert err.startswith("error: there is no data manager")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "it is not JSON"),
        (b'{"a": 1,}', "in line 1, column 9"),
        (b"[]", "it begins with {"),
        (b"\xff{}", "it is not UTF-8"),
        (b'{"a": NaN}', "NaN is not a number in JSON"),
        (b'{"services": [{"n": 1e999}]}', "'1e999' is too large for viam-server"),
        (b'{"n": ' + b"9" * 400 + b"}", "is too large for viam-server"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"components": 1}', "components of the config must be a list"),
    ],
)
def test_what_can_not_be_read_is_told_by_place_with_exit_code_two(
    given: bytes, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("convert", "check"):
        code, out, err = run(f"config {command}", given, monkeypatch, capsys)
        assert (code, out) == (2, "")
        assert err.startswith("holdfast: stdin: ")
        assert words in err


def test_a_file_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run("config check /no/such.json", b"", monkeypatch, capsys)
    assert code == 2
    assert "/no/such.json" in err


def test_no_secret_of_a_config_is_printed_in_what_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = {"uri": "mongodb://u:hush@h", "hush": 1}
    for attributes in ({"mongo_capture_config": "hush"}, {"mongo_capture_config": secret}):
        service = data_manager("holdfast:data-manager:durable", **attributes)
        _, out, err = run("config check", as_bytes(machine(service=service)), monkeypatch, capsys)
        assert "u:hush@h" not in out + err


@pytest.mark.parametrize(
    "arguments",
    ["", "config", "config convrt", "config convert --back --executable x", "x", "config convert --executable ''"],
)
def test_wrong_arguments_end_with_exit_code_two(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(arguments))
    assert ended.value.code == 2
    assert "usage: holdfast" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["convert", "check"])
def test_the_help_has_an_example_and_the_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["config", command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"holdfast config {command} machine.json" in text
    assert "exit codes: 0 fine" in text


def in_a_shell(command: str, *, given: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command line in bash, with `holdfast` as a command."""
    program = f'holdfast() {{ {shlex.quote(sys.executable)} -m holdfast "$@"; }}; set -o pipefail; {command}'
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(["bash", "-c", program], input=given, env=environment, capture_output=True, check=False)


def test_it_runs_as_a_python_module() -> None:
    assert in_a_shell("holdfast --version").stdout == f"holdfast {__version__}\n".encode()


@pytest.mark.parametrize("name", ["Ж", "😀", "\ud800"])
def test_json_is_utf_8_whatever_the_terminal_is(name: str) -> None:
    given = as_bytes(machine(component(name, {**READINGS, "tags": ["t"]})))
    ran = in_a_shell("holdfast config convert", given=given, PYTHONIOENCODING="latin-1")
    assert ran.returncode == 0 and ran.stderr.startswith(b"note: tags of Readings of rdk:component:sensor/\\")
    converted = json.loads(ran.stdout.decode())
    assert converted["components"][0]["name"] == name
    assert name.encode("utf-8", "backslashreplace") in ran.stdout


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("holdfast config check <&-", 2, b"holdfast: stdin is closed: name a file\n"),
        ("holdfast config check </proc/self/mem", 2, b"holdfast: cannot read stdin: Input/output error\n"),
        ("holdfast config check / ", 2, b"holdfast: cannot read /: Is a directory\n"),
        ("holdfast config check >&-", 2, b"holdfast: stdout is closed\n"),
        ("holdfast config check >/dev/full", 2, b"holdfast: cannot write to stdout: No space left on device\n"),
        ("holdfast config convert | true", 2, b""),
        ("holdfast config check /no/such.json 2>&-", 2, b""),
        ("holdfast config check /no/such.json 2>/dev/full", 2, b""),
    ],
)
def test_streams_that_can_not_be_used_are_named_in_a_line(command: str, code: int, said: bytes) -> None:
    many = machine(*(component(f"a{number}", READINGS) for number in range(1000)))
    given = as_bytes(many if "convert" in command else {})
    ran = in_a_shell(command, given=given)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, b"", said)


def test_a_terminal_is_told_what_it_is_waited_for_and_an_interrupt_ends_it_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal:
        buffer = property(lambda self: self)

        def isatty(self) -> bool:
            return True

        def read(self) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Terminal())
    assert main(["config", "check"]) == 130
    hint = "holdfast: reading a config from this terminal until Ctrl-D; you can also name a file\n"
    assert capsys.readouterr() == ("", hint)

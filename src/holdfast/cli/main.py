"""The command line: arguments in, an answer on stdout, what there is to say on stderr, and an exit code.

0: fine, perhaps with notes. 1: something is wrong with the config or could not be carried over, and is named.
2: the arguments or the file can't be used. A config that was converted in part is printed all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from .. import __version__
from ..errors import StorageError
from ..filesystem import FileSystem
from .back import to_builtin
from .check import check
from .convert import local_module, registry_module, to_holdfast
from .finding import Finding, is_fine
from .machine import Json, UnreadableConfigError

FINE, PROBLEMS, UNUSABLE = 0, 1, 2
_STDIN = "-"

_CONVERT = """\
Prints a machine's config with Holdfast in the place of the builtin data manager: the module, the service with all
its attributes, and in its capture_methods what components, services and remotes say is captured.
Says on stderr, by name, what could not be carried over and what acts otherwise than before.

example:
  holdfast config convert machine.json > with-holdfast.json
  holdfast config convert --back with-holdfast.json > with-builtin.json
"""
_CHECK = """\
Says what is wrong with a config, and how to mend it: attributes, capture methods, resources that are not there, a
module that is missing. Takes a machine's config, the data manager's entry in it, or its attributes alone.

example:
  holdfast config check machine.json
  echo '{"sync_interval_mins": 1}' | holdfast config check
"""
_CODES = """
exit codes: 0 fine, perhaps with notes; 1 problems, each named; 2 the arguments or the file can't be used
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and answers its exit code."""
    parsed = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace, Json], int] = parsed.run
    try:
        config = _read(parsed.file)
        return run(parsed, config)
    except UnreadableConfigError as error:
        name = "stdin" if parsed.file == _STDIN else parsed.file
        print(f"holdfast: {name}: {error}", file=sys.stderr)
        return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast", description="Holdfast's tools for a person.")
    parser.add_argument("--version", action="version", version=f"holdfast {__version__}")
    config = parser.add_subparsers(required=True, metavar="config").add_parser(
        "config", help="convert or check a machine's config"
    )
    commands = config.add_subparsers(required=True, metavar="convert|check")

    def command(name: str, about: str, run: Callable[[argparse.Namespace, Json], int]) -> argparse.ArgumentParser:
        found = commands.add_parser(
            name,
            help=about.partition(":")[0],
            description=about + _CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        found.add_argument("file", nargs="?", default=_STDIN, help="the config, JSON; - or nothing: stdin")
        found.add_argument("--json", action="store_true", help="the whole answer as one JSON object on stdout")
        found.set_defaults(run=run)
        return found

    convert = command("convert", _CONVERT, _convert)
    way = convert.add_mutually_exclusive_group()
    way.add_argument("--back", action="store_true", help="from Holdfast to the builtin")
    way.add_argument(
        "--executable",
        metavar="PATH",
        help="the module's executable on the machine, where it is not Viam's registry's",
    )
    command("check", _CHECK, _check)
    return parser


def _convert(parsed: argparse.Namespace, config: Json) -> int:
    if parsed.back:
        conversion = to_builtin(config)
    else:
        module = local_module(parsed.executable) if parsed.executable else registry_module()
        conversion = to_holdfast(config, module)
    if parsed.json:
        _print_json({"config": conversion.config, "findings": _plain(conversion.findings)})
    else:
        _tell(conversion.findings, sys.stderr)
        if conversion.config is not None:
            _print_json(conversion.config)
    return _code(conversion.findings)


def _check(parsed: argparse.Namespace, config: Json) -> int:
    findings = check(config, os.environ)
    if parsed.json:
        _print_json({"fine": is_fine(findings), "findings": _plain(findings)})
    else:
        _tell(findings, sys.stdout)
        if is_fine(findings):
            print("fine")
    return _code(findings)


def _code(findings: Sequence[Finding]) -> int:
    return FINE if is_fine(findings) else PROBLEMS


def _tell(findings: Sequence[Finding], stream: IO[str]) -> None:
    for finding in findings:
        print(finding, file=stream)


def _plain(findings: Sequence[Finding]) -> list[Mapping[str, str]]:
    return [{"level": finding.level.value, "text": finding.text} for finding in findings]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _read(file: str) -> Json:
    try:
        data = sys.stdin.buffer.read() if file == _STDIN else FileSystem().read(file)
        config = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number)
    except StorageError as error:
        raise UnreadableConfigError(str(error)) from error
    except UnicodeDecodeError as error:
        raise UnreadableConfigError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise UnreadableConfigError(
            f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableConfigError(f"it is not usable JSON: {error}") from error
    if not isinstance(config, dict):
        raise UnreadableConfigError("a config is an object: it begins with {")
    return config


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")

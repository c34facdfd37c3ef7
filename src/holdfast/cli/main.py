"""The command line: it reads the arguments and what they name, prints the answer, and ends with an exit code.

The converted config, the findings of a check and gaps go to stdout, everything else to stderr. With --json, all
findings go to stdout. The exit codes are:

- 0: everything is fine, perhaps with notes.
- 1: something is wrong with the config or could not be carried over. What was converted is printed all the same.
- 2: the arguments, the file or a stream can't be used.
- 130: the user interrupted the command.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from .. import __version__
from ..base.filesystem import FileSystem
from ..base.words import escaped, shown
from ..errors import HoldfastError
from ..machine_config import Finding, Json, UnreadableConfigError, is_fine
from .check import check
from .gap_table import as_json, as_lines, default_folder, holder_of, kept_gaps, since_ns
from .path_findings import machines_host
from .terminal import STDIN, print_json, print_lines, print_message, read_input
from .to_builtin import convert_to_builtin
from .to_holdfast import convert_to_holdfast, local_module, registry_module

FINE, PROBLEMS, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

_CONVERT = """\
Prints a machine's config with Holdfast in place of the builtin data manager: the service has another model, and
the module is added. What is configured for capture on components, services and remotes stays there and is captured.
Names on stderr what works differently from before, and what could not be carried over.

example:
  holdfast config convert machine.json > with-holdfast.json
  holdfast config convert --back with-holdfast.json > with-builtin.json
"""
_CHECK = """\
Says what is wrong with a config, and how to fix it: attributes, capture methods, resources that are not there, a
missing module. Takes a machine's config, only the data manager's entry in it, or only its attributes.

example:
  holdfast config check machine.json
  echo '{"sync_interval_mins": 1}' | holdfast config check
"""
_ABOUT = """\
holdfast config convert   a machine's config from the builtin data manager to Holdfast, or back
holdfast config check     what is wrong with a config, and how to fix it
holdfast gaps             when readings were missing on this machine, and why

Each has a --help of its own. None talks to a machine or changes a file.
"""
_GAPS = """\
Shows when readings of each collector were missing, how many and why: a table from the record in the capture folder,
which Holdfast keeps while it runs. It works whether Holdfast runs or not, as the user of viam-server.

example:
  sudo holdfast gaps /root/.viam/capture --since 3d
"""
_GAPS_CODES = """
exit codes: 0 whatever it shows; 2 the arguments, the record or stdout can't be used
"""
_CODES = """
exit codes: 0 fine, perhaps with notes; 1 problems, each named; 2 the arguments, the file or stdout can't be used
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Exits at once for --help, --version and wrong arguments."""
    try:
        return _run_command(_parser().parse_args(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED


def _run_command(parsed: argparse.Namespace) -> int:
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        return run(parsed)
    except (UnreadableConfigError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        print_message(f"holdfast: {'stdin' if parsed.file == STDIN else parsed.file}: {why}")
    except HoldfastError as error:
        if str(error):
            print_message(f"holdfast: {error}")
    return UNUSABLE


class _Parser(argparse.ArgumentParser):
    """A parser whose errors, which may name a file, are escaped."""

    def error(self, message: str) -> NoReturn:
        super().error(escaped(message))


def _parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="holdfast", description=_ABOUT, formatter_class=layout)
    parser.add_argument("--version", action="version", version=f"holdfast {__version__}")
    parts = parser.add_subparsers(required=True, metavar="config|gaps")
    config = parts.add_parser(
        "config", help="convert or check a machine's config", description=_ABOUT, formatter_class=layout
    )
    commands = config.add_subparsers(required=True, metavar="convert|check")

    def command(name: str, about: str, run: Callable[[argparse.Namespace, Json], int]) -> argparse.ArgumentParser:
        found = commands.add_parser(
            name, help=about.partition(":")[0], description=about + _CODES, formatter_class=layout
        )
        found.add_argument("file", nargs="?", default=STDIN, help="the config, JSON; - or nothing: stdin")
        found.add_argument("--json", action="store_true", help="the whole answer as one JSON object on stdout")
        found.set_defaults(run=lambda parsed: run(parsed, _read_config(parsed.file)))
        return found

    convert = command("convert", _CONVERT, _convert)
    way = convert.add_mutually_exclusive_group()
    way.add_argument("--back", action="store_true", help="from Holdfast to the builtin")
    way.add_argument(
        "--executable",
        metavar="PATH",
        type=_executable,
        help="the module's executable on the machine, if the module is not taken from Viam's registry",
    )
    convert.add_argument(
        "--into-service",
        action="store_true",
        help="move what is configured for capture on components into capture_methods of the service",
    )
    convert.set_defaults(refuse=convert.error)
    command("check", _CHECK, _check)
    gaps = parts.add_parser(
        "gaps", help="when readings were missing, and why", description=_GAPS + _GAPS_CODES, formatter_class=layout
    )
    gaps.add_argument(
        "folder", nargs="?", help="the capture folder; without it, viam-server's default for this user"
    )
    gaps.add_argument(
        "--since", metavar="WHEN", type=since_ns, default=-1 << 63, help="a time, or how long ago: 90min, 2h, 3d"
    )
    gaps.add_argument("--json", action="store_true", help="the answer as one JSON object")
    gaps.set_defaults(run=_gaps)
    return parser


def _executable(path: str) -> str:
    if not path:
        raise argparse.ArgumentTypeError("it is empty; leave it out for the module of Viam's registry")
    return path


def _convert(parsed: argparse.Namespace, config: Json) -> int:
    if parsed.back:
        if parsed.into_service:
            parsed.refuse("argument --into-service: not allowed with argument --back")
        conversion = convert_to_builtin(config)
    else:
        module = local_module(parsed.executable) if parsed.executable else registry_module()
        conversion = convert_to_holdfast(config, module, into_service=parsed.into_service)
    if parsed.json:
        print_json({"config": conversion.config, "findings": _as_json(conversion.findings)})
    else:
        for finding in conversion.findings:
            print_message(str(finding))
        if conversion.config is not None:
            print_json(conversion.config)
    return _exit_code(conversion.findings)


def _check(parsed: argparse.Namespace, config: Json) -> int:
    findings = check(config, machines_host(os.environ), os.environ)
    if parsed.json:
        print_json({"fine": is_fine(findings), "findings": _as_json(findings)})
    else:
        print_lines([*map(str, findings), *(["fine"] if is_fine(findings) else [])])
    return _exit_code(findings)


def _gaps(parsed: argparse.Namespace) -> int:
    files, folder = FileSystem(), parsed.folder or default_folder(os.environ)
    kept = kept_gaps(files, folder)
    if parsed.json:
        print_json(as_json(kept, parsed.since))
    else:
        print_lines(as_lines(kept, parsed.since, time.time_ns(), holder_of(files, folder)))
    return FINE


def _exit_code(findings: Sequence[Finding]) -> int:
    return FINE if is_fine(findings) else PROBLEMS


def _as_json(findings: Sequence[Finding]) -> list[Mapping[str, str]]:
    return [{"level": finding.level.value, "text": finding.text} for finding in findings]


def _read_config(file: str) -> Json:
    data = read_input(file)
    if not data.strip():
        raise UnreadableConfigError("it is empty: a config is an object, {} at least")
    try:
        config = json.loads(
            data.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            parse_int=_parse_int,
        )
    except UnicodeDecodeError as error:
        raise UnreadableConfigError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise UnreadableConfigError(
            f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    except ValueError as error:
        raise UnreadableConfigError(f"it is not usable JSON: {error}") from error
    if not isinstance(config, dict):
        raise UnreadableConfigError("a config is an object: it begins with {")
    return config


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


def _parse_float(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{shown(text)} is too large for viam-server")
    return found


def _parse_int(text: str) -> int:
    _parse_float(text)
    return int(text)

"""What may import what. `ORDER` is the one list; ARCHITECTURE.md shows it, and the source is checked against it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "holdfast"

ORDER: tuple[tuple[str, ...], ...] = (
    ("errors", "__version__"),
    ("base",),
    ("config",),
    ("machine_config",),
    ("storage.layout", "storage.names", "storage.claims"),
    ("storage.lock", "storage.ledger", "storage.capture_files"),
    ("storage.writing", "storage.quarantine"),
    ("storage.space", "storage.recovery", "storage.sequence_files"),
    ("storage.store", "storage.relocation"),
    ("storage.placement",),
    ("storage.stores",),
    ("capture.methods", "mongo", "sync.way", "sync.found", "sync.path_check", "export"),
    ("sync.cloud",),
    ("capture", "sync.retries", "sync.manual", "sync.quarantine_count", "sync.additional_paths"),
    ("sync.walk", "sync.delivery", "sync.under_way"),
    ("sync.uploads", "sync.summary", "sync.gathered"),
    ("sync.rounds",),
    ("sync.uplink",),
    ("steering", "cli", "adoption"),
    ("manager",),
    ("status",),
    ("commands",),
    ("web",),
    ("__main__",),
)
"""The layers, from the ground up: a part may import what stands above it in this list, and itself. Parts in one row
do not see each other."""

BESIDE = frozenset({"capture", "mongo", "sync", "export"})
"""Packages that take several rows beside each other, and never see each other."""

RUNS = frozenset({"adoption", "steering", "manager", "status", "commands", "web"})
"""What runs in the module. The command line never sees it, nor does it see the command line."""

TO_COME = frozenset({"web", "export"})
"""Parts that have their place and are not built yet: a local HTTP door, and the export of captured data."""

FACES = frozenset({"adoption", "config", "machine_config", "mongo", "steering", "commands", "cli"})
"""Packages whose `__init__` names all that others may import; their modules are their own affair."""

OUTSIDE = frozenset({"module", "demo", "bench", "tests"})
VIAM = ("viam.proto.", "viam.gen.", "viam.utils.")
ROW = {part: row for row, parts in enumerate(ORDER) for part in parts}


def imported(module: str, is_package: bool, source: str) -> Iterator[str]:
    """The full dotted names that a module imports, wherever in it: `from a.b import c` is "a.b.c"."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), name.name]) for name in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"__import__", "importlib.import_module"}:
            yield "import by a name that is not in the source"


def part_of(name: str) -> str | None:
    """The part of `ORDER` in which a name below `holdfast` stands; None where it has no place."""
    names = name.split(".")
    found = (".".join(names[:length]) for length in range(len(names), 0, -1))
    return next((part for part in found if part in ROW), None)


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """The imports that `module` may not have, each with the reason."""
    return [
        f"{module} imports {name}: {why}"
        for name in imported(module, is_package, source)
        if (why := _forbidden(module, name))
    ]


def _forbidden(module: str, name: str) -> str | None:
    importer, (top, _, inner) = module.split("."), name.partition(".")
    if importer[0] != "holdfast":
        return _forbidden_outside(importer[0], inner) if top == "holdfast" else None
    if " " in name:
        return "nobody can see what it imports"
    if top in OUTSIDE:
        return f"src never imports {top}"
    if top == "viam" and not f"{name}.".startswith(VIAM):
        return "of the SDK, src imports viam.proto, viam.gen and viam.utils only"
    return _forbidden_inside(".".join(importer[1:]), inner) if top == "holdfast" else None


def _forbidden_outside(top: str, inner: str) -> str | None:
    if top not in {"demo", "bench", "module"}:
        return None
    if any(part.startswith("_") and not part.startswith("__") for part in inner.split(".")):
        return "it is private to holdfast"
    return _behind_a_face("", inner)


def _forbidden_inside(importer: str, inner: str) -> str | None:
    if not importer:
        return None if part_of(inner) is None else "the package itself imports nothing"
    here, there = part_of(importer), part_of(inner)
    if here is None or there is None:
        return f"{importer if here is None else inner} has no place: say in ORDER where it stands"
    of_here, of_there = here.partition(".")[0], there.partition(".")[0]
    pair = {of_here, of_there}
    if len(pair) == 2 and (pair <= BESIDE or ("cli" in pair and pair & RUNS)):
        return f"{of_here} and {of_there} do not see each other"
    if here != there and ROW[here] <= ROW[there]:
        return f"{here} stands below {there} or beside it"
    return _behind_a_face(of_here, inner)


def _behind_a_face(importer: str, inner: str) -> str | None:
    package, _, rest = inner.partition(".")
    is_module = (PACKAGE / package / rest.partition(".")[0]).with_suffix(".py").exists()
    if package in FACES and package != importer and rest and is_module and not _is_named_by(package, rest):
        return f"others import from {package} only what its __init__ names"
    return None


def _is_named_by(package: str, name: str) -> bool:
    """Whether a package exports something by the name of one of its modules."""
    for node in ast.parse((PACKAGE / package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return name in ast.literal_eval(node.value)
    return False


def _sources() -> list[Path]:
    trees = (PACKAGE, ROOT / "module", ROOT / "demo", ROOT / "bench")
    return sorted(path for tree in trees for path in tree.rglob("*.py"))


def _module_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    parts = relative.parts[1:] if relative.parts[0] == "src" else relative.parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_below_it(path: Path) -> None:
    assert violations(_module_name(path), path.read_text(), is_package=path.name == "__init__.py") == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = {_module_name(path): path for path in PACKAGE.rglob("*.py")}
    graph = {}
    for module, path in paths.items():
        names = imported(module, path.name == "__init__.py", path.read_text())
        found = {name if name in paths else name.rpartition(".")[0] for name in names}
        graph[module] = {name for name in found if name in paths and name != module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' → '.join(error.args[1])}")


def test_everything_has_its_place_and_every_place_its_part() -> None:
    modules = {_module_name(path).partition(".")[2] for path in PACKAGE.rglob("*.py")} - {""}
    packages_of_parts = {part.partition(".")[0] for part in ROW}
    assert {module for module in modules if part_of(module) is None} <= packages_of_parts
    there = {part_of(module) for module in modules}
    assert set(ROW) - there == TO_COME | {"__version__"}


def test_the_root_of_the_package_has_five_files() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py", "__main__.py", "errors.py", "manager.py", "status.py"
    }  # fmt: skip


def test_each_package_says_what_it_is_for() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert len(docstring.split()) > 10, path


def rows_of_packages() -> list[str]:
    """`ORDER` as ARCHITECTURE.md shows it: from the top down, packages as a whole."""
    rows: list[list[str]] = []
    for parts in ORDER:
        tops = [part.partition(".")[0] for part in parts if not part.startswith("__")]
        if rows and (rows[-1] == tops[:1] or (BESIDE & set(tops) and BESIDE & set(rows[-1]))):
            rows[-1] += [top for top in tops if top not in rows[-1]]
        elif tops:
            rows.append(list(dict.fromkeys(tops)))
    return ["module", *(" | ".join(sorted(row)) for row in reversed(rows))]


def rows_within(package: str) -> str:
    """The parts of one package as ARCHITECTURE.md shows them: from the ground up."""
    rows = ([part.partition(".")[2] for part in parts if part.startswith(f"{package}.")] for parts in ORDER)
    return " → ".join(", ".join(row) for row in rows if row)


def test_the_architecture_shows_the_same_order() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    found = re.search(r"^```text\n(module\n.*?)```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    shown = [re.sub(r" \(to come\)", "", row).strip() for row in found[1].splitlines()]
    assert shown == rows_of_packages()
    assert set(re.findall(r"(\w+) \(to come\)", found[1])) == TO_COME
    for package in ("storage", "sync"):
        assert f"`{rows_within(package)}`" in text, rows_within(package)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("holdfast.config.parse", "from ..storage import layout"),
        ("holdfast.errors", "import holdfast.manager"),
        ("holdfast.errors", "from .config import Config"),
        ("holdfast.base.clock", "from .. import capture"),
        ("holdfast.base.log_limit", "from ..config import Config"),
        ("holdfast.base.filesystem", "def f():\n    from holdfast.sync.cloud.cloud import Cloud"),
        ("holdfast.base.filesystem", "import importlib\nimportlib.import_module('holdfast.manager')"),
        ("holdfast.config.model", "from ..machine_config import Machine"),
        ("holdfast.storage.capture_files.frames", "from ...mongo import MongoCapture"),
        ("holdfast.storage.capture_files.frames", "from ... import sync"),
        ("holdfast.storage.ledger.ledger", "from ...status import status"),
        ("holdfast.storage.ledger.ledger", "from ..store import Store"),
        ("holdfast.storage.ledger.ledger", "from ..capture_files import frames"),
        ("holdfast.storage.layout", "from . import claims"),
        ("holdfast.capture.engine", "from ..sync.cloud import cloud"),
        ("holdfast.capture.engine", "from ..mongo import MongoCapture"),
        ("holdfast.capture.methods.sensor", "from ...sync.cloud.cloud import Cloud"),
        ("holdfast.capture.methods.sensor", "from ...manager import Manager"),
        ("holdfast.capture.methods.sensor", "from ..client import UnaryClient"),
        ("holdfast.mongo.writer", "from ..sync.found import Found"),
        ("holdfast.mongo.writer", "from ..capture.client import UnaryClient"),
        ("holdfast.sync.uplink", "from ..mongo import MongoCapture"),
        ("holdfast.sync.walk.walk", "from ...capture.client import UnaryClient"),
        ("holdfast.sync.walk.walk", "import holdfast.capture"),
        ("holdfast.sync.walk.walk", "if TYPE_CHECKING:\n    from ...capture import engine"),
        ("holdfast.sync.walk.walk", "from ..delivery.delivery import Delivery"),
        ("holdfast.sync.cloud.link", "from ..retries import Retries"),
        ("holdfast.manager", "from module.durable import Durable"),
        ("holdfast.manager", "from .config.space import SpaceLimits"),
        ("holdfast.manager", "from .steering.steering import Steering"),
        ("holdfast.storage.capture_files.frames", "import demo.cloud"),
        ("holdfast.sync.cloud.cloud", "from bench import run"),
        ("holdfast.status", "from tests.fakes import FakeClock"),
        ("holdfast.capture.client", "from viam.components.sensor import Sensor"),
        ("holdfast.capture.client", "import viam"),
        ("holdfast.capture.client", "from viam import proto_extras"),
        ("holdfast.sync.cloud.cloud", "from viam.utilsextra import x"),
        ("holdfast.cli.check", "from ..manager import Manager"),
        ("holdfast.cli.check", "from ..steering import Steering"),
        ("holdfast.manager", "from .cli import main"),
        ("holdfast.cli.main", "from ..commands import COMMANDS"),
        ("holdfast.brand_new", "from .errors import HoldfastError"),
        ("demo.machine", "from holdfast.config.parse import parse"),
        ("demo.machine", "from holdfast.storage._hidden import x"),
        ("bench.run", "import holdfast._private"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source", "is_package"),
    [
        ("holdfast.config.parse", "from ..errors import ConfigError\nimport math", False),
        ("holdfast.config", "from .parse import parse", True),
        ("holdfast.machine_config.linking", "from ..config import CaptureMethod", False),
        ("holdfast.storage.ledger.ledger", "from .. import layout\nfrom .journal import Journal", False),
        ("holdfast.capture.methods", "from . import sensor\nfrom .method import TabularMethod", True),
        ("holdfast.capture.engine", "from .methods import TABLES", False),
        ("holdfast.capture.methods.sensor", "from ...storage.capture_files.frames import varint", False),
        ("holdfast.sync.cloud.cloud", "from viam.gen.proto.rpc.v1.auth_pb2 import Credentials\nimport grpc", False),
        ("holdfast.sync.delivery.delivery", "from ..cloud.link import Link\nfrom ..found import Found", False),
        ("holdfast.steering.sensor_readings", "from viam.utils import struct_to_dict\nimport viam.utils", False),
        ("holdfast.status", "from . import __version__\nfrom .sync.cloud.link import Link", False),
        ("holdfast.manager", "from .capture import engine\nfrom .sync.uplink import Uplink", False),
        (
            "holdfast.cli.check",
            "from ..capture.resolve import resolve\nfrom ..machine_config import Machine",
            False,
        ),
        (
            "module.durable",
            "from holdfast.manager import Manager\nfrom viam.components.sensor import Sensor",
            False,
        ),
        ("demo.machine", "from __future__ import annotations\nfrom holdfast import __version__", False),
    ],
)
def test_an_allowed_import_is_let_through(module: str, source: str, is_package: bool) -> None:
    assert violations(module, source, is_package=is_package) == []

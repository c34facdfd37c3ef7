"""What imports what: the layers of ARCHITECTURE.md, checked in the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOOR = frozenset(
    {
        "config",
        "errors",
        "base",
    }
)
TOP = frozenset({"manager", "status", "commands", "steering"})
MAY_IMPORT = {
    **dict.fromkeys(FLOOR, FLOOR),
    "storage": FLOOR | {"storage"},
    "mongo": FLOOR | {"storage", "mongo"},
    "capture": FLOOR | {"storage", "capture"},
    "sync": FLOOR | {"storage", "sync"},
    **dict.fromkeys(TOP, FLOOR | TOP | {"storage", "capture", "mongo", "sync", "__version__"}),
    "machine_config": FLOOR | {"machine_config"},
    "cli": FLOOR | {"machine_config", "storage", "capture", "cli", "__version__"},
    "__main__": frozenset({"cli"}),
    "": frozenset(),
}
"""What of holdfast each part of src/holdfast may import; "" is holdfast/__init__.py."""
DOORS = frozenset({"commands", "steering"})
"""Packages of which others import only what their `__init__` lists."""
OUTSIDE = frozenset({"module", "demo", "bench", "tests"})
VIAM = ("viam.proto.", "viam.gen.", "viam.utils.")


def imported(module: str, is_package: bool, source: str) -> Iterator[str]:
    """The full dotted names that a module imports, wherever in it: `from a.b import c` is "a.b.c"."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), name.name]) for name in node.names)


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """The imports that `module` may not have, each with the reason."""
    return [
        f"{module} imports {name}: {why}"
        for name in imported(module, is_package, source)
        if (why := _forbidden(module, name))
    ]


def _forbidden(module: str, name: str) -> str | None:
    importer, top = module.split("."), name.partition(".")[0]
    room = name.split(".")
    if room[0] == "holdfast" and room[1:2] and room[1] in DOORS and len(room) > 3 and room[:2] != importer[:2]:
        return f"others import from holdfast.{room[1]} itself"
    if importer[0] != "holdfast":
        private = top == "holdfast" and any(_is_private(part) for part in name.split("."))
        return "it is private to holdfast" if private and importer[0] in {"demo", "bench"} else None
    if top in OUTSIDE:
        return f"src never imports {top}"
    if top == "viam" and not f"{name}.".startswith(VIAM):
        return "of the SDK, src imports viam.proto, viam.gen and viam.utils only"
    if top == "holdfast":
        part = importer[1] if len(importer) > 1 else ""
        target = (*name.split("."), "")[1]
        if part not in MAY_IMPORT:
            return f"no layer is known for {part}: say in this test where it stands"
        return None if target in MAY_IMPORT[part] else f"{part or 'the package'} stands below it or beside it"
    return None


def _is_private(part: str) -> bool:
    return part.startswith("_") and not part.startswith("__")


def _sources() -> list[Path]:
    trees = (ROOT / "src" / "holdfast", ROOT / "module", ROOT / "demo", ROOT / "bench")
    return sorted(path for tree in trees for path in tree.rglob("*.py"))


def _module_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    parts = relative.parts[1:] if relative.parts[0] == "src" else relative.parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_below_it(path: Path) -> None:
    assert violations(_module_name(path), path.read_text(), is_package=path.name == "__init__.py") == []


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {path.name.removesuffix(".py") for path in (ROOT / "src" / "holdfast").iterdir()}
    assert parts - {"__init__", "__pycache__", "py.typed"} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("holdfast.config.parse", "from ..storage import layout"),
        ("holdfast.errors", "import holdfast.manager"),
        ("holdfast.base.clock", "from .. import capture"),
        ("holdfast.base.log_limit", "from .. import __version__"),
        ("holdfast.base.filesystem", "def f():\n    from holdfast.sync.cloud import Cloud"),
        ("holdfast.storage.capture_files.frames", "from ...mongo import capture"),
        ("holdfast.storage.capture_files.frames", "from ... import sync"),
        ("holdfast.storage.ledger.ledger", "from ...status import status"),
        ("holdfast.storage.stores", "from ..capture.resolve import Resolution"),
        ("holdfast.capture.engine", "from ..sync import cloud"),
        ("holdfast.capture.engine", "from ..mongo import MongoCapture"),
        ("holdfast.mongo.capture", "from ..capture.collector import CollectorSpec"),
        ("holdfast.capture.methods.sensor", "from ...sync.cloud import Cloud"),
        ("holdfast.capture.methods.sensor", "from ...manager import Manager"),
        ("holdfast.sync.walk.walk", "from ...capture.client import UnaryClient"),
        ("holdfast.sync.walk.walk", "import holdfast.capture"),
        ("holdfast.sync.walk.walk", "if TYPE_CHECKING:\n    from ...capture import engine"),
        ("holdfast.manager", "from module.durable import Durable"),
        ("holdfast.storage.capture_files.frames", "import demo.cloud"),
        ("holdfast.sync.cloud.cloud", "from bench import run"),
        ("holdfast.status", "from tests.fakes import FakeClock"),
        ("holdfast.capture.client", "from viam.components.sensor import Sensor"),
        ("holdfast.capture.client", "import viam"),
        ("holdfast.capture.client", "from viam import proto_extras"),
        ("holdfast.sync.cloud.cloud", "from viam.utilsextra import x"),
        ("holdfast.cli.check", "from ..sync import verdicts"),
        ("holdfast.manager", "from .cli import main"),
        ("holdfast.manager", "from .steering.effective import effective"),
        ("module.durable", "from holdfast.commands.syncing import start_sync"),
        ("holdfast.brand_new", "from .errors import HoldfastError"),
        ("demo.machine", "from holdfast.config import _Reader"),
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
        (
            "holdfast.storage.capture_files.frames",
            "from ...errors import DamagedFileError\nfrom .. import layout",
            False,
        ),
        ("holdfast.capture.methods", "from . import sensor\nfrom .method import TabularMethod", True),
        ("holdfast.capture.methods.sensor", "from ...storage.frames import readings_payload", False),
        ("holdfast.sync.cloud.cloud", "from viam.gen.proto.rpc.v1.auth_pb2 import Credentials\nimport grpc", False),
        ("holdfast.steering.sensor_readings", "from viam.utils import struct_to_dict\nimport viam.utils", False),
        ("holdfast.status", "from . import __version__\nfrom .sync.link import Link", False),
        ("holdfast.manager", "from .capture import engine\nfrom .sync import cloud", False),
        (
            "module.durable",
            "from holdfast.manager import Manager\nfrom viam.components.sensor import Sensor",
            False,
        ),
        ("module.durable", "from holdfast.commands import start_sync", False),
        ("holdfast.commands.pausing", "from ..steering import SYNC\nfrom .resources import running", False),
        ("holdfast.steering.steering", "from .user_settings import SYNC", False),
        ("demo.machine", "from __future__ import annotations\nfrom holdfast import __version__", False),
    ],
)
def test_an_allowed_import_is_let_through(module: str, source: str, is_package: bool) -> None:
    assert violations(module, source, is_package=is_package) == []

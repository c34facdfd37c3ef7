"""The status of the data manager, as one structure of plain values. docs/status.md describes each field.

It is built of what the parts know already. It starts no call and reads no disk. Belongs to the event loop.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psutil

from . import __version__
from .base import unforeseen
from .base.clock import Clock
from .base.fitting import NOT_SHOWN
from .base.noted import Noted
from .base.problems import Lasting
from .capture.engine import RunningCollector
from .capture.gap_view import described
from .capture.methods import own_methods_of
from .capture.resolve import not_captured
from .capture.shortfall import parts_of, sentence
from .config import Config, WhenFull
from .manager import Engine, Manager
from .mongo import OFF
from .steering import ActiveSetting
from .storage.ledger.counts import CollectorId, FileCounts, ReadingCounts
from .storage.sequence_files import rfc3339_ms
from .storage.space.local_copy import LocalCopy
from .storage.store import Store
from .sync.path_check import CheckedPath
from .sync.retries import Held
from .sync.walk.listings import Waiting

MOST_COLLECTORS = 500
"""So many collectors are told of, which takes some 20 ms of the event loop, or 26 if all of them fall short. Their
sums are of all."""
MOST_PROBLEMS = MOST_GAPS = 100
MOST_NOT_CAPTURED = 100
_MOST_HELD_OPEN = 10


def status(manager: Manager) -> dict[str, Any]:
    """Returns the current status. Reads the process's own figures from /proc, and nothing else."""
    config, engine = manager.config, manager.engine
    uptime_s = manager.clock.monotonic() - manager.started_s
    lasting = manager.problems.look()
    found: dict[str, Any] = {
        "version": __version__,
        "running": engine is not None,
        "paused": paused(manager),
        "problems": _problems(lasting),
        "process": {
            "pid": os.getpid(),
            "uptime_s": round(uptime_s, 1),
            "cpu_s": round(time.process_time(), 2),
            "rss_bytes": _rss_bytes(),
        },
        "unexpected_errors": [
            {
                "what": each.what,
                "error": each.error,
                "times": each.times,
                "last_age_s": _ago_s(manager.clock, each.last_s),
            }
            for each in unforeseen.all_found()
        ],
    }
    found[NOT_SHOWN] = {"problems": len(lasting) - MOST_PROBLEMS} if len(lasting) > MOST_PROBLEMS else {}
    if config is None or engine is None:
        return found
    readings, load = _readings(engine), engine.capture.load
    disk_errors = (store.writer.last_error for store in engine.stores.all)
    disk_error = max(filter(None, disk_errors), key=lambda error: error.at_s, default=None)
    engine.capture.gaps.look()
    gaps, older = engine.capture.gaps.newest(MOST_GAPS)
    found["capture"] = {
        "enabled": not config.capture_disabled,
        "capture_dir": config.capture_dir,
        "adopted": _adopted(manager, config),
        "waiting_for": sorted({r.method.name for r in manager.resolutions if r.waiting}),
        "buffered_bytes": sum(store.writer.pending_bytes for store in engine.stores.all),
        **_last_error(manager.clock, disk_error, "last_disk_error"),
        "cpu_share": None if load.at_s is None else round(load.process, 3),
        "cpu_as_of_s": _ago_s(manager.clock, load.at_s),
        "not_captured": _not_captured(manager, config, found[NOT_SHOWN]),
        "gaps": [described(each.collector, gap) for each, gap in gaps],
        "collectors": [_collector(manager, readings, each) for each in _shown_of(engine.capture.running)],
    }
    found["mongo"] = _mongo(manager, engine)
    found["steering"] = _steering(manager)
    found["sync"] = _sync(manager, engine)
    found |= _ledger(engine, readings)
    found["space"] = _space(manager.clock, engine.stores.all, engine.stores.local_copy)
    if older:
        found[NOT_SHOWN]["capture.gaps"] = older
    for part, count in (("capture", len(engine.capture.running)), ("ledger", len(readings))):
        if count > MOST_COLLECTORS:
            found[NOT_SHOWN][f"{part}.collectors"] = count - MOST_COLLECTORS
    return found


def _last_error(clock: Clock, error: Noted | None, name: str = "last_error") -> dict[str, Any]:
    """Returns a part's last error and its age, which is unknown without one."""
    return {name: error or "", f"{name}_age_s": _ago_s(clock, error.at_s if error else None)}


def _problems(lasting: Sequence[Lasting]) -> list[dict[str, Any]]:
    return [
        {
            "kind": each.problem.kind.value,
            "what": each.problem.what,
            "do": each.problem.do,
            "cost": each.problem.cost,
            "since": rfc3339_ms(each.since_ns),
            "lasts_s": round(each.lasts_s, 1),
            "times": each.times,
        }
        for each in lasting[:MOST_PROBLEMS]
    ]


def _shown_of(running: Sequence[RunningCollector]) -> Sequence[RunningCollector]:
    """Returns the first collectors, or those with problems and then the first, when there are too many."""
    if len(running) <= MOST_COLLECTORS:
        return running
    return sorted(running, key=lambda each: not (each.collector.last_error or each.slow))[:MOST_COLLECTORS]


def _rss_bytes() -> int | None:
    """Returns the memory that the process uses; None when that can't be read, as without a free descriptor."""
    try:
        return int(psutil.Process().memory_info().rss)
    except (OSError, psutil.Error):
        return None


def _adopted(manager: Manager, config: Config) -> dict[str, Any] | None:
    """Returns where the capture settings of components come from; None if none are adopted."""
    if manager.adoption is None or not config.adopt_component_settings:
        return None
    adopted = manager.adoption.adopted
    return {
        "file": adopted.path or None,
        "revision": adopted.revision or None,
        "count": len(manager.adoption.cards),
        "as_of_s": _age_s(manager.clock, adopted.read_ns),
        "why_not_newer": adopted.why_not_newer,
    }


def _not_captured(manager: Manager, config: Config, not_shown: dict[str, int]) -> dict[str, Any] | None:
    """Returns what else of the machine could be captured; None until the machine has listed its resources."""
    machine = manager.steering.resources
    if machine.listed_s is None:
        return None
    methods = (*config.methods, *config.off_methods, *(found.method for found in manager.resolutions))
    found = not_captured(methods, machine.listed)
    if len(found) > MOST_NOT_CAPTURED:
        not_shown["capture.not_captured.resources"] = len(found) - MOST_NOT_CAPTURED
    return {
        "as_of_s": _ago_s(manager.clock, machine.listed_s),
        "resources": [
            {"resource": name, "api": api, "methods": own_methods_of(api)}
            for name, api in found[:MOST_NOT_CAPTURED]
        ],
    }


def _collector(
    manager: Manager, readings: Mapping[CollectorId, ReadingCounts], running: RunningCollector
) -> dict[str, Any]:
    collector = running.collector
    spec = collector.spec
    counts = readings.get(spec.collector_id, ReadingCounts())
    last = collector.last_reading_s
    return {
        "resource": spec.resource,
        "api": spec.api,
        "source": spec.method.source,
        "found_as": "dependency" if spec.api in manager.resources.apis.get(spec.resource, ()) else "listed",
        "method": spec.method.method,
        "hz": spec.method.frequency_hz,
        "readings": collector.readings,
        "missed": running.missed,
        "scattered": collector.history.scattered,
        "errors": collector.errors,
        "filtered": collector.filtered,
        "captured": counts.captured,
        "delivered": counts.delivered,
        "dropped": dict(counts.dropped),
        "last_reading_age_s": None if last is None else round(manager.clock.monotonic() - last, 3),
        **_last_error(manager.clock, collector.last_error),
        **_rates(running, manager.clock),
    }


def _rates(running: RunningCollector, clock: Clock) -> dict[str, Any]:
    collector, totals = running.collector, running.totals()
    share = running.window.until(totals).share
    slow = running.slow
    parts = parts_of(slow) if slow else []
    late_p50_ms, late_p99_ms = collector.lateness.percentiles_ms()
    call_p50_ms, call_p99_ms = collector.call_times.percentiles_ms()
    return {
        "reached_hz": None if share is None else round(running.hz * share, 6),
        "in_flight": collector.in_flight,
        "late_p50_ms": late_p50_ms,
        "late_p99_ms": late_p99_ms,
        "call_p50_ms": call_p50_ms,
        "call_p99_ms": call_p99_ms,
        "missing": {cause.value: count for cause, count in totals.missing.items()},
        "bounded_by": [
            {
                "cause": each.cause.value,
                "share": round(each.share, 3),
                "readings": each.readings,
                "do": each.do,
            }
            for each in parts
        ],
        "bounded_why": sentence(slow, parts) if slow else "",
        "bounded_as_of_s": _ago_s(clock, slow.at_s) if slow else None,
    }


def _mongo(manager: Manager, engine: Engine) -> dict[str, Any]:
    """Returns the part for MongoDB, in which taken + found = written + dropped + waiting_readings.

    Without MongoDB there are no counts, and before the folder is ours nobody knows what an earlier run left.
    """
    report = engine.mongo.report()
    counts = report.counts if report.state != OFF else None
    waiting = report.waiting if report.adopted else None
    return {
        "state": report.state,
        "why": report.why,
        "tried_age_s": _ago_s(manager.clock, report.tried_s),
        "waiting_readings": waiting and waiting.readings,
        "waiting_bytes": waiting and waiting.size_bytes,
        "oldest_age_s": waiting and _age_s(manager.clock, waiting.oldest_ns),
        "taken": counts and counts.taken,
        "found": counts.found if counts and report.adopted else None,
        "written": counts and counts.written,
        "dropped": dict(counts.dropped) if counts else None,
        **_last_error(manager.clock, report.last_error),
    }


def _steering(manager: Manager) -> dict[str, Any]:
    steering, engine = manager.steering, manager.engine
    delivery = None if engine is None else engine.uplink.sequences
    return {
        "frequencies": [
            {"resource": each.setting.what, "method": each.setting.method, "hz": each.setting.hz, **_time_of(each)}
            for each in steering.settings.active
            if each.setting.method
        ],
        "control_sensor": steering.control_sensor_state,
        "settings_problem": steering.settings.problem,
        "sequences": [
            {
                "id": each.identity,
                "since": rfc3339_ms(each.sequence.start_ns),
                "resources": [{"resource": name, "method": method} for name, method in each.sequence.resources],
                "tags": list(each.sequence.tags),
                "by": "sensor" if each.by_sensor else "command",
            }
            for each in steering.sequences.open
        ],
        "sequences_delivered": delivery.delivered if delivery else 0,
        "sequences_quarantined": delivery.quarantined if delivery else 0,
    }


def paused(manager: Manager) -> list[dict[str, Any]]:
    """Returns what is paused and until when, for the status and for the answers of `pause` and `resume`."""
    return [{"what": each.setting.what, **_time_of(each)} for each in manager.steering.settings.pauses]


def _time_of(active: ActiveSetting) -> dict[str, Any]:
    until_ns = active.setting.until_ns
    return {"until": "" if until_ns is None else rfc3339_ms(until_ns), "persist": active.persist}


def _sync(manager: Manager, engine: Engine) -> dict[str, Any]:
    link, rounds, delivery = engine.uplink.link, engine.uplink.rounds, engine.uplink.delivery
    last, time_left_s = rounds.last_round_s, rounds.time_left_s
    return {
        "link": link.state.value,
        "link_error": link.why,
        "way": link.way,
        "state": engine.store.waiting_for or rounds.state,
        "selector": rounds.selector,
        "selector_age_s": _ago_s(manager.clock, rounds.selector_s),
        "lock_problem": next((problem for store in engine.stores.all if (problem := store.lock_problem)), ""),
        "recovery": engine.store.recovery_state,
        **_pending(manager.clock, rounds.backlog.waiting, rounds.additional.all),
        "unfinished_files": rounds.unfinished,
        "throughput_bytes_per_s": round(engine.uplink.bytes_per_s, 1),
        "time_left_s": None if time_left_s is None else round(time_left_s, 1),
        "in_flight": rounds.in_flight,
        "retrying": delivery.retrying,
        "held_open": _held_open(manager.clock, delivery.retries.held_open),
        "failed_files": engine.uplink.quarantined.files,
        "failed_bytes": engine.uplink.quarantined.bytes,
        "failed_as_of_s": _ago_s(manager.clock, engine.uplink.quarantined.counted_s),
        "last_round_age_s": _ago_s(manager.clock, last),
        **_last_error(manager.clock, delivery.last_error),
        "additional_paths": [
            {"path": each.path, "kind": each.kind.value, "problem": each.problem} for each in rounds.additional.all
        ],
        "draining": [store.capture_dir for store in engine.stores.draining],
    }


def _held_open(clock: Clock, held: Mapping[str, Held]) -> dict[str, Any]:
    first = [
        {"path": path, "by": by, "as_of_s": _ago_s(clock, looked_s)}
        for path, (by, looked_s) in itertools.islice(held.items(), _MOST_HELD_OPEN)
    ]
    return {"count": len(held), "first": first}


def _ago_s(clock: Clock, then_s: float | None) -> float | None:
    """Returns how long ago a time of the monotonic clock was; None if there is none."""
    return None if then_s is None else round(clock.monotonic() - then_s, 1)


def _age_s(clock: Clock, time_ns: float | None) -> float | None:
    """Returns how long ago `time_ns` was; 0 when it lies in the future, since the clock was set back."""
    return None if time_ns is None else max(0.0, round((clock.time_ns() - time_ns) / 1e9, 1))


def _pending(clock: Clock, waiting: Waiting | None, others: Sequence[CheckedPath]) -> dict[str, Any]:
    """Returns how much waits to be sent. All of it is None while not all sync paths were looked at."""
    return {
        "pending_files": waiting and waiting.files,
        "pending_bytes": waiting and waiting.bytes,
        "pending_as_of_s": waiting and _ago_s(clock, waiting.as_of_s),
        "oldest_age_s": waiting and _age_s(clock, waiting.oldest_ns),
        "recent_files": waiting and waiting.recent,
        "unreadable": waiting and waiting.unreadable + sum(not each.is_readable for each in others),
    }


def _readings(engine: Engine) -> dict[CollectorId, ReadingCounts]:
    """Returns the counts of each collector, added up over all stores."""
    readings: dict[CollectorId, ReadingCounts] = {}
    for store in engine.stores.all:
        for collector, counts in store.ledger.readings().items():
            readings.setdefault(collector, ReadingCounts()).add(counts)
    return readings


def _ledger(engine: Engine, readings: Mapping[CollectorId, ReadingCounts]) -> dict[str, Any]:
    """Returns the counts of all readings and files that the ledgers know, as totals and for each collector."""
    total, files = ReadingCounts(), FileCounts()
    for counts in readings.values():
        total.add(counts)
    for store in engine.stores.all:
        files.add(store.ledger.files)
    return {
        "readings": _counts(total),
        "files": vars(files),
        "ledger": {
            "state": engine.store.counts_state,
            "collectors": [
                {"api": api, "resource": resource, "method": method, **_counts(counts)}
                for (api, resource, method), counts in sorted(readings.items())[:MOST_COLLECTORS]
            ],
        },
    }


def _counts(counts: ReadingCounts) -> dict[str, Any]:
    """captured + adopted = delivered + quarantined + vanished + deleted + dropped + on_disk."""
    return {
        "captured": counts.captured,
        "adopted": counts.adopted,
        "delivered": counts.delivered,
        "quarantined": counts.quarantined,
        "vanished": counts.vanished,
        "deleted": counts.deleted,
        "dropped": dict(counts.dropped),
        "on_disk": counts.on_disk,
    }


def _space(clock: Clock, stores: Iterable[Store], copy: LocalCopy | None) -> dict[str, Any]:
    """Returns how full the folders are, as of the last check of their disks, and what the limits deleted."""
    return {
        "folders": [_folder(clock, store) for store in stores],
        "local_copy": None if copy is None else _copy(clock, copy),
    }


def _folder(clock: Clock, store: Store) -> dict[str, Any]:
    space, limits = store.space, store.limits.limits
    growth, lasts_s = space.growth_bytes_per_s, space.lasts_s(limits.most_bytes)
    return {
        "folder": store.capture_dir,
        "as_of_s": _ago_s(clock, space.measured_s),
        "disk_total_bytes": space.usage.total_bytes if space.usage else None,
        "disk_free_bytes": space.usage.free_bytes if space.usage else None,
        "captured_bytes": space.captured_bytes,
        "growth_bytes_per_s": None if growth is None else round(growth, 1),
        "lasts_s": None if lasts_s is None else round(lasts_s),
        "limit_bytes": limits.most_bytes,
        "limit_age_s": limits.most_age_s,
        "when_full": (limits.when_full or WhenFull.THIN).value,
        "failed_bytes": store.limits.quarantine.bytes,
        "failed_limit_bytes": store.limits.most_failed_bytes,
        "deleted_files": space.deleted.files,
        "deleted_bytes": space.deleted.bytes,
        "deleted_readings": space.deleted.readings,
        "last_deletion_age_s": _ago_s(clock, store.limits.deleted_at_s),
    }


def _copy(clock: Clock, copy: LocalCopy) -> dict[str, Any]:
    return {
        "folder": copy.settings.folder,
        "bytes": copy.bytes,
        "limit_bytes": copy.settings.most_bytes,
        "limit_age_s": copy.settings.most_age_s,
        "not_kept": copy.failed,
        **_last_error(clock, copy.last_error),
    }

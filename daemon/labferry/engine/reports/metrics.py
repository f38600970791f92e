"""The promise as Prometheus reads it; names and labels are a contract with dashboards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labferry.engine.context import Context
from labferry.engine.reports.health import Severity
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.status import status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[Mapping[str, str], float]


def metrics(context: Context, live: LiveState) -> str:
    """Return the metrics in Prometheus' text format."""
    data: dict[str, Any] = status(context, live)
    healthy = all(condition["severity"] != Severity.ERROR for condition in data["health"])
    families: list[tuple[str, str, Iterable[Sample]]] = [
        ("build_info", "Always 1; the version is the label.", [({"version": data["version"]}, 1)]),
        ("healthy", "1 while the promise holds.", [({}, healthy)]),
        ("sessions", "Sessions by state.", _by("state", data["sessions"])),
        ("attention", "Sessions that need a person.", [({}, data["attention"])]),
        ("jobs", "Unfinished jobs by state.", _by("state", data["jobs"])),
        ("oldest_waiting_seconds", "Age of the oldest job that waits.", [({}, data["oldest_waiting_s"] or 0)]),
        ("transfers", "Transfers on their way.", [({}, data["transfers"]["active"])]),
        (
            "dependency_up",
            "1 while a dependency answers, also before it was asked for the first time.",
            [({"name": name}, one["state"] in {"up", "unknown"}) for name, one in data["dependencies"].items()],
        ),
        ("root_frozen", "1 while a root is not as it was.", _of_roots(data, "frozen")),
        ("root_scan_seconds", "Duration of the last scan.", _of_roots(data, "scan_s")),
        ("root_watches", "Folders watched for events.", _of_roots(data, "watches")),
        ("root_overflows", "Times that the kernel lost events since the start.", _of_roots(data, "overflows")),
    ]
    return "".join(_family(f"labferry_{name}", text, samples) for name, text, samples in families)


def _by(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [({label: value}, count) for value, count in counts.items()]


def _of_roots(data: Mapping[str, Any], key: str) -> list[Sample]:
    return [({"root": root["name"]}, root[key]) for root in data["roots"]]


def _family(name: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
    lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value) if isinstance(value, bool) else value)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

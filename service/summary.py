"""What a server says of itself when it is up: pure functions from what it serves to lines a person wants to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models import TensorSpec
from models.shelf import IndexEntry
from service import example
from service.engine import Served


@dataclass(frozen=True, slots=True)
class Standing:
    """What answers, and what of the repository does not, with the reasons."""

    served: Sequence[Served]
    failed: Sequence[IndexEntry]


def summary(
    standing: Standing,
    address: str,
    server: str,
    seconds: float,
    workers: int = 1,
    admin: str | None = None,
    *,
    keyed: bool = False,
) -> str:
    """The start-up summary: models, versions, tensors, batching, addresses, and a curl line that works when pasted. ``keyed``:
    callers are asked who they are."""
    lines = [""]
    lines += _table([("model", "version", "platform", "inputs", "outputs", "batching"), *map(_row, standing.served)])
    for served in standing.served:
        lines += [f"  note, {served.model}/{served.version}: {note}" for note in served.loaded.notes]
    for entry in standing.failed:
        lines.append(f"  NOT SERVED {entry.name}{'' if entry.version is None else f'/{entry.version}'}: {entry.reason}")
    if not standing.served:
        lines.append("  no model is served; `tureen check` says why, `tureen demo DIR` makes some")
    by = server if workers == 1 else f"{server}, {workers} workers"
    lines += ["", f"  Tureen serves {_count(standing.served)} on http://{address} ({by}), up in {seconds:.1f} s"]
    if admin is not None:
        lines.append(f"  Admin routes are on http://{admin} alone")
    if keyed:
        lines.append("  It asks for a key or token: `tureen keys create NAME` makes one, clients take it from TUREEN_API_KEY")
    shortest = sorted(standing.served, key=lambda served: (served.loaded.platform != "python", example.weight(served.signature)))
    for served in shortest:
        line = example.curl(address, served.model, served.signature, keyed=keyed)
        if line is not None:
            lines += ["  Try it:", f"    {line}"]
            break
    return "\n".join([*lines, ""])


def _row(served: Served) -> tuple[str, ...]:
    signature = served.signature
    settings = served.batcher.policy
    batching = f"{settings.max_rows} rows, {settings.window_ms:g} ms, {settings.close}" if signature.batched else "one at a time"
    return (
        served.model,
        served.version,
        served.loaded.platform,
        tensors(signature.inputs),
        tensors(signature.outputs),
        batching,
    )


def tensors(specs: Iterable[TensorSpec]) -> str:
    """``image FP32[-1,1,8,8], k INT64[-1]?``: a question mark where it may be left out."""
    return ", ".join(
        f"{spec.name} {spec.datatype}[{','.join(map(str, spec.shape))}]{'?' if spec.optional else ''}" for spec in specs
    )


def _count(served: Sequence[Served]) -> str:
    models = len({one.model for one in served})
    return f"{models} model{'s' * (models != 1)}, {len(served)} version{'s' * (len(served) != 1)},"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

"""HTML of the texts, tables and bars of the page, and its style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from dask.utils import format_bytes

from gfrnn.cluster.dashboard.page_state import PageState
from gfrnn.cluster.dashboard.snapshot import ResultTable, StageSnapshot, WorkerMemory
from gfrnn.cluster.human_units import human_duration

# Workers that fit on a screen.
_MOST_WORKERS = 12

# Fraction of a worker's memory limit beyond which Dask spills to disk.
_SPILLS = 0.6

# Displayed where a number is not known.
_UNKNOWN = "\N{EN DASH}"

RUNNING = '<span class="state">running</span>'
"""Displayed in the head while a run is in progress."""

_ENDED = 'class="state over"'

DISCONNECTED = f"<span {_ENDED}>no connection: the run or its scheduler has ended</span>"
"""Displayed in the head when the connection to the scheduler is lost."""

STYLE = """
.bk-clearfix { display: block; width: 100%; }
:host { font-family: system-ui, sans-serif; color: #333c42; font-size: 14px; }
h1 { font-size: 20px; margin: 0 12px 0 0; display: inline; font-weight: 600; }
h2 { font-size: 13px; margin: 14px 0 6px; font-weight: 700; }
.place { color: #6b767d; margin-right: 12px; }
.state { background: #2a6f97; color: white; border-radius: 9px; padding: 2px 10px; }
.state.over { background: #6b767d; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 8px 0 0; }
.tile { background: #f3f5f6; border-radius: 6px; padding: 6px 14px; min-width: 92px; }
.tile b { display: block; font-size: 19px; font-weight: 600; white-space: nowrap; }
.tile span { color: #6b767d; font-size: 12px; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: 3px 8px 3px 0; text-align: right; white-space: nowrap; font-weight: 400; }
td:first-child, th:first-child { text-align: left; }
thead th { color: #6b767d; font-size: 12px; border-bottom: 1px solid #d5dbdf; }
.numbers { font-variant-numeric: tabular-nums; }
.track { background: #e3e7ea; border-radius: 4px; height: 12px; min-width: 60px; }
.fill { background: #2a6f97; border-radius: 4px; height: 12px; }
.done .fill { background: #8fb4c8; }
.coming { color: #8b959b; }
.track-cell { width: 50%; }
.going .name { font-weight: 600; }
.memory .track { position: relative; overflow: hidden; }
.memory .full { background: #e07a1f; }
.memory .plan { position: absolute; top: 0; height: 12px; border-left: 2px dashed #333c42; }
.legend { color: #6b767d; font-size: 12px; }
.key { display: inline-block; width: 12px; height: 10px; margin: 0 4px 0 12px; }
.key.mark { border-left: 2px dashed #333c42; width: 0; height: 12px; vertical-align: -2px; }
.subject th { font-weight: 600; padding-top: 8px; }
.scroll { overflow-x: auto; }
"""

HALVES = ":host { flex-wrap: wrap; }"
"""Style of the two halves of the page, which are below each other on a phone."""

HALF = ":host { flex: 1 1 420px !important; min-width: min(100%, 420px) !important; }"
"""Style of a half of the page."""


def head(state: PageState, workers: int, others: Mapping[str, str]) -> str:
    """Return the title, the folder of the results, the workers, other runs, and the state."""
    snapshot, threads = state.snapshot, state.threads
    badge = f"<span {_ENDED}>{escape(state.end)}</span>" if state.end else RUNNING
    count = f"{workers} worker{'s' * (workers != 1)}, {threads} thread{'s' * (threads != 1)}"
    links = ", ".join(
        f'<a href="?run={escape(key)}">{escape(title)}</a>' for key, title in others.items()
    )
    also = f'<span class="place">also on this scheduler: {links}</span>' if links else ""
    return (
        f'<h1>{escape(snapshot.title)}</h1><span class="place">{escape(snapshot.place)}</span>'
        f'<span class="place">{count}</span>{also}{badge}'
    )


def tiles(state: PageState) -> str:
    """Return the metrics as tiles."""
    each = "".join(
        f'<div class="tile"><b>{_amount(state.current(metric), metric.unit)}</b>'
        f"<span>{escape(metric.label)}</span></div>"
        for metric in state.snapshot.metrics
    )
    return f'<div class="tiles numbers">{each}</div>'


def _amount(value: float | None, unit: str) -> str:
    """Return a number with its unit, with a thin space as the separator of thousands."""
    if value is None:
        return _UNKNOWN
    if unit == "s":
        return human_duration(value, 0)
    digits = 0 if value >= 100 or value == int(value) else 1
    small = 0 < abs(value) < 1  # never shown as 0
    form = ".2g" if small else f",.{digits}f"
    text = f"{value:{form}}".replace(",", "\N{THIN SPACE}")
    return f"{text} {unit}".rstrip()


def stages(stages: Sequence[StageSnapshot], age: float) -> str:
    """Return a table with a progress bar for each stage.

    Parameters
    ----------
    age : float
        Seconds since the snapshot that holds the stages.
    """
    rows = "".join(_stage_row(stage, age) for stage in stages)
    return (
        '<h2>Stages</h2><div class="scroll"><table class="numbers"><thead><tr><th>stage</th>'
        "<th></th><th>chunks</th><th>taken</th><th>left</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _stage_row(stage: StageSnapshot, age: float) -> str:
    begun, over = stage.seconds is not None, stage.left == 0
    kind = "done" if over else "going" if begun else "coming"
    share = 100 if over else 100 * stage.done / max(1, stage.total)
    known = f"{stage.done} / {stage.total}" if stage.total else ""
    passing = age if kind == "going" else 0.0
    taken = human_duration(stage.seconds + passing, 0) if stage.seconds is not None else ""
    left = "" if over or stage.left is None else human_duration(max(0.0, stage.left - passing), 0)
    return (
        f'<tr class="{kind}" data-stage="{escape(stage.name)}" data-done="{stage.done}">'
        f'<td class="name">{escape(stage.name)}</td><td class="track-cell"><div class="track">'
        f'<div class="fill" style="width:{share:.1f}%"></div></div></td>'
        f"<td>{known}</td><td>{taken}</td><td>{left}</td></tr>"
    )


def table(table: ResultTable | None) -> str:
    """Return the results; a row that holds a heading only is a subheading."""
    if table is None:
        return ""
    columns = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = []
    for heading, *cells in table.rows:
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        kind = "" if cells else ' class="subject"'
        rows.append(f"<tr{kind}><th>{escape(heading)}</th>{values}</tr>")
    return (
        f'<h2>{escape(table.title)}</h2><div class="scroll"><table class="numbers results"><thead>'
        f"<tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def memory(workers: Sequence[WorkerMemory], needed: int) -> str:
    """Return a bar for each worker, as a share of its limit; of many workers, the fullest.

    Parameters
    ----------
    needed : int
        Planned peak memory of a task in bytes; 0 where there is no plan.
    """
    fullest = sorted(workers, key=lambda worker: worker.used, reverse=True)[:_MOST_WORKERS]
    fullest.sort(key=lambda worker: worker.name)
    # Without limits, the bars compare the workers with each other.
    most = max((max(each.used, needed * each.threads) for each in workers), default=0)
    rows = "".join(_memory_row(worker, needed, worker.limit or most) for worker in fullest)
    some = f": the {len(fullest)} fullest of {len(workers)}" if len(workers) > len(fullest) else ""
    plan = (
        f'<span class="key mark"></span>planned peak of its tasks ({format_bytes(needed)} a thread)'
        if needed
        else ""
    )
    return (
        f'<h2>Memory of the workers{some}</h2><div class="legend">'
        '<span class="key" style="background:#2a6f97; margin-left:0"></span>used by the process'
        f'<span class="key" style="background:#e07a1f"></span>over {_SPILLS:.0%} of its limit'
        f'{plan}</div><div class="scroll"><table class="numbers memory"><tbody>{rows}</tbody>'
        "</table></div>"
    )


def _memory_row(worker: WorkerMemory, needed: int, whole: int) -> str:
    def share(count: int) -> float:
        return 100 * min(1.0, count / whole) if whole else 0.0

    full = " full" if 0 < _SPILLS * worker.limit < worker.used else ""
    plan = f'<div class="plan" style="left:{share(needed * worker.threads):.1f}%"></div>'
    limit = f" of {format_bytes(worker.limit)}" if worker.limit else ""
    return (
        f'<tr><td>{escape(worker.name)}</td><td class="track-cell"><div class="track">'
        f'<div class="fill{full}" style="width:{share(worker.used):.1f}%"></div>'
        f"{plan if needed else ''}</div></td><td>{format_bytes(worker.used)}{limit}</td></tr>"
    )

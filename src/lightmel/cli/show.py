"""How results look: tables and bars to read, JSON Lines for programs, errors on stderr.

Rich decides about color: none when the output is piped or ``NO_COLOR`` is set. Names from outside are
never read as markup, and what cannot be printed in them is escaped.
"""

from __future__ import annotations

import io
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import studies
from .._each import printable, reason
from ..frontends import CLIP_SECONDS
from .progress import say

if TYPE_CHECKING:
    from ..frontends import FrontendConfig
    from ..hub import Release
    from ..inference import Tagging
    from ..library import Change, Field
    from ..models import Checked, Row
    from ..studies import Accuracy, Choice, Gap, Loss, Recommendation, Sonified, Statement

log = logging.getLogger("lightmel")

NETWORKS = {**studies.NETWORKS, "mobilenet": "MobileNet", "samplecnn": "SampleCNN"}
_BAR_WIDTH = 32
_EIGHTHS = " ▏▎▍▌▋▊▉"
_CATEGORIES = {"instrument": "Instruments", "tempo and dynamics": "Tempo"}
"""How categories are called where the name with a capital letter will not do."""
_UNSURE = "~"
"""Before a score that no labels have verified, in a view by category."""
_NOTES = 6
"""Of one file; a radio show may have more parts than anybody reads."""


def bar(part: float, width: int, *, plain: bool = False) -> str:
    """Return a bar of `part` (0 to 1) of `width` characters; `plain` for encodings without blocks."""
    eighths = round(8 * width * min(max(part, 0.0), 1.0))
    if plain:
        return "#" * ((eighths + 4) // 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def size(n_bytes: int) -> str:
    """Return a number of bytes in a unit that is easily read: ``2.6 MB``."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 100_000 else f"{n_bytes / 1e3:.1f} kB"


def json_line(record: dict[str, Any]) -> None:
    """Write one JSON document on one line of stdout, in UTF-8 whatever the terminal's character set is."""
    from ..library import to_line

    line = to_line(record)
    if (out := sys.stdout) is None:
        return
    binary = getattr(out, "buffer", None)
    if binary is None:  # a notebook's, which takes text
        out.write(line.decode())
        return
    out.flush()
    binary.write(line)
    binary.flush()  # so that it can be worked with, and a full disk is noticed


def text(line: str) -> None:
    """Write a line on stdout, in which a name from outside may stand."""
    typer.echo(printable(line))


def failure(subject: str, error: Exception | str, *, logged: bool = False) -> None:
    """Write one line on stderr: what failed, and why; and to the log, unless it is there, the traceback."""
    if isinstance(error, str):
        say(f"{printable(subject)}: {error}")
        return
    if not logged:
        log.debug("%s: failed", printable(subject), exc_info=error)
    say(f"{subject}: {reason(error, subject)}")


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """Say on stderr what is being done, while it is, if somebody is there to see it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(printable(doing), no_wrap=True, overflow="ellipsis")):
        yield


@contextmanager
def without_chatter() -> Iterator[None]:
    """Drop what C libraries write to file descriptor 2 past Python; Python's own stderr stays.

    libmpg123, inside libsndfile, comments on odd MP3 frames there: half a dozen lines for a file whose
    trouble we say in one.
    """
    ours = sys.stderr
    if _descriptor(ours) != 2:  # a test or a notebook has put something in its place, or it is closed
        yield
        return
    ours.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    # Without a buffer, in which a signal's handler could not write while something else is being written.
    raw = io.FileIO(os.dup(2), "w")
    through = io.TextIOWrapper(raw, ours.encoding, ours.errors, write_through=True)
    try:
        sys.stderr = through
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        sys.stderr = ours
        os.close(kept)
        os.close(nowhere)
        through.close()


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


def _console() -> Console:
    return Console(highlight=False, emoji=False, markup=False)


def _line(*parts: str, plain: bool) -> str:
    return (" - " if plain else " · ").join(part for part in parts if part)


def _indented(console: Console, text: str, style: str = "none") -> None:
    _in_lines(console, Text(text, style), "  ")


def _in_lines(console: Console, text: Text, before: str = "") -> None:
    """Print a text in lines that end with their last word, with `before` in front of each.

    It is folded to the width of a terminal, or to what ``COLUMNS`` says; in a pipe a line stays whole.
    """
    folds = console.is_terminal or "COLUMNS" in os.environ
    width = max(1, console.width - len(before))
    for line in text.wrap(console, width, overflow="fold") if folds else (text,):
        line.rstrip()
        console.print(Text(before).append_text(line), soft_wrap=True)


def tagging(title: str, tagging: Tagging, took: float, best: Sequence[tuple[str, float]]) -> None:
    """Print tags of one file, with a bar and a score each, then which tagger they are from and its time."""
    console = _console()
    plain = console.options.ascii_only
    # Across: two spaces, tag, two spaces, bar, two spaces, score. A narrow terminal has no bar.
    tag_width = max(1, min(max((len(tag) for tag, _ in best), default=0), console.width - 8))
    bar_width = min(console.width - tag_width - 10, _BAR_WIDTH)
    _head(console, title, tagging)
    for tag, score in best:
        line = Text("  ", no_wrap=True)
        name = Text(printable(tag), style="bold")
        name.truncate(tag_width, overflow="ellipsis", pad=True)
        line.append_text(name).append("  ")
        if bar_width >= 4:
            line.append(f"{bar(score, bar_width, plain=plain):{bar_width}}  ", style="cyan")
        console.print(line.append(f"{score:.2f}"))
    if not best:
        _indented(console, "no tag is above its threshold", "dim")
    _foot(console, tagging, took)


def categories(
    title: str, tagging: Tagging, took: float, rows: Mapping[str, Sequence[tuple[str, float]]]
) -> None:
    """Print a line for each category of tags of one file, then which tagger they are from and its time."""
    console = _console()
    _head(console, title, tagging)
    names = {name: _CATEGORIES.get(name, name.capitalize()) for name in rows}
    width = max(map(len, names.values()), default=0)
    unsure = tagging.unverified().intersection(tag for best in rows.values() for tag, _ in best)
    for name, best in rows.items():
        line = Text(overflow="fold")
        for tag, score in best:
            line.append(", " if line else "", style="dim").append(printable(tag), style="bold")
            line.append(" ").append(_UNSURE if tag in unsure else "", style="dim").append(f"{score:.2f}")
        line = line or Text("unknown", style="dim")
        if console.width < width + 30:  # the names above the tags
            _indented(console, names[name], "cyan")
            console.print(Padding(line, (0, 0, 0, min(4, console.width // 4)), expand=False))
            continue
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=width, style="cyan")
        table.add_column()
        table.add_row(names[name], line)
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
    if unsure:
        _indented(console, f"{_UNSURE} not verified: no labels for it", "dim")
    _foot(console, tagging, took)


def _head(console: Console, title: str, tagging: Tagging) -> None:
    """Print the title, and what the sound is if it is no music: that comes before any tag."""
    console.print(Text(printable(title), overflow="fold"), style="bold")
    if tagging.sound in tagging.notes:
        _indented(console, tagging.sound, "bold yellow")


def _foot(console: Console, tagging: Tagging, took: float) -> None:
    rest = [note for note in tagging.notes if note != tagging.sound]
    for note in rest[:_NOTES]:
        _indented(console, f"note: {note}", "yellow")
    if len(rest) > _NOTES:
        _indented(console, f"and {len(rest) - _NOTES} more notes, which --json has", "yellow")
    signed = f"{printable(tagging.model)} {tagging.version}".rstrip()
    plain = console.options.ascii_only
    _indented(
        console,
        _line(f"{tagging.seconds:.1f} s", signed, f"took {took:.2f} s", plain=plain),
        "dim",
    )
    console.print()


def line(title: str, tagging: Tagging, best: Sequence[tuple[str, float]]) -> None:
    """Print a line for one file of many: what it is if it is no music, its best tags, the first of its notes.

    On a terminal it is cut to its width; elsewhere it is whole.
    """
    console = _console()
    text = Text(printable(title), style="bold", end="")
    out = Text.assemble(text, "  ")
    if tagging.sound in tagging.notes:
        out.append(f"{tagging.sound}: " if best else tagging.sound, style="bold yellow")
    out.append(", ".join(f"{printable(tag)} {score:.2f}" for tag, score in best))
    if not best and tagging.sound not in tagging.notes:
        out.append("no tag is above its threshold", style="dim")
    rest = [note for note in tagging.notes if note != tagging.sound]
    if rest:
        more = f", and {len(rest) - 1} more" if len(rest) > 1 else ""
        out.append(f"  (note: {printable(rest[0])}{more})", style="yellow")
    if console.is_terminal:
        console.print(out, no_wrap=True, overflow="ellipsis")
    else:
        console.print(out, soft_wrap=True)


def release(release: Release, *, default: bool) -> None:
    """Print one tagger that has a name."""
    console = _console()
    plain = console.options.ascii_only
    name = Text(release.name, style="bold")
    if default:
        name.append("  (default)", style="green")
    where = "in the package" if release.where == "package" else "downloaded when asked for"
    tags = f"{release.n_tags} tags" + (f" ({release.vocabulary})" if release.vocabulary else "")
    cost = "" if release.gmac_per_minute is None else f"{release.gmac_per_minute:.3g} GMAC a minute"
    many = "" if release.parameters is None else f"{release.parameters / 1e6:.2f} M parameters"
    measured = (
        ""
        if release.roc_auc is None or release.pr_auc is None
        else f"ROC AUC {release.roc_auc:.3f}, PR AUC {release.pr_auc:.3f}"
    )
    _in_lines(console, name)
    _indented(console, _line(f"{release.network} on {release.config}", tags, plain=plain))
    _indented(console, _line(measured, cost, many, plain=plain))
    _indented(console, _line(release.summary, size(release.bytes), where, plain=plain), "dim")
    _indented(console, f"license: {release.license}", "dim")
    console.print()


def costs(found: Sequence[tuple[Row, Sequence[Accuracy]]]) -> None:
    """Print a line for each configuration: the costs of each network, and the ROC AUC that was published."""
    console = _console()
    rows = [row for row, _ in found]
    roc = {
        (row.architecture, row.config): f"{own.roc_auc:.4f}"
        for row, accuracies in found
        for own in accuracies
        if own.dataset == "mtat"
    }
    networks = list(dict.fromkeys(row.architecture for row in rows))
    by = {(row.architecture, row.config): row for row in rows}
    lengths = " and ".join(
        f"{by[name, rows[0].config].seconds:g} s for {NETWORKS[name]}" for name in networks
    )
    console.print(Text(f"One forward pass: {lengths}."))
    console.print(
        Text("params: millions; GMAC: 1e9 multiply-accumulates; act: MB of layer outputs in float32."),
        style="dim",
    )
    side_by_side = console.width >= 80
    if side_by_side:
        console.print(Text("ROC: the ROC AUC that the paper published on MagnaTagATune."), style="dim")
    for group in [networks] if side_by_side else [[name] for name in networks]:
        console.print(_cost_table(by, group, roc if side_by_side else None, gap=2 if side_by_side else 1))
        console.print()


def _cost_table(
    rows: Mapping[tuple[str, FrontendConfig], Row],
    networks: Sequence[str],
    roc: Mapping[tuple[str, FrontendConfig], str] | None,
    *,
    gap: int,
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    table.add_column("configuration", no_wrap=True)
    for name in networks:
        for unit in ("params", "GMAC", "act") if roc is None else ("params", "GMAC", "act", "ROC"):
            table.add_column(f"{NETWORKS[name] if unit == 'params' else ''}\n{unit}", justify="right")
    configs = list(dict.fromkeys(config for _, config in rows))
    previous = configs[0]
    for config in configs:
        if (config.sr, config.rows) != (previous.sr, previous.rows):
            table.add_section()
        previous = config
        cells = []
        for name in networks:
            cost = rows[name, config].cost
            cells += [
                f"{cost.parameters / 1e6:.2f}",
                f"{cost.gmacs:.3f}",
                f"{cost.activation_bytes / 1e6:.1f}",
            ]
            if roc is not None:
                cells.append(roc.get((name, config), "-"))
        table.add_row(config.slug, *cells)
    return table


def named_costs(found: Sequence[tuple[Row, Sequence[Accuracy]]]) -> None:
    """Print what each row costs, and what is known of its accuracy, one below the other."""
    console = _console()
    console.print(Text("GMAC: 1e9 multiply-accumulates."), style="dim")
    for row, accuracies in found:
        network = NETWORKS.get(row.architecture, row.architecture)
        if row.size not in ("", "full"):
            network = f"{row.size} {network}"
        title = printable(row.name) or f"{network} on {row.config.slug}"
        shape = " by ".join(str(n) for n in row.input_shape)
        console.print()
        console.print(Text(title, overflow="fold"), style="bold")
        _indented(console, f"{network}, {row.cost.parameters:,} parameters")
        _indented(console, f"input: {row.config.slug}, {shape}")
        _indented(console, f"a pass of {row.seconds:g} s: {row.cost.gmacs:.3f} GMAC")
        _indented(console, f"its layers' outputs: {size(row.cost.activation_bytes)} in float32")
        _indented(console, f"a minute of sound: {row.macs_per_second * 60 / 1e9:.3f} GMAC")
        for own in accuracies:
            roc = _figure(own.roc_auc, own.roc_auc_deviation, own.roc_auc_interval)
            pr = _figure(own.pr_auc, own.pr_auc_deviation, own.pr_auc_interval)
            _indented(console, f"{own.dataset}: ROC AUC {roc}, PR AUC {pr} ({own.source}, {_runs(own.runs)})")


def _figure(value: float | None, deviation: float | None, interval: tuple[float, float] | None = None) -> str:
    """Return a figure with what is known of its uncertainty."""
    if value is None:
        return "not known"
    spread = "" if deviation is None else f" ± {deviation:.4f}"
    return f"{value:.4f}{spread}" + ("" if interval is None else f" ({interval[0]:.4f} to {interval[1]:.4f})")


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


def claims(checked: Sequence[Checked]) -> None:
    """Print the paper's claims about cost beside the computed ratios."""
    console = _console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("the paper says", "network", "said", "computed", "pairs"):
        table.add_column(title, justify="left" if title in ("the paper says", "network") else "right")
    for check in checked:
        low, high = f"{check.low:.3f}", f"{check.high:.3f}"
        span = low if low == high else f"{low} to {high}"
        table.add_row(
            check.claim.text,
            NETWORKS[check.architecture],
            f"{check.claim.said:.2f}",
            span,
            str(len(check.ratios)),
        )
    console.print(Text("Multiply-accumulates after the change, as a part of those before it:"))
    console.print(table)


def sonified(made: Sonified) -> None:
    """Print which file was made, of how much of the source, and by how much it was turned down."""
    sr = made.config.sr
    part = "" if made.samples == made.source_samples else f", the middle of {made.source_samples / sr:.1f} s"
    quieter = (
        "" if made.gain == 1 else f"; turned down by {-20 * math.log10(made.gain):.1f} dB, or it would clip"
    )
    what = f"{made.samples / sr:.1f} s{part}, {made.config.slug}, {made.method}{quieter}"
    _console().print(Text(f"{printable(str(made.path))}: {what}"), soft_wrap=True)


def change(change: Change) -> None:
    """Print what is done to the fields of one file; of one that fails nothing, which comes at the end."""
    if change.error and not change.fields:
        return
    console = _console()
    head = Text(printable(change.path), style="bold", overflow="fold")
    if not change.fields:
        head.append(f"  {'; '.join(change.notes)}", style="dim")
        console.print(head)
        return
    console.print(head.append(f"  {change.kind}", style="dim"))
    width = max(len(field.name) for field in change.fields)
    for field in change.fields:
        line = Text(f"  {_SIGNS[_what(field)]} ", style=_STYLES[_what(field)], overflow="fold")
        console.print(line.append(f"{printable(field.name):{width}}  {_became(field)}"))
    for note in change.notes:
        _indented(console, f"note: {note}", "yellow")


_SIGNS = {"same": "=", "kept": "=", "new": "+", "gone": "-", "other": "~"}
_STYLES = {"same": "dim", "kept": "dim", "new": "green", "gone": "red", "other": "yellow"}


def _what(field: Field) -> str:
    if not field.changes:
        return "kept" if field.kept else "same"
    return "other" if field.old and field.new else "new" if field.new else "gone"


def _became(field: Field) -> str:
    old, new = (", ".join(map(printable, texts)) for texts in (field.old, field.new))
    if field.kept:
        return f"{old or 'nothing'} (kept; not {new or 'removed'})"
    if field.changes and field.old and field.new:
        return f"{old} -> {new}"
    return new or old


def statements(found: Sequence[Statement]) -> None:
    """Print what the paper says, each statement with its verdict."""
    console = _console()
    console.print(Text("What the paper says, beside the numbers:"), style="bold")
    console.print()
    for own in found:
        console.print(Text(f"- {own.text} ({own.where}): {own.verdict}", overflow="fold"))
        _indented(console, f"said: {own.said}; found: {own.found}")
    console.print()


def gaps(found: Sequence[Gap]) -> None:
    """Print what was never published."""
    console = _console()
    console.print(Text("Never published (Figure 1 is a drawing):"), style="bold")
    console.print()
    for gap in found:
        console.print(Text(f"- {gap.dataset}, {NETWORKS[gap.architecture]}: {gap.text}", overflow="fold"))


def recommendation(found: Recommendation, top: int) -> None:
    """Print the first configurations that fit a budget, and what is known of the rest."""
    console = _console()
    console.print(Text(f"{printable(found.dataset)}, {found.limits}", overflow="fold"), style="bold")
    for place, choice in enumerate(found.choices[:top], 1):
        console.print()
        console.print(Text(f"{place}. {printable(choice.candidate.name)}", overflow="fold"), style="bold")
        _choice(console, choice, found.storage)
    if (rest := len(found.choices) - top) > 0:
        console.print()
        console.print(Text(f"{rest} more fit: --top shows more of them, --json all."), style="dim")
    if found.closest is not None:
        console.print()
        console.print(Text("Nothing that fits was measured. The nearest that was:"))
        console.print(Text(printable(found.closest.candidate.name), overflow="fold"), style="bold")
        _choice(console, found.closest, found.storage)
    if found.unknown:
        first = found.unknown[0].candidate
        cost = "" if first.gmac_per_minute is None else f" ({first.gmac_per_minute:.3g} GMAC a minute)"
        console.print()
        console.print(
            Text(
                f"Of {len(found.unknown)} that fit the accuracy is not known: nobody measured them. The "
                f"cheapest is {first.name}{cost}.",
                overflow="fold",
            )
        )
    for note in found.notes:
        console.print()
        console.print(Text(note, overflow="fold"), style="dim")


def _choice(console: Console, choice: Choice, storage: str) -> None:
    own = choice.candidate
    roc = _figure(own.roc_auc, own.roc_auc_deviation, own.roc_auc_interval)
    pr = _figure(own.pr_auc, own.pr_auc_deviation, own.pr_auc_interval)
    runs = "" if own.runs is None else f", {_runs(own.runs)}"
    _indented(console, f"ROC AUC {roc}, PR AUC {pr}{runs} ({own.accuracy_source})")
    if choice.loss is not None:
        _indented(console, _lost(choice.loss, own.name, "the best"))
    if choice.network_loss is not None and choice.network_loss != choice.loss:
        _indented(console, _lost(choice.network_loss, own.name, f"the best {own.network}"))
    gmac = "GMAC not known" if own.gmac_per_minute is None else f"{own.gmac_per_minute:.3g} GMAC a minute"
    many = "parameters not known" if own.parameters is None else f"{own.parameters / 1e6:.2f} M parameters"
    weights = "" if own.weights_bytes is None else f", {size(own.weights_bytes)}"
    _indented(console, f"{gmac}, {many}{weights} ({own.cost_source})")
    if own.kb_per_minute is not None and own.kb_per_clip is not None:
        clip = f"{own.kb_per_clip:.0f} kB a clip of {CLIP_SECONDS:g} s"
        _indented(console, f"features in {storage}: {own.kb_per_minute:.0f} kB a minute, {clip}")
    if own.speed is None:
        _indented(console, "speed not known: --measure times it", "dim")
    else:
        _indented(console, f"{own.speed:.0f} times real time ({own.speed_source})")


def _lost(loss: Loss, name: str, best: str) -> str:
    if loss.against == name:
        return f"{best} of those that were measured"
    interval = "" if loss.interval is None else f" ({loss.interval[0]:+.4f} to {loss.interval[1]:+.4f})"
    return (
        f"loses {loss.value:.4f}{interval} against {best}, {loss.against}; interval: {loss.interval_source}"
    )

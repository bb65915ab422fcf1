"""The report of a study: what it measured, what smaller inputs lose, and what the numbers do not say."""

from __future__ import annotations

import csv
import io
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib import resources
from statistics import fmean, stdev
from string import Template

from ..evaluation import Intervals
from ..frontends import MelConfig
from .answers import CLAIMS, Answer, answers
from .contrasts import HELD_OUT, MEASURED, Contrast, Contrasts, Measured, Spread, pairs, reference
from .data import open_data
from .figures import Figure, curves, forest, fronts, pareto
from .paper import published_of
from .results import Interval, Point, read_results
from .significance import Change
from .tabular import Table

_PAPERS = {"magnatagatune": "mtat", "msd": "msd"}
"""What the paper's data sets are called by `Dataset.name`, and by `published_of`."""
_WIDTH = 80
"""Columns of the summary."""
_ALL = "all tags"
_POINTS = 100
"""Points in one: the paper's unit."""
_CSV = (
    *("what", "network", "config", "storage", "against", "test", "measure", "tags", "n_tags"),
    *("value", "deviation", "low", "high", "student_p", "welch_p", "runs", "runs_against"),
)


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes
    ----------
    title
        Its heading.
    text
        Paragraphs.
    tables
        Below them.
    figures
        Functions that draw what stands above the tables in a page.
    """

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Callable[[], Figure], ...] = ()


class StudyReport:
    """The report of a study, to be written as Markdown, as a page, as LaTeX and as CSV.

    Attributes
    ----------
    results
        What it is about.
    title
        Of the study.
    sections
        Its parts.
    """

    def __init__(self, contrasts: Contrasts) -> None:
        self.results = contrasts.results
        self._contrasts = contrasts
        self.title = self.results.grid.title or self.results.grid.name

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """Its parts."""
        made = _Maker(self._contrasts)
        return tuple(own for own in made.sections() if own.text or own.tables)

    @cached_property
    def facts(self) -> tuple[str, ...]:
        """What was trained and measured, in a few words each."""
        found = self.results
        runs = [len(point.runs) for point in found.points]
        each = f"{runs[0]}" if len(set(runs)) == 1 else f"{min(runs)} to {max(runs)}"
        facts = [
            f"grid {found.grid.name}",
            f"learnt from {found.data}",
            f"{len(found.runs)} of {found.n_cells} trainings are done",
            f"{len(found.points)} points, {each} run{'' if each == '1' else 's'} each",
        ]
        return tuple(facts)

    def markdown(self) -> str:
        """Return it as Markdown, without the figures."""
        parts = [f"# {self.title}", "; ".join(self.facts) + "."]
        for section in self.sections:
            parts.append(f"## {section.title}")
            parts += section.text
            parts += [table.markdown() for table in section.tables]
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        """Return its tables as LaTeX, for ``\\input`` in a document; they need no package."""
        tables = [table.latex() for section in self.sections for table in section.tables]
        return "\n\n".join([f"% Tables of the study {self.results.grid.name}, for \\input.", *tables]) + "\n"

    def csv(self) -> str:
        """Return every figure, difference and cost as one table, a line each."""
        out = io.StringIO()
        writer = csv.DictWriter(out, _CSV, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(_Maker(self._contrasts).lines())
        return out.getvalue()

    def html(self) -> str:
        """Return it as one page that needs nothing beside it and no network.

        Raises
        ------
        MissingExtraError
            Without matplotlib, which draws the figures.
        """
        template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
        return template.substitute(
            title=escape(self.title),
            facts="".join(f"<span>{escape(fact)}</span>" for fact in self.facts),
            sections="\n".join(map(_html_section, self.sections)),
        )

    def summary(self) -> str:
        """Return what matters most as Markdown of 80 columns: figures of all points, claims, what is amiss."""
        made = _Maker(self._contrasts)
        parts = [f"# {self.title}", "; ".join(self.facts) + ".", *made.states(), *made.words()]
        wrapped = [
            textwrap.fill(part, _WIDTH, break_long_words=False, break_on_hyphens=False) for part in parts
        ]
        return "\n\n".join([*wrapped, *(table.markdown() for table in made.short_tables())]) + "\n"


def report_study(
    folder: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    script: str | os.PathLike[str] | None = None,
    intervals: Intervals | None = None,
) -> StudyReport:
    """Return the report of a study, as far as the study is done.

    Parameters
    ----------
    folder
        Of the study, as `run_study` made it.
    data
        What it has learnt from, as `open_data` takes it: then groups of clips, and not clips, are drawn for
        intervals where groups are known, and the agreement with teachers has intervals.
    script
        A Python file that registers its networks and front ends, if they are not lightmel's.
    intervals
        How intervals are made.

    Raises
    ------
    DataError
        If there is no study, none of it is done, its results are of two protocols, or `data` are not its own.
    """
    results = read_results(folder, script=script)
    opened = None if data is None else open_data(data)
    return StudyReport(Contrasts(results, intervals, opened))


class _Maker:
    """Makes the parts of a report."""

    def __init__(self, contrasts: Contrasts) -> None:
        self.contrasts, self.results = contrasts, contrasts.results
        self.level = f"{100 * contrasts.intervals.level:g} %"
        self.points = self.results.points
        self.tests: list[tuple[str, Measured]] = [
            (test, measure) for test in self.results.tests for measure in ("roc_auc", "pr_auc")
        ]
        self.agrees = contrasts.has_agreement()
        held: list[tuple[str, Measured]] = [(HELD_OUT, "agreement")]
        self.measured = [*self.tests, *(held if self.agrees else [])]

    def sections(self) -> Iterator[Section]:
        yield Section("In short", (*self.states(), *self.words()))
        yield self.claims()
        for test in self.results.tests:
            yield self.accuracy(test)
        if self.agrees:
            yield self.agreement()
        yield self.beside_the_paper()
        yield self.costs()
        yield self.losses()
        yield self.categories()
        yield self.by_tag()
        yield self.storage()
        yield self.meaning()

    # In words.

    def states(self) -> Iterator[str]:
        """Yield what is not there."""
        found = self.results
        for names, what in (
            (found.missing, "not done yet"),
            (found.half, "begun and not done, and left out"),
            (tuple(found.changed), "done with other settings than the grid has now, and left out"),
            (found.strangers, "in the folder and no part of the grid, and left out"),
        ):
            if names:
                first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                yield f"{len(names)} of the trainings are {what}: {first}."
        for name, why in list(found.changed.items())[:3]:
            yield f"{name}: {why}."
        versions = {str(run.made_of.get("versions")) for run in found.runs}
        if len(versions) > 1:
            yield "The runs are of several versions of lightmel, torch or NumPy."

    def words(self) -> Iterator[str]:
        """Yield what the numbers say, in sentences."""
        for test in self.results.tests:
            shared = self.results.evaluation(test)
            points = self.on(test)
            best = max(points, key=lambda point: fmean(point.values(test, "roc_auc")))
            value = fmean(best.values(test, "roc_auc"))
            text = (
                f"{test}: {shared.clips} clips of {shared.dataset}, {len(shared.roc_auc)} tags. The highest ROC "
                f"AUC is {value:.3f}, of {best.name}."
            )
            near = [
                (point, found)
                for point in points
                if point is not best
                and (found := self.contrasts.between(best, point, test, "roc_auc")).interval is not None
                and found.interval[0] <= 0
                and point.gmac_per_minute < best.gmac_per_minute
            ]
            if near:
                cheapest, found = min(near, key=lambda item: item[0].gmac_per_minute)
                text += (
                    f" The cheapest whose loss against it may be nothing is {cheapest.name}, with "
                    f"{_ratio(cheapest.gmac_per_minute / best.gmac_per_minute)} of its multiply-accumulates: it "
                    f"loses {_loss(found.value, found.interval)} points ({self.level} over the clips)."
                )
            yield text
        for test in self.results.tests[:1]:
            for own in answers(self.contrasts, test):
                yield _answered(own)
        yield self.seeds()

    def seeds(self) -> str:
        """Return what is known of the noise of seeds."""
        test, measure = self.measured[0]
        spread = self.contrasts.spread(test, measure)
        single = sum(len(point.runs) == 1 for point in self.points)
        if spread is None:
            return (
                "Every point has one run: what another seed changes is not known, and no difference of two "
                "points is claimed by itself. Several seeds of a few points would tell."
            )
        text = (
            f"Runs of one point that differ in their seed have a standard deviation of "
            f"{_spread(spread, measure)} in {MEASURED[measure]} on {test} (pooled over {spread.points} points, "
            f"{spread.freedom} degrees of freedom)"
        )
        if single:
            return f"{text}; {single} points have one run, and differences of that size say nothing of them."
        return f"{text}."

    def claims(self) -> Section:
        tables = []
        for test in self.results.tests:
            networks = list(dict.fromkeys(point.network for point in self.on(test)))
            found = answers(self.contrasts, test, ("", *(networks if len(networks) > 1 else ())))
            if not found:
                continue
            rows = [
                (
                    own.claim.text,
                    own.network or "all",
                    str(own.pairs),
                    str(own.runs),
                    f"{_POINTS * own.loss:+.2f}",
                    _ends(own.over_clips),
                    _ends(own.interval),
                    own.verdict,
                )
                for own in found
            ]
            header = (
                *("the paper says", "network", "pairs", "runs", "points lost"),
                *(f"{self.level}, clips", "and seeds", "for these data"),
            )
            whys = {own.network or "all": own.why for own in found}
            tables.append(
                Table(
                    f"{test}: the paper's statements, asked of these data. Losses in points of ROC AUC.",
                    header,
                    tuple(rows),
                    (
                        "Pairs differ in this alone; runs: the fewest of a point among them. "
                        + "; ".join(f"{name}: {why}" for name, why in whys.items())
                        + ".",
                    ),
                )
            )
        if not tables:
            return Section("The paper's statements")
        bounds = "; ".join(f"{claim.text}: {claim.bounds}" for claim in CLAIMS)
        text = (
            "A statement is borne out where the whole interval of the loss keeps to it, not borne out where none "
            f"of the interval does, and not decidable in between. {bounds}.",
        )
        return Section("The paper's statements", text, tuple(tables))

    # Tables of figures.

    def on(self, test: str) -> list[Point]:
        """Return the points that were measured on a test."""
        return [point for point in self.points if test == HELD_OUT or point.evaluations(test)]

    def accuracy(self, test: str) -> Section:
        shared = self.results.evaluation(test)
        text = (
            f"{shared.split} of {shared.dataset}, {shared.protocol}: {shared.clips} clips, "
            f"{len(shared.roc_auc)} tags. {self.drawn(test)}",
        )
        chosen = self.plain(test)

        def figure() -> Figure:
            rows: list[tuple[str, Measured]] = [(test, "roc_auc"), (test, "pr_auc")]
            if self.agrees and test == self.results.tests[0]:
                rows.append((HELD_OUT, "agreement"))
            return curves(f"curves-{test}", self.caption(), chosen, self.contrasts, rows)

        tables = [
            self.hops(test, measure, network)
            for network in dict.fromkeys(point.network for point in chosen)
            for measure in ("roc_auc", "pr_auc")
        ]
        return Section(f"Accuracy: {test}", text, tuple(tables), (figure,))

    def caption(self) -> str:
        runs = [len(point.runs) for point in self.points]
        bars = (
            "one run each, so that no deviation is known"
            if max(runs) == 1
            else f"bars: standard deviation over the seeds ({min(runs)} to {max(runs)} runs)"
        )
        return (
            "As the paper's Figure 1: accuracy against multiply-accumulates, a panel for each rate and "
            f"compression, a line for each number of bands over the hop factors; {bars}."
        )

    def plain(self, test: str) -> list[Point]:
        """Return a point for each network and input: the one whose features are float32, if there is one."""
        found: dict[tuple[str, str], Point] = {}
        for point in self.on(test):
            key = point.network, point.slug
            if key not in found or point.cell.dtype == "float32":
                found[key] = point
        return list(found.values())

    def hops(self, test: str, measure: Measured, network: str) -> Table:
        """Return a table as the paper's IV and V: a line for rate, bands and compression, a column for a hop."""
        points = [point for point in self.plain(test) if point.network == network]
        mels = [point for point in points if isinstance(point.cell.config, MelConfig)]
        hops = sorted({_hop(point) for point in mels})
        cells: dict[str, dict[int, str]] = {}
        for point in mels:
            row = re.sub(r"-x\d+", "", point.slug)
            cells.setdefault(row, {})[_hop(point)] = self.cell(point, test, measure)
        rows = [(row, *(own.get(hop, "") for hop in hops)) for row, own in cells.items()]
        for point in points:
            if point not in mels:
                rows.append((point.slug, self.cell(point, test, measure), *[""] * (len(hops) - 1)))
        return Table(
            f"{network}, {MEASURED[measure]} on {test} in points: mean ± deviation over seeds (runs).",
            ("input", *(f"x{hop}" for hop in hops)) if hops else ("input", MEASURED[measure]),
            tuple(rows),
        )

    def cell(self, point: Point, test: str, measure: Measured) -> str:
        values = self.contrasts.by_run(point, test, measure)
        return f"{_mean(values, _POINTS, 2)} ({len(values)})" if values else ""

    def drawn(self, test: str) -> str:
        groups = self.contrasts.grouped(test)
        if groups is None:
            return f"Intervals ({self.level}) are over clips that are drawn one by one."
        return f"Intervals ({self.level}) are over {groups} groups of clips that are drawn whole."

    def agreement(self) -> Section:
        tags = self.contrasts.tags(HELD_OUT)
        text = [
            "Correlation of a network's logits with its teachers' over the windows of music that is held out, "
            f"mean over {len(tags)} tags. It is finer than labels, and says how well teachers are repeated, not "
            "how right they are.",
            self.drawn(HELD_OUT)
            if self.contrasts.data is not None
            else "It has no intervals here: they need the teachers' scores (--data).",
        ]
        tables = [
            Table(
                f"{network}: agreement with the teachers, mean ± deviation over seeds (runs).",
                own.header,
                own.rows,
            )
            for network in dict.fromkeys(point.network for point in self.points)
            for own in (self._agreement_table(network),)
        ]
        return Section("Agreement with the teachers", tuple(text), tuple(tables))

    def _agreement_table(self, network: str) -> Table:
        scopes = self.contrasts.scopes(HELD_OUT)
        rows = []
        for point in self.points:
            if point.network == network:
                every = [self.contrasts.by_run(point, HELD_OUT, "agreement", s) for s in ("", *scopes)]
                cells = (f"{_mean(own, 1, 3)}" for own in every)
                rows.append((point.name.removeprefix(f"{network}-"), *cells, str(len(every[0]))))
        return Table(network, ("input", _ALL, *scopes, "runs"), tuple(rows))

    def beside_the_paper(self) -> Section:
        rows = []
        for test in self.results.tests:
            dataset = _PAPERS.get(self.results.evaluation(test).dataset)
            for point in self.on(test) if dataset else ():
                assert dataset is not None
                spec = point.cell.network.spec
                own = published_of(dataset, spec["architecture"], point.cell.config)
                if own is None:
                    continue
                roc, pr = (point.values(test, measure) for measure in ("roc_auc", "pr_auc"))
                deviation = own.roc_auc_deviation, own.pr_auc_deviation
                rows.append(
                    (
                        point.name,
                        "as the paper's" if set(spec) <= {"architecture"} else "another width",
                        f"{_mean(roc, _POINTS, 2)} ({len(roc)})",
                        f"{_published(own.roc_auc, deviation[0])} ({own.runs})",
                        f"{_mean(pr, _POINTS, 2)} ({len(pr)})",
                        f"{_published(own.pr_auc, deviation[1])} ({own.runs})",
                    )
                )
        if not rows:
            return Section("Beside the paper")
        table = Table(
            "Points of ROC AUC and PR AUC here and as published: mean ± deviation (runs).",
            ("point", "network", "ROC AUC", "published", "PR AUC", "published"),
            tuple(rows),
            ("Published numbers are of the paper's own training and of its clips of the same data set.",),
        )
        return Section("Beside the paper", (), (table,))

    # Costs.

    @property
    def kinds(self) -> dict[str, Callable[[Point], float | None]]:
        """The costs that are known, by what they are called."""
        kinds: dict[str, Callable[[Point], float | None]] = {
            "GMAC a minute of sound": lambda point: point.gmac_per_minute,
            "kB of stored features a clip": lambda point: point.clip_bytes / 1000,
        }
        if self.results.times is not None:
            kinds["ms for a minute of sound, one thread"] = self.results.milliseconds_per_minute
        return kinds

    def costs(self) -> Section:
        if not self.measured:
            return Section("Cost")
        test, measure = self.measured[0]
        points, kinds = self.on(test), self.kinds

        def value(point: Point) -> float:
            return fmean(self.contrasts.by_run(point, test, measure))

        edges = {title: pareto(points, value, cost) for title, cost in kinds.items()}
        rows = [
            (
                point.name,
                f"{point.parameters / 1e6:.2f}",
                *("" if (own := cost(point)) is None else f"{own:.3g}" for cost in kinds.values()),
                f"{value(point):.3f}",
                ", ".join(title.split()[0] for title, edge in edges.items() if point in edge),
                str(len(self.contrasts.by_run(point, test, measure))),
            )
            for point in points
        ]
        label = f"{MEASURED[measure]} on {test}"
        times = self.results.times
        note = (
            "No times were measured: `lightmel study report --measure` measures them."
            if times is None
            else f"Times: {times['processor']}, one thread, median of {times['rounds']} rounds in turn; the "
            "network alone, without the front end."
        )
        table = Table(
            f"Costs, and {label}.",
            ("point", "M parameters", *kinds, label, "on the front of", "runs"),
            tuple(rows),
            (note,),
        )

        def figure() -> Figure:
            caption = f"{label} against cost. The line is the front: nothing cheaper is as good."
            return fronts("fronts", caption, points, value, kinds, label)

        text = (
            "A point is on the front of a cost where no other one of the same or less cost is as good. Which of "
            "two near ones that is, noise may decide. A clip has 29.1 s, a GMAC is 1e9 multiply-accumulates.",
        )
        return Section("Cost", text, (table,), (figure,))

    # Differences.

    def losses(self) -> Section:
        tables = []
        for test in self.results.tests:
            points = self.on(test)
            rows = []
            for point in points:
                base = reference(point, points)
                if base is None or base is point:
                    continue
                found = [self.contrasts.between(base, point, test, m) for m in ("roc_auc", "pr_auc")]
                rows.append((point.name, base.slug, *map(_lost, found), *_tested(found[0])))
            if rows:
                tables.append(
                    Table(
                        f"{test}: points lost against most bands at x1, all else being the same "
                        f"({self.level}, paired, over the clips).",
                        ("point", "against", "ROC AUC", "PR AUC", "Student", "Welch", "runs"),
                        tuple(rows),
                        (
                            "Student, Welch: P of t-tests of independent samples over the runs, of ROC AUC; "
                            "with one run of either there is none.",
                        ),
                    )
                )
        if self.agrees:
            rows = []
            for point in self.points:
                base = reference(point, self.points)
                if base is not None and base is not point:
                    own = self.contrasts.between(base, point, HELD_OUT, "agreement")
                    rows.append((point.name, base.slug, _lost(own, 1, 3), *_tested(own)))
            if rows:
                tables.append(
                    Table(
                        "Agreement with the teachers: correlation lost against most bands at x1.",
                        ("point", "against", "lost", "Student", "Welch", "runs"),
                        tuple(rows),
                    )
                )
        text = (
            "Losses are positive where the smaller input is worse. An interval is of the same clips for both, "
            "which tells smaller differences than two intervals side by side; of twenty at 95 %, one is wrong "
            "by chance.",
        )
        return Section("What smaller inputs lose", text if tables else (), tuple(tables))

    def categories(self) -> Section:
        tables, figures = [], []
        for test, measure in self.measured:
            losses = self._by_scope(test, measure, self.contrasts.scopes(test))
            if not losses:
                continue
            scale, digits = (1, 3) if measure == "agreement" else (_POINTS, 2)
            what = MEASURED[measure] if test == HELD_OUT else f"{test}, {MEASURED[measure]}"
            rows = []
            for scope in ("", *self.contrasts.scopes(test)):
                own = [found[scope] for found in losses.values()]
                cells = (_lost(contrast, scale, digits) for contrast, _ in own)
                rows.append((scope or _ALL, str(own[0][0].tags), *cells))
            counts = {title: own[""] for title, own in losses.items()}
            note = "; ".join(
                f"{title}: {number} pairs, {_runs(min(contrast.runs))} each"
                for title, (contrast, number) in counts.items()
            )
            tables.append(
                Table(
                    f"{what}: {'correlation' if measure == 'agreement' else 'points'} lost, by what tags are "
                    f"about, mean over the pairs ({self.level}, paired).",
                    ("tags about", "tags", *losses),
                    tuple(rows),
                    (f"{note}.",),
                )
            )
            if measure != "pr_auc":
                figures.append(self._forest(test, measure, losses, scale))
        text = (
            "Means over all pairs of points that differ in this alone, of all networks and rates. Intervals are "
            "over the clips; what seeds change comes on top.",
        )
        return Section("By what tags are about", text if tables else (), tuple(tables), tuple(figures))

    def _forest(
        self,
        test: str,
        measure: Measured,
        losses: Mapping[str, Mapping[str, tuple[Contrast, int]]],
        scale: float,
    ) -> Callable[[], Figure]:
        lines = {
            title: [
                (scope or _ALL, scale * own.value, _scaled(own.interval, scale))
                for scope, (own, _) in found.items()
            ]
            for title, found in losses.items()
        }
        unit = "correlation lost" if measure == "agreement" else "points of ROC AUC lost"
        where = "agreement with the teachers" if test == HELD_OUT else test
        caption = f"{where}: {unit}, with {self.level} intervals over the clips. Right of 0: the small input is worse."
        return lambda: forest(f"forest-{test}", caption, lines, unit)

    def _by_scope(
        self, test: str, measure: Measured, scopes: Sequence[str] | Mapping[str, object]
    ) -> dict[str, dict[str, tuple[Contrast, int]]]:
        """Return the loss and the number of pairs of each change, for all tags and for each scope."""
        found = {}
        for claim in CLAIMS:
            own = pairs(self.on(test), claim.change)
            if own:
                found[_named(claim.change)] = {
                    scope: (self.contrasts.mean(own, test, measure, scope)[0], len(own))
                    for scope in ("", *scopes)
                }
        return found

    def by_tag(self) -> Section:
        tables = []
        for test in self.results.tests if self.results.kind == "labels" else ():
            tags = self.contrasts.tags(test)
            losses = self._by_scope(test, "roc_auc", tags)
            positives = self.results.evaluation(test).positives
            rows = [
                (tag, str(positives[tag]), *(_lost(own[tag][0]) for own in losses.values())) for tag in tags
            ]
            if losses:
                tables.append(
                    Table(
                        f"{test}: points of ROC AUC lost, tag by tag, mean over the pairs ({self.level}, paired).",
                        ("tag", "true clips", *losses),
                        tuple(rows),
                        (f"Of {len(rows)} intervals in a column, some are wrong by chance.",),
                    )
                )
        return Section("Tag by tag", (), tuple(tables))

    def storage(self) -> Section:
        tables = []
        for test in self.results.tests:
            rows = []
            for point in self.on(test):
                whole = [
                    other
                    for other in self.on(test)
                    if (other.network, other.cell.config) == (point.network, point.cell.config)
                    and other.cell.dtype == "float32"
                ]
                if whole and point.cell.dtype != "float32":
                    found = [self.contrasts.between(whole[0], point, test, m) for m in ("roc_auc", "pr_auc")]
                    rows.append(
                        (
                            f"{point.network}-{point.slug}",
                            point.cell.dtype,
                            f"{point.clip_bytes:,}",
                            f"{point.clip_bytes / whole[0].clip_bytes:.3f}",
                            *map(_lost, found),
                            _of_each(found[0]),
                        )
                    )
            if rows:
                tables.append(
                    Table(
                        f"{test}: points lost against features in float32 ({self.level}, paired).",
                        ("point", "storage", "bytes a clip", "of float32", "ROC AUC", "PR AUC", "runs"),
                        tuple(rows),
                    )
                )
        text = ("What features lose that are stored in fewer bits. A clip has 29.1 s.",) if tables else ()
        return Section("Quantised features", text, tuple(tables))

    def meaning(self) -> Section:
        text = [
            "Intervals over clips say what other clips of the same kind would change. They say nothing of other "
            "music, other tags or another training.",
            self.seeds(),
            "A loss whose interval reaches below 0 is not shown to be one; nor is it shown to be none: that takes "
            "an interval that is narrow.",
            "Tags of few true clips make wide intervals, and a category of few tags says little beyond these tags.",
        ]
        if self.agrees:
            text.append(
                "The networks have learnt scores of teachers and repeat their errors. Where these teachers see "
                "little, a smaller input cannot lose much."
            )
        return Section("What the numbers do not say", tuple(text))

    # Short tables, and lines.

    def short_tables(self) -> Iterator[Table]:
        """Yield tables of 80 columns: the figures of all points, network by network."""
        for test in self.results.tests or (HELD_OUT,):
            measures: tuple[Measured, ...] = ("agreement",) if test == HELD_OUT else ("roc_auc", "pr_auc")
            for network in dict.fromkeys(point.network for point in self.on(test)):
                rows = [
                    (
                        point.name.removeprefix(f"{network}-"),
                        *(_mean(self.contrasts.by_run(point, test, m), 1, 3) for m in measures),
                        str(len(self.contrasts.by_run(point, test, measures[0]))),
                        f"{point.gmac_per_minute:.3g}",
                    )
                    for point in self.on(test)
                    if point.network == network
                ]
                names = ("agreement",) if test == HELD_OUT else ("ROC AUC", "PR AUC")
                yield Table(f"{network} on {test}", ("input", *names, "runs", "GMAC/min"), tuple(rows))

    def lines(self) -> Iterator[dict[str, object]]:
        """Yield the lines of the CSV."""
        for point in self.points:
            for what, cost in self.kinds.items():
                value = cost(point)
                if value is not None:
                    yield {**_who(point), "what": "cost", "measure": what, "value": value}
            for test, measure in self.measured:
                values = self.contrasts.by_run(point, test, measure) if point in self.on(test) else ()
                if values:
                    yield {
                        **_who(point),
                        "what": "figure",
                        "test": test,
                        "measure": measure,
                        "n_tags": len(self.contrasts.tags(test)),
                        "value": fmean(values),
                        "deviation": stdev(values) if len(values) > 1 else "",
                        "runs": len(values),
                    }
        for test, measure in self.measured:
            points = self.on(test)
            for point in points:
                base = reference(point, points)
                if base is None or base is point:
                    continue
                for scope in ("", *self.contrasts.scopes(test)):
                    found = self.contrasts.between(base, point, test, measure, scope)
                    tested = found.over_runs
                    low, high = found.interval or ("", "")
                    yield {
                        **_who(point),
                        "what": "loss",
                        "against": base.name,
                        "test": test,
                        "measure": measure,
                        "tags": scope,
                        "n_tags": found.tags,
                        "value": found.value,
                        "low": low,
                        "high": high,
                        "student_p": "" if tested is None else tested.student_p,
                        "welch_p": "" if tested is None else tested.welch_p,
                        "runs": found.runs[1],
                        "runs_against": found.runs[0],
                    }


def _who(point: Point) -> dict[str, object]:
    return {"network": point.network, "config": point.slug, "storage": point.cell.dtype}


def _hop(point: Point) -> int:
    config = point.cell.config
    assert isinstance(config, MelConfig)
    return config.hop_factor


def _mean(values: Sequence[float], scale: float, digits: int) -> str:
    """Return a mean with the deviation over the runs, if there are several."""
    mean = f"{scale * fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {scale * stdev(values):.{digits}f}"


def _published(value: float, deviation: float | None) -> str:
    text = f"{_POINTS * value:.2f}"
    return text if deviation is None else f"{text} ± {_POINTS * deviation:.2f}"


def _scaled(interval: Interval | None, scale: float) -> Interval | None:
    return None if interval is None else (scale * interval[0], scale * interval[1])


def _ends(interval: Interval | None, scale: float = _POINTS, digits: int = 2) -> str:
    if interval is None:
        return "not known"
    return f"{scale * interval[0]:+.{digits}f} to {scale * interval[1]:+.{digits}f}"


def _loss(value: float, interval: Interval | None, scale: float = _POINTS, digits: int = 2) -> str:
    text = f"{scale * value:+.{digits}f}"
    return text if interval is None else f"{text} ({_ends(interval, scale, digits)})"


def _lost(found: Contrast, scale: float = _POINTS, digits: int = 2) -> str:
    return _loss(found.value, found.interval, scale, digits)


def _tested(found: Contrast) -> tuple[str, str, str]:
    own = found.over_runs
    tests = ("one run", "one run") if own is None else (f"{own.student_p:.3f}", f"{own.welch_p:.3f}")
    if own is None and min(found.runs) > 1:
        tests = ("no spread", "no spread")
    return (*tests, _of_each(found))


def _of_each(found: Contrast) -> str:
    """Return the numbers of runs, those of the point first."""
    return f"{found.runs[1]} and {found.runs[0]}"


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


def _ratio(value: float) -> str:
    return f"{value:.2g}"


def _spread(spread: Spread, measure: Measured) -> str:
    if measure == "agreement":
        return f"{spread.value:.4f}"
    return f"{_POINTS * spread.value:.2f} points"


def _named(change: Change) -> str:
    """Return a change as a heading: ``96 to 48 bands``."""
    if change.name == "n_mels":
        return f"{change.before} to {change.after} bands"
    return f"x{change.before} to x{change.after}"


def _answered(own: Answer) -> str:
    """Return what a study says of a claim, in a sentence."""
    interval = own.interval or own.over_clips
    what = "clips and seeds" if own.interval else "clips alone"
    return (
        f"The paper: {own.claim.text}. Here, on {own.test}: {own.verdict}; {_loss(own.loss, interval)} points of "
        f"ROC AUC are lost in {own.pairs} pair{'' if own.pairs == 1 else 's'} of {_runs(own.runs)} ({what})."
    )


# As a page.


def _html_section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{_code(text)}</p>" for text in section.text]
    for draw in section.figures:
        figure = draw()
        caption = escape(figure.caption)
        parts.append(
            f"<figure><div class='drawing' role='img' aria-label=\"{caption}\">{figure.svg}</div>"
            f"<figcaption>{caption}</figcaption></figure>"
        )
    parts += map(_html_table, section.tables)
    return f"<section>{''.join(parts)}</section>"


def _html_table(table: Table) -> str:
    kinds = ["number" if _is_number(column) else "" for column in zip(*table.rows, strict=True)]
    marks = [f" class='{kind}'" if kind else "" for kind in kinds]
    head = "".join(f"<th{mark}>{escape(cell)}</th>" for mark, cell in zip(marks, table.header, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True))
        + "</tr>"
        for row in table.rows
    )
    notes = "".join(f"<p class='note'>{_code(note)}</p>" for note in table.notes)
    return (
        f"<h3>{escape(table.title)}</h3><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{notes}"
    )


def _is_number(column: Sequence[str]) -> bool:
    """Return whether a column holds numbers, as far as it holds anything."""
    return any(column) and all(not cell or re.match(r"[-+]?\d[\d.,]*(\s|$)", cell) for cell in column)


def _code(text: str) -> str:
    """Return a text as HTML, what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))

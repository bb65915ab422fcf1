"""The parts of a report: what stands in each of them, in words and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from statistics import fmean
from typing import Any

from ..frontends import MelConfig
from .answers import answers
from .contrasts import HELD_OUT, MEASURED, Measured
from .figures import Figure, curves, fronts, pareto
from .losses import Losses
from .paper import published_of
from .results import Point
from .tabular import Table
from .view import ALL, Section, View
from .wording import (
    POINTS,
    answered,
    lost,
    mean,
    published_figure,
    ratio,
    spread_of,
)

NEAR = 0.01
"""Of ROC AUC: what is called near the best."""
PAPERS = {"magnatagatune": "mtat", "msd": "msd"}
"""What the paper's data sets are called by `Dataset.name`, and by `published_of`."""


class Sections(View):
    """Makes the parts of a report."""

    def sections(self) -> Iterator[Section]:
        yield Section("In short", (*self.states(), *self.words()))
        losses = Losses(self.contrasts)
        yield losses.claims()
        for test in self.results.tests:
            yield self.accuracy(test)
        if self.agrees:
            yield self.agreement()
        yield self.beside_the_paper()
        yield self.costs()
        yield losses.losses()
        yield losses.categories()
        yield losses.by_tag()
        yield losses.storage()
        yield self.meaning()

    # In words.

    def states(self) -> Iterator[str]:
        """Yield what is not there."""
        found = self.results
        for names, what in (
            (found.missing, "Not done yet"),
            (found.half, "Begun and not done, left out"),
            (tuple(found.changed), "Done with other settings than the grid has now, left out"),
            (found.strangers, "In the folder and not in the grid, left out"),
        ):
            if names:
                first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                yield f"{what}: {len(names)} of {found.n_cells} trainings ({first})."
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
                f"{test}: {shared.clips} clips of {shared.dataset}, {len(shared.roc_auc)} tags. The highest "
                f"ROC AUC is {value:.3f}, of {best.name}."
            )
            near = [
                (point, found)
                for point in points
                if point.gmac_per_minute < best.gmac_per_minute
                and (found := self.contrasts.between(best, point, test, "roc_auc")).value <= NEAR
            ]
            if near:
                cheapest, found = min(near, key=lambda item: item[0].gmac_per_minute)
                text += (
                    f" The cheapest within {POINTS * NEAR:g} point of it is {cheapest.name}, with "
                    f"{ratio(cheapest.gmac_per_minute / best.gmac_per_minute)} of its multiply-accumulates: "
                    f"it loses {lost(found)} points ({self.level} over the clips)."
                )
            yield text
        for test in self.results.tests[:1]:
            for own in answers(self.contrasts, test):
                yield answered(own)
        yield self.seeds()

    def seeds(self) -> str:
        """Return what is known of the noise of seeds."""
        if not self.measured:
            return "Nothing was measured: there are no test clips."
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
            f"{spread_of(spread, measure)} in {MEASURED[measure]} on {test} (pooled over {spread.points} "
            f"points, {spread.freedom} degrees of freedom)"
        )
        if single:
            return f"{text}; {single} points have one run, and differences of that size say nothing of them."
        return f"{text}."

    # Tables of figures.

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
        each = f"{runs[0]}" if len(set(runs)) == 1 else f"{min(runs)} to {max(runs)}"
        bars = (
            "one run each, so that no deviation is known"
            if max(runs) == 1
            else f"bars: standard deviation over the seeds ({each} runs)"
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
        """Return a table as the paper's IV and V: a line for each spectrum, a column for each hop factor."""
        points = [point for point in self.plain(test) if point.network == network]
        mels = [point for point in points if isinstance(point.cell.config, MelConfig)]
        hops = sorted({_hop(point) for point in mels})
        cells: dict[str, dict[int, str]] = {}
        for point in mels:
            row = re.sub(r"-x\d+", "", point.slug)
            cells.setdefault(row, {})[_hop(point)] = self.cell(point, test, measure)
        rows = [(row, *(own.get(hop, "") for hop in hops)) for row, own in cells.items()]
        rows += [
            (point.slug, self.cell(point, test, measure), *[""] * (len(hops) - 1))
            for point in points
            if point not in mels
        ]
        return Table(
            f"{network}, {MEASURED[measure]} on {test} in points: mean ± deviation over seeds (runs).",
            ("input", *(f"x{hop}" for hop in hops)) if hops else ("input", MEASURED[measure]),
            tuple(rows),
        )

    def cell(self, point: Point, test: str, measure: Measured) -> str:
        values = self.contrasts.by_run(point, test, measure)
        return f"{mean(values, POINTS, 2)} ({len(values)})" if values else ""

    def agreement(self) -> Section:
        tags = self.contrasts.tags(HELD_OUT)
        text = [
            "Correlation of a network's logits with its teachers' over the windows of music that is held "
            f"out, mean over {len(tags)} tags. It is finer than labels, and says how well teachers are "
            "repeated, not how right they are.",
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
                every = [
                    self.contrasts.by_run(point, HELD_OUT, "agreement", s) for s in ((), *scopes.values())
                ]
                cells = (f"{mean(own, 1, 3)}" for own in every)
                rows.append((point.name.removeprefix(f"{network}-"), *cells, str(len(every[0]))))
        return Table(network, ("input", ALL, *scopes, "runs"), tuple(rows))

    def beside_the_paper(self) -> Section:
        rows = []
        for test in self.results.tests:
            dataset = PAPERS.get(self.results.evaluation(test).dataset)
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
                        f"{mean(roc, POINTS, 2)} ({len(roc)})",
                        f"{published_figure(own.roc_auc, deviation[0])} ({own.runs})",
                        f"{mean(pr, POINTS, 2)} ({len(pr)})",
                        f"{published_figure(own.pr_auc, deviation[1])} ({own.runs})",
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
            "GMAC a minute": lambda point: point.gmac_per_minute,
            "kB of features a clip": lambda point: point.clip_bytes / 1000,
        }
        if self.results.times is not None:
            kinds["ms a minute"] = self.results.milliseconds_per_minute
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
            else f"Times: {times['processor']}, {_ran_by(times)}, median of {times['rounds']} rounds in "
            "turn; of the network alone, without the front end."
        )
        table = Table(
            f"Costs, and {label}.",
            ("point", "M parameters", *kinds, MEASURED[measure], "on the front of", "runs"),
            tuple(rows),
            (note,),
        )

        def figure() -> Figure:
            caption = f"{label} against cost. The line is the front: nothing cheaper is as good."
            return fronts("fronts", caption, points, value, kinds, label)

        text = (
            "A point is on the front of a cost where no other one of the same or less cost is as good. Which "
            "of two near ones that is, noise may decide. A GMAC is 1e9 multiply-accumulates; a minute of "
            "sound is cut into segments end to end. A clip has 29.1 s.",
        )
        return Section("Cost", text, (table,), (figure,))

    def meaning(self) -> Section:
        text = [
            "Intervals over clips say what other clips of the same kind would change. They say nothing of "
            "other music, other tags or another training.",
            self.seeds(),
            "A loss whose interval reaches below 0 is not shown to be one; nor is it shown to be none: that "
            "takes an interval that is narrow.",
            "Tags of few true clips make wide intervals, and a category of few tags says little beyond these "
            "tags.",
        ]
        if self.agrees:
            text.append(
                "The networks have learnt scores of teachers and repeat their errors. Where these teachers "
                "see little, a smaller input cannot lose much."
            )
        return Section("What the numbers do not say", tuple(text))

    def short_tables(self) -> Iterator[Table]:
        """Yield tables of 80 columns: the figures of all points, network by network."""
        for test in self.results.tests or (HELD_OUT,):
            measures: tuple[Measured, ...] = ("agreement",) if test == HELD_OUT else ("roc_auc", "pr_auc")
            for network in dict.fromkeys(point.network for point in self.on(test)):
                rows = [
                    (
                        point.name.removeprefix(f"{network}-"),
                        *(mean(self.contrasts.by_run(point, test, m), 1, 3) for m in measures),
                        str(len(self.contrasts.by_run(point, test, measures[0]))),
                        f"{point.gmac_per_minute:.3g}",
                    )
                    for point in self.on(test)
                    if point.network == network
                ]
                names = ("agreement",) if test == HELD_OUT else ("ROC AUC", "PR AUC")
                yield Table(f"{network} on {test}", ("input", *names, "runs", "GMAC/min"), tuple(rows))


def _ran_by(times: Mapping[str, Any]) -> str:
    """Return in words what ran the networks that were measured."""
    words = {"onnx": "ONNX Runtime on one thread", "torch": "PyTorch, all its threads together"}
    return ", ".join(dict.fromkeys(words[own["runtime"]] for own in times["points"].values()))


def _hop(point: Point) -> int:
    config = point.cell.config
    assert isinstance(config, MelConfig)
    return config.hop_factor

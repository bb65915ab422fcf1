"""The parts of a report about differences: what smaller inputs lose, and for which kinds of tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .answers import ALL_TAGS, CLAIMS, answers
from .contrasts import HELD_OUT, MEASURED, Contrast, Measured, pairs, reference
from .figures import Figure, forest
from .tabular import Table
from .view import ALL, Section, View
from .wording import POINTS, ends, lost, named, of_each, runs, scaled, tested

_T_TESTS = (
    "Student, Welch: P of t-tests of independent samples over the runs, of ROC AUC; with one run of either "
    "there is none. Runs: of the point, and of what it stands against."
)

_SEEDS = (
    "Pairs differ in this alone; runs: the fewest of a point among them. What seeds change is told by the "
    "runs of points that have several; without any by how the pairs differ, if there are three; else it is "
    "not known."
)


class Losses(View):
    """Makes the parts of a report about differences."""

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
                    f"{POINTS * own.loss:+.2f}",
                    ends(own.over_clips),
                    ends(own.interval),
                    own.verdict,
                )
                for own in found
            ]
            header = (
                *("the paper says", "network", "pairs", "runs", "points lost"),
                *(f"{self.level}, clips", "and seeds", "for these data"),
            )
            tables.append(
                Table(
                    f"{test}: the paper's statements, asked of these data. Losses in points of ROC AUC.",
                    header,
                    tuple(rows),
                    (_SEEDS,),
                )
            )
        if not tables:
            return Section("The paper's statements")
        bounds = "; ".join(f"{claim.text}: {claim.bounds}" for claim in CLAIMS)
        text = (
            "A statement is borne out where the whole interval of the loss keeps to it, not borne out where "
            f"nothing of the interval does, and not decidable in between. {bounds}.",
        )
        return Section("The paper's statements", text, tuple(tables))

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
                rows.append((point.name, base.slug, *map(lost, found), *tested(found[0])))
            if rows:
                tables.append(
                    Table(
                        f"{test}: points lost against most bands at x1, all else being the same "
                        f"({self.level}, paired, over the clips).",
                        ("point", "against", "ROC AUC", "PR AUC", "Student", "Welch", "runs"),
                        tuple(rows),
                        (_T_TESTS,),
                    )
                )
        if self.agrees:
            rows = []
            for point in self.points:
                base = reference(point, self.points)
                if base is not None and base is not point:
                    own = self.contrasts.between(base, point, HELD_OUT, "agreement")
                    rows.append((point.name, base.slug, lost(own, 1, 3), *tested(own)))
            if rows:
                tables.append(
                    Table(
                        "Agreement with the teachers: correlation lost against most bands at x1.",
                        ("point", "against", "lost", "Student", "Welch", "runs"),
                        tuple(rows),
                    )
                )
        text = (
            "Losses are positive where the smaller input is worse. An interval is of the same clips for "
            "both, so that it tells smaller differences than two intervals side by side do. What another "
            "seed changes is no part of it. Of twenty intervals at 95 %, one is wrong by chance.",
        )
        return Section("What smaller inputs lose", text if tables else (), tuple(tables))

    def categories(self) -> Section:
        tables, figures = [], []
        for test, measure in self.measured:
            losses = self._by_scope(test, measure, self.contrasts.scopes(test))
            if not losses:
                continue
            scale, digits = (1, 3) if measure == "agreement" else (POINTS, 2)
            what = MEASURED[measure] if test == HELD_OUT else f"{test}, {MEASURED[measure]}"
            rows = []
            for scope in ("", *self.contrasts.scopes(test)):
                own = [found[scope] for found in losses.values()]
                cells = (lost(contrast, scale, digits) for contrast, _ in own)
                rows.append((scope or ALL, str(own[0][0].tags), *cells))
            counts = {title: own[""] for title, own in losses.items()}
            note = "; ".join(
                f"{title}: {number} pairs, {runs(min(contrast.runs))} each"
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
            if measure == "roc_auc":
                tables.append(self._answered(test))
        text = (
            "Means over all pairs of points that differ in this alone, of all networks and rates. Intervals "
            "are over the clips; what seeds change comes on top, and stands in the table of the statements.",
        )
        return Section("By what tags are about", text if tables else (), tuple(tables), tuple(figures))

    def _answered(self, test: str) -> Table:
        """Return whether the paper's statements hold for each kind of tags."""
        found = answers(self.contrasts, test, scopes={**ALL_TAGS, **self.contrasts.scopes(test)})
        claims = list(dict.fromkeys(own.claim for own in found))
        by = {(own.scope, own.claim): own for own in found}
        rows = []
        for scope in dict.fromkeys(own.scope for own in found):
            own = [by[scope, claim] for claim in claims]
            rows.append((scope or ALL, *(f"{a.verdict} ({ends(a.interval)})" for a in own)))
        return Table(
            f"{test}: the paper's statements by what tags are about, with intervals over clips and seeds, in "
            "points of ROC AUC lost.",
            ("tags about", *(claim.text for claim in claims)),
            tuple(rows),
        )

    def _forest(
        self,
        test: str,
        measure: Measured,
        losses: Mapping[str, Mapping[str, tuple[Contrast, int]]],
        scale: float,
    ) -> Callable[[], Figure]:
        lines = {
            title: [
                (scope or ALL, scale * own.value, scaled(own.interval, scale))
                for scope, (own, _) in found.items()
            ]
            for title, found in losses.items()
        }
        unit = "correlation lost" if measure == "agreement" else "points of ROC AUC lost"
        where = "agreement with the teachers" if test == HELD_OUT else test
        known = all(own.interval is not None for found in losses.values() for own, _ in found.values())
        bars = f"with {self.level} intervals over the clips" if known else "intervals are not known"
        caption = f"{where}: {unit}, {bars}. Right of 0 the smaller input is worse."
        return lambda: forest(f"forest-{test}", caption, lines, unit)

    def _by_scope(
        self, test: str, measure: Measured, scopes: Mapping[str, Sequence[str]]
    ) -> dict[str, dict[str, tuple[Contrast, int]]]:
        """Return the loss and the number of pairs of each change, for all tags and for each scope."""
        found = {}
        for claim in CLAIMS:
            own = pairs(self.on(test), claim.change)
            if own:
                found[named(claim.change)] = {
                    scope: (self.contrasts.mean(own, test, measure, tags)[0], len(own))
                    for scope, tags in {**ALL_TAGS, **scopes}.items()
                }
        return found

    def by_tag(self) -> Section:
        tables = []
        for test in self.results.tests if self.results.kind == "labels" else ():
            tags = self.contrasts.tags(test)
            losses = self._by_scope(test, "roc_auc", {tag: (tag,) for tag in tags})
            positives = self.results.evaluation(test).positives
            rows = [
                (tag, str(positives[tag]), *(lost(own[tag][0]) for own in losses.values())) for tag in tags
            ]
            if losses:
                tables.append(
                    Table(
                        f"{test}: points of ROC AUC lost, tag by tag, mean over the pairs ({self.level}, "
                        "paired).",
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
                            *map(lost, found),
                            of_each(found[0]),
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

"""What the paper says about accuracy and cost, each statement beside the numbers that were published.

Differences are of means in points, as the paper prints them. Whether 48 bands lose nothing that three runs
could tell is a matter of t-tests; what was never published decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..models import check_claims
from .paper import DATASETS, MEASURES, NETWORKS, Published, published
from .significance import CHANGES, Change, pairs, t_tests

Verdict = Literal["borne out", "not borne out", "not decidable"]

LEAST_P = 0.08
"""The paper finds no significant difference between 48 and 96 bands, P > .08."""
ABOUT = 0.1
"""How far, relatively, a ratio of costs may be from what "about" says of it."""
_BANDS, _HOP = CHANGES[:2]


@dataclass(frozen=True)
class Statement:
    """A statement of the paper for one network and data set, and what the published numbers make of it.

    Parameters
    ----------
    text
        What the paper says.
    where
        Of which data set and network.
    said
        Its number, in words.
    found
        What follows from the published numbers or, for costs, from the networks themselves.
    verdict
        Whether this bears the statement out.
    """

    text: str
    where: str
    said: str
    found: str
    verdict: Verdict


def statements(*, costs: bool = True) -> tuple[Statement, ...]:
    """Return the statements of the paper, each checked against what was published.

    Parameters
    ----------
    costs
        Whether those about multiply-accumulates are among them: they are computed, which takes torch.
    """
    found = [*_spans(), *_significance(), _tenth(), *_best(), _ahead()]
    return tuple([*_costs(), *found] if costs else found)


def _where(dataset: str, architecture: str = "") -> str:
    return f"{dataset}, {NETWORKS[architecture]}" if architecture else dataset


def _of(dataset: str, architecture: str = "") -> tuple[Published, ...]:
    return tuple(
        row for row in published() if row.dataset == dataset and architecture in ("", row.architecture)
    )


def _costs() -> Iterator[Statement]:
    for check in check_claims():
        close = all(
            abs(ratio - check.claim.said) <= ABOUT * check.claim.said for ratio in check.ratios.values()
        )
        yield Statement(
            text=f"{check.claim.text}: multiply-accumulates",
            where=NETWORKS[check.architecture],
            said=f"{check.claim.said:.2f}",
            found=f"{check.low:.2f} to {check.high:.2f}, computed",
            verdict="borne out" if close else "not borne out",
        )


_SPANS: tuple[tuple[Change, str, str, float, float], ...] = (
    (_BANDS, "mtat", "vgg", 0.10, 0.37),
    (_BANDS, "mtat", "musicnn", -0.17, -0.10),
    (_BANDS, "msd", "", -0.32, 0.02),
    (_HOP, "mtat", "vgg", -0.46, -0.01),
    (_HOP, "msd", "vgg", -0.67, -0.08),
)
"""A change, data set and network (or all): the lowest and the highest difference it is said to make."""


def _spans() -> Iterator[Statement]:
    for change, dataset, architecture, low, high in _SPANS:
        made = [_points(a, b) for a, b in pairs(_of(dataset, architecture), change)]
        same = (min(made), max(made)) == (low, high)
        yield Statement(
            text=f"{change.text}: ROC AUC",
            where=_where(dataset, architecture),
            said=f"{low:+.2f} to {high:+.2f} points",
            found=f"{min(made):+.2f} to {max(made):+.2f} in {len(made)} pairs",
            verdict="borne out" if same else "not borne out",
        )


def _points(of: Published, minus: Published) -> float:
    """Return the difference of two ROC AUC in points, with the two digits that were published."""
    return round(100 * (of.roc_auc - minus.roc_auc), 2)


def _significance() -> Iterator[Statement]:
    text = "48 bands against 96: no significant difference"
    said = f"P > {LEAST_P:.2f}"
    for dataset in DATASETS:
        for architecture in NETWORKS:
            rows, where = _of(dataset, architecture), _where(dataset, architecture)
            # The paper does not say whether its deviations are of a sample or of a population.
            readings = [
                [own for own in t_tests(rows, of_population=population) if own.change == _BANDS]
                for population in (False, True)
            ]
            if not readings[0]:
                yield Statement(text, where, said, "one run of each, no deviation", "not decidable")
                continue
            for measure, name in MEASURES.items():
                lowest, as_population = (
                    sorted(
                        min(own.found.student_p, own.found.welch_p) for own in tests if own.measure == measure
                    )
                    for tests in readings
                )
                low = sum(p <= LEAST_P for p in as_population)
                verdict: Verdict = "not borne out" if low else "borne out"
                if not low and lowest[0] <= LEAST_P:
                    verdict = "not decidable"
                yield Statement(
                    text,
                    f"{where}, {name}",
                    said,
                    f"{low} of {len(lowest)} pairs at or below, lowest P {lowest[0]:.3f} "
                    f"({as_population[0]:.3f} if deviations are of populations)",
                    verdict,
                )


def _tenth() -> Statement:
    return Statement(
        text="x10 less x1: performance",
        where="mtat",
        said="1.4 to 1.8 % lost",
        found="no number of x10 was published, only Figure 1",
        verdict="not decidable",
    )


def _best() -> Iterator[Statement]:
    """Yield, for each data set and network, whether the highest ROC AUC is of 16 kHz and dB."""
    for dataset in DATASETS:
        for architecture in NETWORKS:
            rows = _of(dataset, architecture)
            highest = max(row.roc_auc for row in rows)
            top = [row.config for row in rows if row.roc_auc == highest]
            fits = [config for config in top if (config.sr, config.log) == (16_000, "db")]
            found = f"{100 * highest:.2f} of {', '.join(config.slug for config in top)}"
            verdict: Verdict
            if {row.config.log for row in rows} == {"db"}:
                verdict, found = "not decidable", f"{found}; nothing of log was published"
            elif len(fits) == len(top):
                verdict = "borne out"
            else:
                verdict = "not decidable" if fits else "not borne out"
            yield Statement(
                "16 kHz dB is best: ROC AUC", _where(dataset, architecture), "the highest", found, verdict
            )


def _ahead() -> Statement:
    vgg = {row.config: row for row in _of("mtat", "vgg")}
    made = [_points(row, vgg[row.config]) for row in _of("mtat", "musicnn") if row.config in vgg]
    within = all(1 <= value <= 2 for value in made)
    return Statement(
        text="MUSICNN is ahead of VGG-CNN: ROC AUC",
        where="mtat",
        said="1 to 2 points",
        found=f"{min(made):+.2f} to {max(made):+.2f} in {len(made)} pairs",
        verdict="borne out" if within else "not borne out",
    )

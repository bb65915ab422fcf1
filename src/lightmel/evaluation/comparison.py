"""Several evaluations in one table, where their numbers may stand beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from ..datasets import same_protocol
from ..errors import DataError
from .record import Evaluation
from .tables import markdown, with_interval


def compare(evaluations: Sequence[Evaluation]) -> str:
    """Return several evaluations as one table in Markdown, a line each.

    Raises
    ------
    DataError
        If there are none, or they are not of the same data set, protocol, split, clips and tags: such
        numbers say nothing beside each other. The message names what differs.
    """
    if not evaluations:
        raise DataError("A table needs at least one evaluation.")
    same_protocol(*evaluations)
    first = evaluations[0]
    for other in evaluations[1:]:
        for what, a, b in (
            ("split", first.split, other.split),
            ("number of clips", first.clips, other.clips),
            ("measured tags", ", ".join(first.roc_auc), ", ".join(other.roc_auc)),
            ("true clips", _true_clips(first), _true_clips(other)),
            ("unreadable files", _unreadable(first), _unreadable(other)),
        ):
            if a != b:
                raise DataError(
                    f"{first.model} and {other.model} cannot stand in one table: their {what} are "
                    f"{a} and {b}."
                )
    rows = [
        (
            f"{e.model} {e.version}".strip(),
            e.config,
            with_interval(e.macro_roc_auc, e.roc_auc_interval),
            with_interval(e.macro_pr_auc, e.pr_auc_interval),
            e.weights[:12],
        )
        for e in evaluations
    ]
    head = (
        f"{first.split} of {first.dataset}, {first.protocol}: {first.clips} clips, {len(first.roc_auc)} tags."
    )
    return f"{head}\n\n" + markdown(("tagger", "configuration", "ROC AUC", "PR AUC", "weights"), rows)


def _true_clips(evaluation: Evaluation) -> str:
    return ", ".join(f"{tag} {evaluation.positives[tag]}" for tag in evaluation.roc_auc)


def _unreadable(evaluation: Evaluation) -> str:
    return ", ".join(sorted(evaluation.failed)) or "none"

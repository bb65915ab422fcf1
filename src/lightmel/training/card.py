"""The model card of a tagger that was trained on labelled clips, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..evaluation import Evaluation, markdown
from ..hub import card_opening, with_citation
from ..inference import Tagger
from .folds import Folds


def card_of(tagger: Tagger, summary: str, evaluation: Evaluation | None, folds: Folds | None = None) -> str:
    """Return the card: what the tagger is, where it came from, its figures, what it is for, what to cite."""
    d, network = tagger.description, tagger.network
    parameters = sum(p.numel() for p in network.parameters())
    lines = [
        *card_opening(d, network.architecture, parameters),
        f"- {len(d.tags)} tags" + (", one of them for each piece of sound." if d.exclusive else "."),
        *_origin(d.provenance),
        *(f"- {line}" for line in summary.splitlines()),
        "",
        "## Measured",
        "",
        evaluation.table() if evaluation is not None else "Nothing: there were no test clips.",
    ]
    if evaluation is not None and len(evaluation.roc_auc) < len(d.tags):
        lines += [
            "",
            f"Means are over {len(evaluation.roc_auc)} of {len(d.tags)} tags: no other was measured.",
        ]
    if folds is not None:
        lines += ["", "### By cross-validation", "", folds.table()]
    if d.thresholds:
        rows = [(tag, f"{limit:.3f}") for tag, limit in zip(d.tags, d.thresholds, strict=True)]
        lines += ["", "## Thresholds", "", markdown(("tag", "holds from"), rows)]
    lines += [
        "",
        "## What it is for",
        "",
        "Finding and sorting music that is like the clips it was trained on, by its tags. They are guesses "
        "of a small network. Intervals say how much a figure depends on which clips happened to be in the "
        "test, and nothing of other music.",
    ]
    return with_citation("\n".join(lines))


def _origin(provenance: Mapping[str, Any]) -> Iterator[str]:
    body = provenance.get("body")
    if isinstance(body, Mapping) and body.get("name"):
        yield f"- It grew from `{body['name']}` {body.get('version', '')}".rstrip() + "."
    counts = provenance.get("train_clips")
    if isinstance(counts, Mapping) and counts:
        shown = ", ".join(f"{tag} {n}" for tag, n in list(counts.items())[:50])
        yield f"- Trained on {provenance.get('data')}; training clips of each tag: {shown}."
    if provenance.get("data_license"):
        yield f"- License of the data: {provenance['data_license']}"
    if provenance.get("citation"):
        yield f"- Citation of the data: {provenance['citation']}"

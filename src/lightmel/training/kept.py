"""Old tags beside new ones: two heads on one body become the head of one tagger."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ..evaluation import FALLBACK_THRESHOLD
from ..inference import LIMITS, Tagger, sound_columns
from ..vocabularies import same

log = logging.getLogger("lightmel")


def beside_kept(new: Tagger, old: Tagger) -> Tagger:
    """Return `new` with the tags of `old` in front of its own; both have the same body.

    Weights and thresholds of the kept tags are those of `old`, so that they score and hold as they did, and
    what its calibration says of them goes on. An old tag that has the name of a new one, but for case,
    hyphens and underscores, is left out. The new tags stand among the verified ones where there are any:
    their scores come from labels.
    """
    kept = [i for i, tag in enumerate(old.tags) if not any(same(tag, own) for own in new.tags)]
    names = [old.tags[i] for i in kept]
    heads = [(old.network.head, kept), (new.network.head, list(range(len(new.tags))))]
    tags = (*names, *new.tags)
    network = old.network.with_head(len(tags), torch.Generator())
    with torch.no_grad():
        network.head.weight.copy_(torch.cat([head.weight[rows] for head, rows in heads]))
        network.head.bias.copy_(torch.cat([head.bias[rows] for head, rows in heads]))
    d = new.description
    thresholds: tuple[float, ...] = ()
    if old.description.thresholds or d.thresholds:
        before = _thresholds(old)
        thresholds = (*(before[i] for i in kept), *_thresholds(new))
    provenance = {**d.provenance, "kept_tags": names}
    if (calibration := _calibration(old, names, new.tags)) is not None:
        provenance["calibration"] = calibration
    whole = replace(d, tags=tags, thresholds=thresholds, provenance=provenance, exclusive=False)
    return Tagger(network, whole)


def _thresholds(tagger: Tagger) -> tuple[float, ...]:
    """Return the thresholds of a tagger; where it has none, those that stand in, and a warning."""
    if tagger.description.thresholds:
        return tagger.description.thresholds
    columns = {column: LIMITS[what] for what, column in sound_columns(tagger.tags).items()}
    log.warning(
        "There are no thresholds for %s: %g stands in for each.",
        ", ".join(tagger.tags[:5]) + (" and others" if len(tagger.tags) > 5 else ""),
        FALLBACK_THRESHOLD,
    )
    return tuple(columns.get(i, FALLBACK_THRESHOLD) for i in range(len(tagger.tags)))


def _calibration(old: Tagger, kept: Sequence[str], new: Sequence[str]) -> dict[str, Any] | None:
    """Return what the calibration of `old` says of the tags that are kept, and that others are new since."""
    found = old.description.provenance.get("calibration")
    if not isinstance(found, Mapping):
        return None
    verified = old.description.verified
    if verified is None:
        return dict(found)
    since = {"verified": [*(tag for tag in kept if tag in verified), *new], "finetuned": list(new)}
    return {**found, **since}

"""What a tagger is worth on clips that it did not learn from, by their mels or by their files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.safetensors import weights_sha256
from ..datasets.dataset import Dataset
from ..errors import ConfigError, DataError
from ..features.examples import MelExamples, score_clips
from ..inference.results import Tagging
from ..inference.tagger import Tagger
from ..models.base import TaggingNetwork
from .metrics import Measure, bootstrap, pr_auc, roc_auc
from .record import Evaluation, Interval, compare

__all__ = ["Evaluation", "compare", "evaluate", "evaluate_files", "weights_sha256"]

log = logging.getLogger("lightmel")

NO_CLIP, EVERY_CLIP, UNKNOWN = "no clip has it", "every clip has it", "the tagger does not have it"
"""Why a tag is left out."""


def evaluate(
    model: Tagger | TaggingNetwork,
    examples: MelExamples,
    tags: Sequence[str],
    *,
    dataset: str,
    protocol: str,
    split: str = "test",
    failed: Mapping[str, str] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Judge a tagger, or a network, by clips whose mels are there.

    The score of a clip is the mean over the scores (sigmoids) of its segments. These are cut from its mel,
    back to back; `Tagger.tag` cuts the sound, so that its segments lie a little closer and each is padded at
    its own ends. The figures of `evaluate_files` hence differ a little. A label of at least a half is true.
    Tags that no clip has are named, left out, and warned of in the log.

    Parameters
    ----------
    model
        Who is judged; a network is put into evaluation mode.
    examples
        By what.
    tags
        The names of the labels, in order.
    dataset, protocol, split
        What the examples are, for the record.
    failed
        Clips that should have been there, and why they are not, for the record.
    resamples, level, seed
        Of the intervals.

    Raises
    ------
    ConfigError
        If the mels are of another configuration than the tagger's, or tags, labels and outputs differ in
        number.
    """
    network = model.network if isinstance(model, Tagger) else model.eval()
    config = examples.mels.config
    if isinstance(model, Tagger):
        examples.mels.require(model.config)
        if tuple(tags) != model.tags:
            raise ConfigError(
                f"The labels are not those of {model.name} in its order. Judge it by files, which goes by "
                "names: `evaluate_files`, or `lightmel evaluate` without --features."
            )
    if not len(tags) == network.n_tags == examples.labels.shape[1]:
        raise ConfigError(
            f"{len(tags)} tags, a network of {network.n_tags} and labels of {examples.labels.shape[1]} "
            "do not fit each other."
        )
    return _judge(
        examples.labels.numpy() >= 0.5,
        score_clips(network, examples),
        tags,
        resamples,
        level,
        seed,
        dataset=dataset,
        protocol=protocol,
        split=split,
        model=model.name if isinstance(model, Tagger) else network.architecture,
        version=model.description.version if isinstance(model, Tagger) else "",
        config=config.slug,
        weights=weights_sha256(network),
        failed=dict(failed or {}),
    )


def evaluate_files(
    tagger: Tagger,
    data: Dataset,
    split: str = "test",
    *,
    on_clip: Callable[[int, int], None] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Judge a tagger by sound files, each tagged as a user would tag it.

    A file that cannot be heard is listed in the result, and the rest go on. Tags that the tagger does not
    have, or that no clip has, are named, left out, and warned of in the log.

    Parameters
    ----------
    tagger
        Who is judged.
    data, split
        By what.
    on_clip
        Called with the files that are done and all files.
    resamples, level, seed
        Of the intervals.

    Raises
    ------
    DataError
        If there is no such split, none of its files can be heard, or the tagger has none of its tags.
    """
    part = data.split(split)
    shared = [i for i, tag in enumerate(data.tags) if tag in tagger.tags]
    if not shared:
        raise DataError(
            f"{tagger.name} has none of the tags of {data.label}: {', '.join(data.tags[:5])}... "
            "Choose another tagger, or fine-tune one for these tags."
        )
    tags = [data.tags[i] for i in shared]
    scores: list[list[float]] = []
    rows: list[int] = []
    failed: dict[str, str] = {}
    for row, found in enumerate(tagger.tag_many(data.files(split), errors="return")):
        if isinstance(found, Tagging):
            by_tag = dict(zip(found.tags, found.scores, strict=True))
            scores.append([by_tag[tag] for tag in tags])
            rows.append(row)
        else:
            failed[part.paths[row]] = str(found)
        if on_clip is not None:
            on_clip(row + 1, len(part))
    if not rows:
        raise DataError(none_heard(failed, f"{split} of {data.label}"))
    return _judge(
        part.labels[np.ix_(rows, shared)],
        np.array(scores),
        tags,
        resamples,
        level,
        seed,
        dataset=data.name,
        protocol=data.protocol,
        split=split,
        model=tagger.name,
        version=tagger.description.version,
        config=tagger.config.slug,
        weights=weights_sha256(tagger.network),
        failed=failed,
        left_out={tag: UNKNOWN for tag in data.tags if tag not in tags},
    )


def none_heard(failed: Mapping[str, str], what: str) -> str:
    """Return a line on a data set none of whose files can be heard, the first reason in it."""
    if not failed:
        return f"There are no files in {what}."
    return f"None of the files of {what} can be heard, the first because: {next(iter(failed.values()))}"


def _judge(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    tags: Sequence[str],
    resamples: int,
    level: float,
    seed: int,
    *,
    left_out: Mapping[str, str] | None = None,
    **record: Any,
) -> Evaluation:
    counts = truth.sum(axis=0)
    left = dict(left_out or {})
    left |= {tag: NO_CLIP for tag, n in zip(tags, counts, strict=True) if n == 0}
    left |= {tag: EVERY_CLIP for tag, n in zip(tags, counts, strict=True) if n == len(truth)}
    where = f"{record['split']} of {record['dataset']}"
    for why in dict.fromkeys(left.values()):
        names = [tag for tag, own in left.items() if own == why]
        log.warning("%s: left out of the figures, %s: %s.", where, why, ", ".join(names))

    def interval(measure: Measure) -> Interval | None:
        # The same clips for both measures: their intervals belong together.
        rng = np.random.default_rng(seed)
        low, high = bootstrap(truth, scores, tags, measure, rng, resamples=resamples, level=level)
        return None if np.isnan(low) else (low, high)

    return Evaluation(
        **record,
        clips=len(truth),
        positives={tag: int(n) for tag, n in zip(tags, counts, strict=True)},
        roc_auc=roc_auc(truth, scores, tags),
        pr_auc=pr_auc(truth, scores, tags),
        left_out=left,
        roc_auc_interval=interval("roc_auc"),
        pr_auc_interval=interval("pr_auc"),
        resamples=resamples,
        level=level,
        seed=seed,
    )

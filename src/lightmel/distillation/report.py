"""The report on a student: its figures and its teacher's on music it was not trained on, and its card."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import audio
from .._each import attempt
from ..datasets import TRUE_SHARE, HumanAnnotations, Track, shares_of, whole_path
from ..errors import AudioError, LightmelError
from ..evaluation import Evaluation, correlation, evaluate_known, roc_auc, shared_top
from ..hub import with_citation
from ..inference import Tagger
from .corpus import to_int16

log = logging.getLogger("lightmel")


@dataclass(frozen=True)
class Report:
    """Figures over held-out clips, of the student and of its teacher.

    Attributes
    ----------
    clips, groups
        Number of held-out clips, and of their groups.
    correlation
        Correlation of the student's and the teacher's scores over the clips, mean over the tags.
    shared_top5
        Number of the teacher's five best tags that are among the student's, mean over the clips.
    mp3_student, mp3_teacher
        Correlation over the tags between the scores of a clip and of that clip as a 32 kbit/s MP3 (LAME),
        mean over the clips.
    roc_auc_student, roc_auc_teacher
        ROC AUC against human annotations, mean over the tags that enough clips have; NaN without such tags.
    annotated_clips, annotated_tags
        The clips and the tags of these two figures.
    evaluation
        The student's figures against human annotations; None without such tags.
    """

    clips: int
    groups: int
    correlation: float
    shared_top5: float
    mp3_student: float
    mp3_teacher: float
    roc_auc_student: float
    roc_auc_teacher: float
    annotated_clips: int
    annotated_tags: tuple[str, ...]
    evaluation: Evaluation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, figures rounded to four digits, None for what could not be measured."""
        plain = asdict(replace(self, evaluation=None))
        del plain["evaluation"]
        figures = {k: _rounded(v) if isinstance(v, float) else v for k, v in plain.items()}
        return figures | {"annotated_tags": list(self.annotated_tags)}


def _rounded(figure: float) -> float | None:
    return None if math.isnan(figure) else round(figure, 4)


def compare_with_teacher(
    student: Tagger,
    teacher: Tagger,
    tracks: Sequence[Track],
    *,
    excerpt_seconds: float = 30.0,
    human_annotations: HumanAnnotations | None = None,
    min_positives: int = 3,
) -> Report:
    """Score the middle of every track with both, clean and as MP3, and compare the tags that both have.

    For the ROC AUC, a tag of a clip is true where at least half of the annotators gave it; tags with fewer
    than `min_positives` true clips are left out.
    """
    kept: list[Track] = []
    rows: dict[str, list[NDArray[np.float64]]] = {"s": [], "t": [], "s_mp3": [], "t_mp3": []}
    tags = [tag for tag in student.tags if tag in teacher.tags]
    sr = audio.mp3_rate(max(student.config.sr, teacher.config.sr))

    def scored(path: Path) -> dict[str, NDArray[np.float64]]:
        wave = audio.middle(path, sr, excerpt_seconds)
        coded = audio.as_mp3(to_int16(wave), sr, audio.MP3_32K)
        both = (("s", student), ("t", teacher))
        return {who: _scores(tagger, wave, sr, tags) for who, tagger in both} | {
            f"{who}_mp3": _scores(tagger, coded, sr, tags) for who, tagger in both
        }

    for track in tracks:
        found = attempt(track.path, scored, track.path)
        if isinstance(found, LightmelError):
            log.warning("left out: %s", found)
            continue
        kept.append(track)
        for who, own_scores in found.items():
            rows[who].append(own_scores)
    if not kept:
        raise AudioError("None of the held-out tracks could be read.")
    s, t, s_mp3, t_mp3 = (np.stack(rows[k]) for k in ("s", "t", "s_mp3", "t_mp3"))
    annotations = human_annotations or {}
    known = {whole_path(path) for path in annotations}
    annotated = [i for i, track in enumerate(kept) if whole_path(track.path) in known]
    shares = shares_of(annotations, [kept[i].path for i in annotated], tags)
    own, theirs = (_against(shares, who[annotated], tags, min_positives) for who in (s, t))
    return Report(
        clips=len(kept),
        groups=len({track.group for track in kept}),
        correlation=_mean(correlation(s, t)),
        shared_top5=shared_top(t, s, 5),
        mp3_student=_mean(correlation(s, s_mp3, axis=1)),
        mp3_teacher=_mean(correlation(t, t_mp3, axis=1)),
        roc_auc_student=float(np.mean(list(own.values()))) if own else float("nan"),
        roc_auc_teacher=float(np.mean(list(theirs.values()))) if theirs else float("nan"),
        annotated_clips=len(annotated),
        annotated_tags=tuple(own),
        evaluation=_evaluation(student, tags, shares, s[annotated], len(kept), min_positives),
    )


def _evaluation(
    student: Tagger,
    tags: Sequence[str],
    shares: NDArray[np.float64],
    scores: NDArray[np.float64],
    clips: int,
    min_positives: int,
) -> Evaluation | None:
    """Return the student's figures, its tags being in its own order and others unknown."""
    wide = np.full((2, len(scores), len(student.tags)), np.nan)
    columns = [student.tags.index(tag) for tag in tags]
    wide[0][:, columns], wide[1][:, columns] = shares, scores
    protocol = f"human annotations of held-out groups, {clips} clips"
    return evaluate_known(student, wide[0], wide[1], columns, "human annotations", protocol, min_positives)


def _against(
    shares: NDArray[np.float64], scores: NDArray[np.float64], tags: Sequence[str], min_positives: int
) -> dict[str, float]:
    """Return the ROC AUC of each tag, over the clips of which its share is known."""
    found: dict[str, float] = {}
    for i, tag in enumerate(tags):
        known = ~np.isnan(shares[:, i])
        found |= roc_auc(
            shares[known, i : i + 1] >= TRUE_SHARE, scores[known, i : i + 1], [tag], min_positives
        )
    return found


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _scores(tagger: Tagger, wave: NDArray[Any], sr: int, tags: Sequence[str]) -> NDArray[np.float64]:
    tagging = tagger.tag(wave, sr)
    found = dict(zip(tagging.tags, tagging.scores, strict=True))
    return np.array([found[tag] for tag in tags])


def _shown(figure: float) -> str:
    return "not measurable" if math.isnan(figure) else f"{figure:.3f}"


def card(student: Tagger, teacher: Tagger, report: Report, sources: Mapping[str, int], command: str) -> str:
    """Return the model card in Markdown: what the student is, its license, figures, use and command."""
    d = student.description
    parameters = sum(p.numel() for p in student.network.parameters())
    n_tags, n_clips = len(report.annotated_tags), report.annotated_clips
    annotated = (
        f"| ROC AUC against human annotations ({n_tags} tags, {n_clips} clips) "
        f"| {report.roc_auc_student:.3f} | {report.roc_auc_teacher:.3f} |\n"
        if report.annotated_tags
        else ""
    )
    teachers = d.provenance.get("teachers") or [teacher.name]
    several = len(teachers) > 1
    who = f"Teacher{'s' if several else ''}: " + ", ".join(f"`{name}`" for name in teachers)
    compared = " The figures below stand beside those of the first teacher." if several else ""
    music = ", ".join(f"{name} ({count})" for name, count in sources.items())
    tags_line = f"\nAnnotated tags: {', '.join(report.annotated_tags)}.\n" if report.annotated_tags else ""
    by_tag = f"\n{report.evaluation.table()}\n" if report.evaluation is not None else ""
    return with_citation(f"""# {d.name}

- Version {d.version}. License of the weights: **{d.license}** (the code's is another).
- Network: {student.network.architecture}, {parameters:,} parameters; input `{d.config.slug}`, segments of \
{student.segment_seconds:g} s; {len(d.tags)} tags.
- {who}. It was trained on scores, without labels, and repeats their errors.{compared}
- Training music, by source (clips): {music}.

## Measured

On {report.clips} clips of {report.groups} groups (artists, albums) that it was not trained on:

| | student | teacher |
| --- | --- | --- |
| correlation with the teacher, mean over tags | {_shown(report.correlation)} | |
| of the teacher's five best tags | {report.shared_top5:.2f} | |
| correlation of its scores of a clip and of the clip as 32 kbit/s MP3 | {_shown(report.mp3_student)} \
| {_shown(report.mp3_teacher)} |
{annotated}{tags_line}{by_tag}
Written by:

```sh
{command}
```

## What it is for

Finding and sorting music by its tags. They are what a small network guesses that its teacher would
guess.
""")

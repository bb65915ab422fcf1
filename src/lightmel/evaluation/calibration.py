"""Calibrating a tagger: scores that are chances, and thresholds, from one's own music.

A tagger's last layer is linear, so that slopes and offsets of its logits go into it: whatever runs the
network then gives chances, and each tag ranks segments as it did.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .. import audio
from .._each import attempt, printable, reason
from .._steady import steady
from ..datasets import (
    TRUE_SHARE,
    HumanAnnotations,
    Rows,
    Track,
    find_tracks,
    read_human_annotations,
    read_tracks,
    shares_of,
    stratify,
    tag_columns,
    whole_path,
)
from ..errors import AudioError, ConfigError, DataError, LightmelError
from ..inference import LIMITS, NOT_MUSIC, SPEECH, Tagger, load, neighbours, sound_columns
from ..models import TaggingNetwork
from ..vocabularies import MUSIC, category, known_as
from .calibrated import Agreement, Calibrated, Calibration, Separation, mean_f1
from .chances import (
    Chances,
    ClipLogits,
    calibration_error,
    enough,
    expected_f1_thresholds,
    f1_score,
    fit_chances,
    reliability,
    separating_threshold,
)
from .config import CalibrationConfig
from .metrics import FALLBACK_THRESHOLD
from .protocol import evaluate_known

log = logging.getLogger("lightmel")

Place: TypeAlias = "str | os.PathLike[str]"
Floats = NDArray[np.float64]
Progress: TypeAlias = Callable[[str, int, int], None]

DEFAULT_CALIBRATION = CalibrationConfig()


@steady
def calibrate(
    tagger: Tagger | Place,
    music: Place | Sequence[Track],
    annotations: Place | HumanAnnotations | None = None,
    config: CalibrationConfig = DEFAULT_CALIBRATION,
    *,
    teachers: Sequence[Tagger | Place] = (),
    not_music: Sequence[Place] = (),
    speech: Sequence[Place] = (),
    on_clip: Progress | None = None,
) -> Calibrated:
    """Return a tagger whose scores are chances, where labels are at hand, with a threshold for every tag.

    With labels, slopes and offsets are fitted (`fit_chances`) and become part of its last layer. In any case
    each tag has the threshold whose F1 is expected to be the highest over `music`, by the chances alone
    (`expected_f1_thresholds`): against labels that were left out, it reached more than the threshold of the
    highest F1 on the few labels of the rest.

    The tags "music" and "speech", which say what a sound is, keep scores and thresholds: over music alone
    nothing can be said of them. With `not_music` or `speech` their thresholds are those that tell the two
    apart (`separating_threshold`).

    Parameters
    ----------
    tagger
        Which. This one stays as it is.
    music
        Music that it was not trained on: a folder, whose folders are its groups; a table with the column
        ``path``, and ``group`` for what belongs together; or tracks.
    annotations
        Labels of all or some of it, as `lightmel.datasets.read_human_annotations` reads them. Without any, a
        table of music with more columns than ``path``, ``group`` and ``split`` is taken for them.
        A tag that they do not name has those of other tags of its concept, where they name any.
    config
        How.
    teachers
        Taggers whose logits this one has learnt, as after `lightmel.distill`. A tag without labels then has
        the common slope and offset of those teachers that know it, in place of the ones of this tagger's own
        tags with labels: networks trained on other labels differ in how high they score.
    not_music, speech
        Folders or tables of sounds that are no music, and of speech; what is among both is speech.
    on_clip
        Called with the kind of files that are scored, how many are done, and all of them.

    Raises
    ------
    AudioError
        If a folder has no sound, or none of the music can be read.
    DataError
        If there is no music, a table cannot be read, names none of the tags or none of the music, or no tag
        has enough true and false clips.
    ConfigError
        If the tagger is not run by PyTorch, or has no tag "music" or "speech" where such sounds are given.
    """
    tagger = tagger if isinstance(tagger, Tagger) else load(tagger)
    network = tagger.network
    columns = sound_columns(tagger.tags)
    for what, given in ((MUSIC, [*not_music, *speech]), (SPEECH, speech)):
        if given and what not in columns:
            raise ConfigError(f"{tagger.name} has no tag {what!r}, which {given[0]} could say something of.")
    tracks = _tracks(music)
    if not tracks:
        raise DataError(
            f"{_named(music, 'The music')} has no files: name some that {tagger.name} was not trained on."
        )
    if annotations is None and isinstance(music, (str, os.PathLike)) and not Path(music).is_dir():
        annotations = music if tag_columns(Rows(music)) else None
    shares = _shares(tagger, tracks, annotations, config.min_positives)
    spoken = [track for place in speech for track in _tracks(place)]
    known = {whole_path(track.path) for track in spoken}
    rest = [t for place in not_music for t in _tracks(place) if whole_path(t.path) not in known]
    sounds = {NOT_MUSIC: rest, SPEECH: spoken}
    loaded = [own if isinstance(own, Tagger) else load(own) for own in teachers]
    labels = {} if annotations is None else _labels(annotations)
    named = {whole_path(path) for path in labels}
    known_tracks = [track for track in tracks if whole_path(track.path) in named]
    _check_teachers(tagger, loaded, known_tracks, labels, config.min_positives)
    read = _Read(tagger, config, on_clip)
    own = read("music", tracks)
    other = {what: read(what, found) for what, found in sounds.items() if found}
    shares = shares[own.rows]
    labeled = np.flatnonzero(~np.isnan(shares).all(axis=1))
    chances, taught = _unchanged(len(tagger.tags)), list[_Teacher]()
    agreement: Agreement | None = None
    after: Floats | None = None
    if annotations is not None:
        if not len(labeled):
            raise AudioError("None of the clips with labels could be read.")
        chances = fit_chances(own.logits.take(labeled), shares[labeled], config.min_positives)
        taught = [
            _common(teacher, known_tracks, labels, config.min_positives, _Read(teacher, config, on_clip))
            for teacher in loaded
        ]
        chances = _as_taught(chances, tagger.tags, taught)
        chances = _without(chances, list(columns.values()))
        agreed = _agreement(tagger, own, shares, config, chances.verified)
        agreement, after = (None, None) if agreed is None else agreed
    limits = list(_thresholds(tagger, chances, own.logits, [found.logits for found in other.values()]))
    separations = _separations(tagger, own, other, config)
    for what, column in columns.items():
        kept = tagger.description.thresholds[column] if tagger.description.thresholds else LIMITS[what]
        limits[column] = separations[what].threshold if what in separations else kept
    tags = tagger.tags
    told = [i for i in range(len(tags)) if not np.isnan(shares[:, i]).all()]
    calibration = Calibration(
        model=tagger.name,
        version=tagger.description.version,
        music=_named(music, "tracks"),
        annotations="" if annotations is None else _named(annotations, "annotations"),
        clips=len(own.rows),
        groups=len(set(own.groups)),
        annotated_clips=len(labeled),
        annotated_groups=len({own.groups[i] for i in labeled}),
        positives={tags[i]: int((shares[:, i] >= TRUE_SHARE).sum()) for i in told},
        verified=tuple(tags[i] for i in np.flatnonzero(chances.verified)),
        slope=chances.slope,
        offset=chances.offset,
        teachers={teacher.name: (teacher.slope, teacher.offset) for teacher in taught},
        thresholds=dict(zip(tags, map(float, limits), strict=True)),
        agreement=agreement,
        sounds=separations,
        failed=read.failed,
    )
    made = _baked(tagger, network, chances, calibration, config)
    if agreement is not None and after is not None:
        protocol = f"labels of other groups, {agreement.folds} parts, seed {config.split_seed}"
        evaluation = evaluate_known(
            made, shares, after, np.flatnonzero(chances.verified).tolist(), calibration.annotations, protocol
        )
        calibration = replace(calibration, evaluation=evaluation)
    return Calibrated(made, calibration)


def _baked(
    tagger: Tagger,
    network: TaggingNetwork,
    chances: Chances,
    calibration: Calibration,
    config: CalibrationConfig,
) -> Tagger:
    """Return the tagger with slopes and offsets in the last layer of `network`, its copy."""
    with torch.no_grad():
        slopes, offsets = torch.from_numpy(chances.slopes), torch.from_numpy(chances.offsets)
        head = network.head
        head.weight.copy_(head.weight.double() * slopes[:, None])
        head.bias.copy_(head.bias.double() * slopes + offsets)
    d = tagger.description
    description = replace(
        d,
        name=config.name or d.name,
        version=config.version or f"{d.version.removesuffix('-calibrated')}-calibrated",
        thresholds=tuple(calibration.thresholds.values()),
        provenance={**d.provenance, "calibration": _provenance(calibration, d.provenance)},
    )
    return Tagger(network, description, device=tagger.device, precision=tagger.runtime.precision)


def _tracks(music: Place | Sequence[Track]) -> list[Track]:
    if not isinstance(music, (str, os.PathLike)):
        return list(music)
    return find_tracks(music) if Path(music).is_dir() else read_tracks(music, grouped=False)


def _named(source: object, otherwise: str) -> str:
    """Return the name of a file or folder, without where it lies: that is nobody's business."""
    return Path(os.fspath(source)).resolve().name if isinstance(source, (str, os.PathLike)) else otherwise


def _shares(
    tagger: Tagger, tracks: Sequence[Track], source: Place | HumanAnnotations | None, min_positives: int
) -> Floats:
    """Return the shares of tracks and tags, before anything is scored; NaN where nothing is known."""
    if source is None:
        return np.full((len(tracks), len(tagger.tags)), np.nan)
    called = _named(source, "The annotations")
    given = _labels(source)
    everywhere = _meant(given, list(given), tagger.tags)
    if np.isnan(everywhere).all():
        raise DataError(
            f"{called} names none of the tags of {tagger.name} ({', '.join(tagger.tags[:5])}, ...). A tag is "
            "a column, or stands in the lists of a column 'tags'. A table of music without labels has the "
            "columns path, group and split alone."
        )
    shares = _meant(given, [track.path for track in tracks], tagger.tags)
    shares[:, list(sound_columns(tagger.tags).values())] = np.nan
    if np.isnan(shares).all():
        raise DataError(
            f"{called} has labels of none of the {len(tracks)} files, such as {tracks[0].path}. Its paths "
            "are relative to its folder."
        )
    always = [
        tag
        for tag, column in zip(tagger.tags, shares.T, strict=True)
        if (known := column[~np.isnan(column)]).size and (known >= TRUE_SHARE).all()
    ]
    if not enough(shares, min_positives).any():
        why = f" Every clip has {', '.join(always)}: clips without it are needed too." if always else ""
        raise DataError(
            f"{called}: no tag has {min_positives} clips that are true and {min_positives} that are false, "
            f"by which chances could be fitted.{why}"
        )
    if always:
        log.warning("%s: every clip has %s: it stays unverified.", called, ", ".join(always))
    return shares


def _labels(source: Place | HumanAnnotations) -> HumanAnnotations:
    return source if isinstance(source, Mapping) else read_human_annotations(source)


def _meant(given: HumanAnnotations, paths: Sequence[Path], tags: Sequence[str]) -> Floats:
    """Return `shares_of`; for a tag that no label names, the highest of those of its concept."""
    shares = shares_of(given, paths, tags)
    names = list(dict.fromkeys(name for own in given.values() for name in own))
    for i, tag in enumerate(tags):
        by_name, by_concept = known_as(tag, names)
        if by_concept and not by_name:
            meant = shares_of(given, paths, [names[k] for k in by_concept])
            shares[:, i] = np.fmax.reduce(meant, axis=1)
    return shares


@dataclass(frozen=True)
class _Teacher:
    """A tagger that was learnt from: its tags, and the slope and offset that those with labels share."""

    name: str
    tags: tuple[str, ...]
    slope: float
    offset: float


def _check_teachers(
    tagger: Tagger,
    teachers: Sequence[Tagger],
    tracks: Sequence[Track],
    given: HumanAnnotations,
    min_positives: int,
) -> None:
    """Refuse teachers of which nothing can be said, before anything is scored."""
    if not teachers:
        return
    if not given:
        raise ConfigError("Without labels, teachers say nothing: name some with annotations.")
    calibration = tagger.description.provenance.get("calibration")
    if isinstance(calibration, Mapping) and "chances" in calibration:
        raise ConfigError(
            f"The scores of {tagger.name} are chances already, no more as high as its teachers': leave the "
            "teachers out, or name the file that it was calibrated from."
        )
    for teacher in teachers:
        if not enough(_meant(given, [track.path for track in tracks], teacher.tags), min_positives).any():
            raise DataError(
                f"The labels say too little of the tags of the teacher {teacher.name} "
                f"({', '.join(teacher.tags[:5])}, ...): leave it out."
            )


def _common(
    teacher: Tagger, tracks: Sequence[Track], given: HumanAnnotations, min_positives: int, read: _Read
) -> _Teacher:
    found = read(f"labeled music by {teacher.name}", tracks)
    shares = _meant(given, [tracks[i].path for i in found.rows], teacher.tags)
    chances = fit_chances(found.logits, shares, min_positives)
    return _Teacher(teacher.name, teacher.tags, chances.slope, chances.offset)


def _as_taught(chances: Chances, tags: Sequence[str], teachers: Sequence[_Teacher]) -> Chances:
    """Return chances in which tags without labels have what the teachers that know them share."""
    slopes, offsets = chances.slopes.copy(), chances.offsets.copy()
    for i in np.flatnonzero(~chances.labeled).tolist():
        places = [(teacher, *known_as(tags[i], teacher.tags)) for teacher in teachers]
        by_name = [teacher for teacher, named, _ in places if named]
        by_concept = [teacher for teacher, _, meant in places if meant]
        if knowing := by_name or by_concept:
            slopes[i] = np.exp(np.mean([np.log(teacher.slope) for teacher in knowing]))
            offsets[i] = np.mean([teacher.offset for teacher in knowing])
    return replace(chances, slopes=slopes, offsets=offsets)


@dataclass(frozen=True)
class _Scored:
    """Clips that could be read: which of those that were given, their groups, their logits."""

    rows: list[int]
    groups: list[str]
    logits: ClipLogits


class _Read:
    """Scores tracks, segment by segment, and notes those that cannot be read."""

    def __init__(self, tagger: Tagger, config: CalibrationConfig, on_clip: Progress | None) -> None:
        self.tagger, self.config, self.on_clip = tagger, config, on_clip
        self.failed: dict[str, str] = {}

    def __call__(self, what: str, tracks: Sequence[Track]) -> _Scored:
        rows: list[int] = []
        scores: list[NDArray[np.float64]] = []
        for row, track in enumerate(tracks):
            found = attempt(track.path, self._scores, track.path)
            if isinstance(found, LightmelError):
                why = self.failed[str(track.path)] = reason(found, track.path)
                log.warning("left out: %s: %s", printable(str(track.path)), why)
            else:
                scores.append(found)
                rows.append(row)
            if self.on_clip is not None:
                self.on_clip(f"scoring {what}", row + 1, len(tracks))
        if not rows:
            raise AudioError(f"None of the {len(tracks)} files of {what} could be read.")
        return _Scored(rows, [tracks[i].group for i in rows], ClipLogits.of_scores(scores))

    def _scores(self, path: Path) -> NDArray[np.float64]:
        if not self.config.excerpt_seconds:
            return self.tagger.taggram(path).scores
        sr = self.tagger.config.sr
        return self.tagger.taggram(audio.middle(path, sr, self.config.excerpt_seconds), sr).scores


def _unchanged(n_tags: int) -> Chances:
    none = np.zeros(n_tags, dtype=np.bool_)
    return Chances(np.ones(n_tags), np.zeros(n_tags), none, none, 1.0, 0.0)


def _without(chances: Chances, columns: list[int]) -> Chances:
    """Return chances with some tags as they were."""
    slopes, offsets = chances.slopes.copy(), chances.offsets.copy()
    slopes[columns], offsets[columns] = 1, 0
    return replace(chances, slopes=slopes, offsets=offsets)


def _thresholds(
    tagger: Tagger, chances: Chances, music: ClipLogits, others: Sequence[ClipLogits] = ()
) -> Floats:
    """Return a threshold a tag, over the music; for sounds that are none, over `others` as well."""
    own = chances.of(music)
    limits = np.array(expected_f1_thresholds(own))
    odd = [i for i, tag in enumerate(tagger.tags) if category(tag) == NOT_MUSIC]
    if odd and others:
        every = np.concatenate([own[:, odd], *(chances.of(found)[:, odd] for found in others)])
        limits[odd] = expected_f1_thresholds(every)
    return limits


def _agreement(
    tagger: Tagger,
    own: _Scored,
    shares: Floats,
    config: CalibrationConfig,
    verified: NDArray[np.bool_],
) -> tuple[Agreement, Floats] | None:
    """Return how chances by other groups agree with labels, and these chances, ``(clips, tags)``."""
    labeled = np.flatnonzero(~np.isnan(shares).all(axis=1))
    groups = np.array(own.groups)
    parts = _parts(groups[labeled], shares[labeled][:, verified] >= TRUE_SHARE, config)
    if parts is None:
        return None
    before = own.logits.scores()
    limits = tagger.description.thresholds or (FALLBACK_THRESHOLD,) * len(tagger.tags)
    after, claimed = np.full_like(before, np.nan), np.zeros(before.shape, dtype=np.bool_)
    for part in range(parts.max() + 1):
        test = labeled[parts == part]
        rest = np.flatnonzero(~np.isin(groups, groups[test]))
        known = np.intersect1d(rest, labeled)
        if not len(known) or not enough(shares[known], config.min_positives).any():
            return None
        chances = fit_chances(own.logits.take(known), shares[known], config.min_positives)
        after[test] = chances.of(own.logits.take(test))
        claimed[test] = after[test] >= _thresholds(tagger, chances, own.logits.take(rest))
    figures: dict[str, dict[str, float]] = {"f1": {}, "f1_before": {}, "error": {}, "error_before": {}}
    pooled: list[tuple[NDArray[np.bool_], Floats, Floats]] = []
    for i in np.flatnonzero(verified):
        tag, known = tagger.tags[i], np.flatnonzero(~np.isnan(shares[:, i]))
        truth = shares[known, i] >= TRUE_SHARE
        figures["f1"][tag] = f1_score(truth, claimed[known, i])
        figures["f1_before"][tag] = f1_score(truth, before[known, i] >= limits[i])
        figures["error"][tag] = calibration_error(truth, after[known, i])
        figures["error_before"][tag] = calibration_error(truth, before[known, i])
        pooled.append((truth, after[known, i], before[known, i]))
    truth, new, old = (np.concatenate(column) for column in zip(*pooled, strict=True))
    agreement = Agreement(
        folds=int(parts.max()) + 1,
        **figures,
        pooled_error=calibration_error(truth, new),
        pooled_error_before=calibration_error(truth, old),
        bins=reliability(truth, new),
    )
    return agreement, after


def _parts(
    groups: Sequence[str] | NDArray[np.str_], labels: NDArray[np.bool_], config: CalibrationConfig
) -> NDArray[np.int64] | None:
    """Return the part of each clip, groups undivided; None where there are fewer than two."""
    folds = min(config.folds, len(set(groups)))
    return None if folds < 2 else stratify(list(groups), labels, [1 / folds] * folds, config.split_seed)


def _separations(
    tagger: Tagger, own: _Scored, other: Mapping[str, _Scored], config: CalibrationConfig
) -> dict[str, Separation]:
    """Return how music is told from other sounds, and speech from the rest of these, where they are given.

    A tagging says which parts of music are none, so that music must reach the threshold throughout.
    """
    columns = sound_columns(tagger.tags)
    found: dict[str, Separation] = {}
    if other:
        throughout = own.logits.lowest(columns[MUSIC], neighbours(tagger.segment_seconds))
        found[MUSIC] = _separation(
            [(throughout, own.groups)],
            [_whole(clips, columns[MUSIC]) for clips in other.values()],
            config.missed_music,
            config,
        )
    if len(other) == len((NOT_MUSIC, SPEECH)):
        inside, outside = (_whole(other[what], columns[SPEECH]) for what in (SPEECH, NOT_MUSIC))
        found[SPEECH] = _separation([inside], [outside], 1.0, config)
    return found


_Grouped: TypeAlias = "tuple[Floats, Sequence[str]]"
"""The score of each clip, and its group."""


def _whole(clips: _Scored, column: int) -> _Grouped:
    return clips.logits.scores()[:, column], clips.groups


def _separation(
    inside: Sequence[_Grouped],
    outside: Sequence[_Grouped],
    most_missed: float,
    config: CalibrationConfig,
) -> Separation:
    scored = [*inside, *outside]
    scores = np.concatenate([own for own, _ in scored])
    groups = np.array([f"{i} {group}" for i, (_, own) in enumerate(scored) for group in own])
    belongs = np.arange(len(scores)) < sum(len(own) for own, _ in inside)
    parts = _parts(groups, np.stack([belongs, ~belongs], axis=1), config)
    reach = np.zeros(len(scores), dtype=np.bool_)
    for part in () if parts is None else range(parts.max() + 1):
        rest = parts != part
        if not (belongs & rest).any() or not (~belongs & rest).any():
            parts = None
            break
        limit = separating_threshold(scores[belongs & rest], scores[~belongs & rest], most_missed)
        reach[~rest] = scores[~rest] >= limit
    return Separation(
        threshold=separating_threshold(scores[belongs], scores[~belongs], most_missed),
        clips=int(belongs.sum()),
        others=int((~belongs).sum()),
        kept=None if parts is None else float(reach[belongs].mean()),
        told=None if parts is None else float((~reach[~belongs]).mean()),
    )


def _provenance(calibration: Calibration, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tagger itself says of its calibration; the figures tag by tag stand beside it.

    Thresholds without labels leave the chances, and what an earlier calibration said of them, as they are.
    """
    plain = calibration.to_dict()
    kept = ("model", "version", "music", "clips", "groups")
    found = {"thresholds": {what: plain[what] for what in kept} | {"sounds": plain["sounds"]}}
    if not calibration.annotations:
        earlier = before.get("calibration")
        held = earlier if isinstance(earlier, Mapping) else {}
        return found | {what: held[what] for what in ("chances", "verified") if what in held}
    agreement = calibration.agreement
    told = ("annotations", "annotated_clips", "annotated_groups", "slope", "offset", "teachers")
    chances = {what: plain[what] for what in told}
    if agreement is not None:
        chances |= {
            "folds": agreement.folds,
            "mean_f1": mean_f1(agreement.f1),
            "mean_f1_before": mean_f1(agreement.f1_before),
            "calibration_error": agreement.pooled_error,
            "calibration_error_before": agreement.pooled_error_before,
        }
    return found | {"chances": chances, "verified": list(calibration.verified)}

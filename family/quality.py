"""Measure taggers on music that the family is never trained on, and write what was found as JSON.

    python family/quality.py TAGGER... [--teachers A B ...] [--shared ../shared] [--out FOLDER]

The clips are the 286 of ``music/genres.csv`` in the shared folder, 138 of them with human annotations, and
for "is it music?" those of ``not-music`` as well. A tagger, or a teacher, is what `lightmel.load` takes. Each
tagger gives one file ``NAME.json``, the same bytes every time; `PROTOCOL` says how each figure comes about. A
table is printed; ``family/figure.py`` makes the page and the picture of all files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import lightmel
from figure import ALL, GENRES, RESULTS, WAYS, pages_table
from lightmel import audio, hub
from lightmel._files import write_whole
from lightmel.datasets import TRUE_SHARE, Rows, read_human_annotations, read_tracks, whole_path
from lightmel.distillation.corpus import to_int16
from lightmel.distillation.targets import blend
from lightmel.errors import ConfigError, DataError, LightmelError
from lightmel.evaluation import (
    Intervals,
    bootstrap,
    correlation,
    macro,
    pr_auc,
    rankable,
    roc_auc,
    shared_top,
)
from lightmel.evaluation.metrics import Measure
from lightmel.inference import Tagger
from lightmel.training import WaveDomain
from lightmel.vocabularies import CATEGORIES, MUSIC, category, concept, same
from train import FILES

Floats = NDArray[np.float64]
Wave = NDArray[Any]

SR = 16_000
"""Rate in Hz of the clips' sources."""
MIN_POSITIVES = 3
INTERVALS = Intervals()
SAMPLE_SEED = 0
PLAIN = "plain"
STUDENTS = tomllib.loads(Path(__file__).with_name("students.toml").read_text(encoding="utf-8"))
CONCEPT_SHARE = STUDENTS["distillation"]["concept_share"]

PROTOCOL = {
    "scores": "means of the scores of back-to-back segments over the whole clip, as Tagger.tag gives them; "
    "clips are decoded to 16 kHz",
    "intervals": f"{INTERVALS.level:.0%} percentile bootstrap, {INTERVALS.resamples} resamples of whole "
    f"groups, seed {INTERVALS.seed}; a difference is of the same resamples",
    "human": "a tag is true for a clip where at least half of the annotated clips of its recording in "
    f"MagnaTagATune have it (music/human_tags.csv); tags with {MIN_POSITIVES} or more true clips; mean over "
    "the tags that the tagger has, beside a teacher over those that both have",
    "genres": "ROC AUC of the tag of the genre's name against the labels of music/genres.csv",
    "teachers": "a teacher's scores of a tag that it lacks are those of the tags of the same concept. All "
    "teachers are one as targets are made (lightmel.distillation.targets.blend): of a tag, the mean of the "
    "logits of the clips' scores, standardised over the clips, of those that have it, with a share of "
    f"{CONCEPT_SHARE} of those that have only its concept",
    "agreement": "Pearson correlation over the clips of music/genres.csv between the tagger's scores and "
    "those of all teachers; means over tags. top5: how many of the teachers' five best tags are among the "
    "tagger's, of the tags compared, mean over clips",
    "said": "share of the clips of music/genres.csv for which a tag of the category reaches its threshold: "
    "the others are unknown there",
    "music": "ROC AUC of the tag music, the clips of music/genres.csv against those of not-music; held_out: "
    "against the groups that the tagger was not trained on",
    "robustness": "Pearson correlation between the scores of clips and those of the same clips changed: over "
    "clips, mean over tags (over_clips); over tags, mean over clips (over_tags); over all scores at once "
    "(pooled). mp3_32k: LAME, 32 kbit/s; 12k: resampled to 12 kHz and back; minus_20_db: a tenth of the "
    "amplitude; phone: Butterworth amplitudes of order 4 at 300 and 3400 Hz",
    "cost": "multiply-accumulates of convolutions and linear layers, segments end to end; bytes of the file",
}


# What was trained on the clips it is measured on.


class Seen(NamedTuple):
    """Figures that are not held out: of the taggers whose name is like `pattern`, those of `parts`."""

    pattern: str
    parts: tuple[str, ...]
    note: str


SEEN = (
    Seen(
        "mtat-musicnn-small-16k-mel48-x2-db",
        ("human", "genres", "agreement", "robustness"),
        "it was trained on 233 of the 286 clips, 102 of the 138 with human annotations among them",
    ),
    *(
        Seen(own, ("human",), "it was trained on MagnaTagATune, which has the 138 recordings")
        for own in ("public:won2020-mtat-*", "public:pons2019-mtat-*")
    ),
)


def seen(name: str) -> dict[str, str]:
    """Return for each part whose figures are not held out why they are not."""
    return {part: s.note for s in SEEN if fnmatchcase(name, s.pattern) for part in s.parts}


# Clips.


@dataclass(frozen=True)
class Clips:
    """Sound files below `folder`, and the group of each that must not be split."""

    folder: Path
    paths: tuple[str, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def places(self, paths: Iterable[str]) -> list[int]:
        """Return where these paths are among all."""
        where = {path: i for i, path in enumerate(self.paths)}
        return [where[path] for path in paths]


def clips_of(folder: Path, paths: Sequence[str] | None = None) -> Clips:
    """Return the clips of ``tracks.csv`` in a folder, sorted; only those of `paths` where some are given.

    Raises
    ------
    DataError
        If there is no such table, or a path is not in it.
    """
    groups = {
        track.path.relative_to(folder).as_posix(): track.group for track in read_tracks(folder / "tracks.csv")
    }
    wanted = sorted(groups if paths is None else paths)
    if strangers := [path for path in wanted if path not in groups]:
        raise DataError(f"{folder / 'tracks.csv'} has no {strangers[0]}, so that its group is not known.")
    return Clips(folder, tuple(wanted), tuple(groups[path] for path in wanted))


def phone(wave: Wave) -> Wave:
    """Return what a small loudspeaker leaves of `wave` ``(samples,)`` at `SR`: 300 to 3400 Hz."""
    domain = WaveDomain(SR)
    f = domain.frequencies.double().clamp(min=1)
    amplitude = 1 / ((1 + (300 / f) ** 8) * (1 + (f / 3_400) ** 8)).sqrt()
    response = domain.response(amplitude.float()[None])
    filtered: Wave = domain.filtered(torch.from_numpy(np.ascontiguousarray(wave))[None], response)[0].numpy()
    return filtered


CHANGES: dict[str, Callable[[Wave], Wave]] = {
    PLAIN: lambda wave: wave,
    "mp3_32k": lambda wave: audio.as_mp3(to_int16(wave), SR, audio.MP3_32K),
    "12k": lambda wave: audio.from_array(audio.from_array(wave, SR, 12_000), 12_000, SR),
    "minus_20_db": lambda wave: wave * np.float32(0.1),
    "phone": phone,
}
"""By the names that `PROTOCOL` explains."""
assert set(CHANGES) == {PLAIN, *WAYS}


# Scores, which are kept on disk.


@dataclass(frozen=True)
class Scored:
    """Scores ``(clips, tags)`` of one tagger."""

    tags: tuple[str, ...]
    values: Floats

    def has(self, tag: str) -> bool:
        """Return whether it has a tag of that name, whatever its case."""
        return any(same(own, tag) for own in self.tags)

    def of(self, tags: Sequence[str], rows: Sequence[int] | slice = slice(None)) -> Floats:
        """Return the columns of some tags, in their order."""
        columns = [next(i for i, own in enumerate(self.tags) if same(own, tag)) for tag in tags]
        found: Floats = self.values[rows if isinstance(rows, slice) else list(rows)][:, columns]
        return found


def score(
    tagger: Tagger, clips: Clips, changed: Mapping[str, Sequence[int]], cache: Path | None = None
) -> dict[str, Scored]:
    """Return the scores of some of the clips for each of the `CHANGES` that are named.

    With a `cache`, a folder, they are read from there if the same weights, input, and bytes of the clips have
    been scored before, and otherwise written there.
    """
    found: dict[str, Scored] = {}
    kept: dict[str, Path] = {}
    for change, rows in changed.items():
        if cache is not None:
            kept[change] = cache / f"{_key(tagger, clips, change, rows)}.npy"
            if kept[change].is_file():
                found[change] = Scored(tagger.tags, np.load(kept[change]))
    missing = {change: set(rows) for change, rows in changed.items() if change not in found}
    scores: dict[str, list[list[float]]] = {change: [] for change in missing}
    for row, path in enumerate(clips.paths):
        mine = [change for change, rows in missing.items() if row in rows]
        if not mine:
            continue
        wave = audio.load(clips.folder / path, SR)
        for change in mine:
            tagging = tagger.tag(CHANGES[change](wave), SR)
            by_tag = dict(zip(tagging.tags, tagging.scores, strict=True))
            scores[change].append([by_tag[tag] for tag in tagger.tags])
    for change, values in scores.items():
        found[change] = Scored(tagger.tags, np.array(values))
        if cache is not None:
            file = io.BytesIO()
            np.save(file, found[change].values)
            write_whole(kept[change], file.getvalue(), DataError)
    return found


def _key(tagger: Tagger, clips: Clips, change: str, rows: Sequence[int]) -> str:
    what = {
        "lightmel": lightmel.__version__,
        "weights": tagger.runtime.weights,
        "precision": tagger.runtime.precision,
        "config": tagger.config.slug,
        "segment": tagger.segment_samples,
        "tags": tagger.tags,
        "change": change,
        "clips": [sha256(clips.folder / clips.paths[row]) for row in rows],
        "protocol": [PROTOCOL["scores"], PROTOCOL["robustness"]],
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Figures.


def rounded(value: float) -> float | None:
    """Return a figure of four digits, which do not depend on the processor; None for NaN."""
    return None if math.isnan(value) else round(value, 4) + 0.0  # no -0.0


def measured(
    measure: Measure,
    truth: NDArray[np.bool_],
    scores: Floats,
    tags: Sequence[str],
    groups: Sequence[str],
    minus: Floats | None = None,
) -> dict[str, Any]:
    """Return the macro average and its interval, or those of the difference to the scores `minus`."""
    by_tag = {"roc_auc": roc_auc, "pr_auc": pr_auc}[measure]
    value = macro(by_tag(truth, scores, tags))
    if minus is not None:
        value -= macro(by_tag(truth, minus, tags))
    ends = bootstrap(
        truth,
        scores,
        tags,
        measure,
        np.random.default_rng(INTERVALS.seed),
        minus=minus,
        groups=groups,
        resamples=INTERVALS.resamples,
        level=INTERVALS.level,
    )
    return {"value": rounded(value), "interval": [rounded(end) for end in ends]}


MEASURES: tuple[Measure, ...] = ("roc_auc", "pr_auc")
ABOUT = ("n_clips", "folders", "relation")
"""Columns of ``human_tags.csv`` that are no tags."""


@dataclass(frozen=True)
class Annotated:
    """Clips (by their place among all) with human annotations, and the tags that can be measured on them."""

    rows: tuple[int, ...]
    groups: tuple[str, ...]
    tags: tuple[str, ...]
    truth: NDArray[np.bool_]

    def of(self, tags: Sequence[str]) -> NDArray[np.bool_]:
        """Return the columns of some tags."""
        found: NDArray[np.bool_] = self.truth[:, [self.tags.index(tag) for tag in tags]]
        return found


def annotated(clips: Clips, table: Path) -> Annotated:
    """Return the clips of a table of human annotations, by the rule in `PROTOCOL`.

    Raises
    ------
    DataError
        If a clip of it is none of `clips`, or a share is not known.
    """
    given = read_human_annotations(table)
    files = [whole_path(clips.folder / path) for path in clips.paths]
    rows = [i for i, file in enumerate(files) if file in given]
    if len(rows) != len(given):
        raise DataError(f"{table}: {len(given) - len(rows)} of its clips are not among those measured.")
    shares = [given[files[row]] for row in rows]
    tags = [tag for tag in shares[0] if tag not in ABOUT]
    values = np.array([[own[tag] for tag in tags] for own in shares])
    if np.isnan(values).any():
        row, column = np.argwhere(np.isnan(values))[0]
        raise DataError(f"{table}: the share of {tags[column]} is not known for {clips.paths[rows[row]]}.")
    truth = values >= TRUE_SHARE
    kept = rankable(truth, MIN_POSITIVES)
    return Annotated(
        tuple(rows), tuple(clips.groups[i] for i in rows), tuple(tags[i] for i in kept), truth[:, kept]
    )


def human(own: Scored, teachers: Mapping[str, Scored], data: Annotated) -> dict[str, Any] | None:
    """Return ROC AUC and PR AUC against human annotations, and the difference to each teacher's."""
    tags = [tag for tag in data.tags if own.has(tag)]
    if not tags:
        return None
    truth, scores = data.of(tags), own.of(tags, data.rows)
    per_tag = {m: f(truth, scores, tags) for m, f in (("roc_auc", roc_auc), ("pr_auc", pr_auc))}
    found: dict[str, Any] = {
        "clips": len(data.rows),
        "groups": len(set(data.groups)),
        "tags": len(tags),
        **{m: measured(m, truth, scores, tags, data.groups) for m in MEASURES},
        "per_tag": {
            tag: {"true": int(n), **{m: rounded(per_tag[m][tag]) for m in MEASURES}}
            for tag, n in zip(tags, truth.sum(axis=0), strict=True)
        },
        "teachers": {},
    }
    for name, teacher in teachers.items():
        both = [tag for tag in tags if teacher.has(tag)]
        if both:
            truth, scores, theirs = data.of(both), own.of(both, data.rows), teacher.of(both, data.rows)
            found["teachers"][name] = {"tags": len(both)} | {
                m: measured(m, truth, theirs, both, data.groups)
                | {"difference": measured(m, truth, scores, both, data.groups, minus=theirs)}
                for m in MEASURES
            }
    return found


def genres(own: Scored, clips: Clips, labels: Sequence[str]) -> dict[str, Any]:
    """Return the ROC AUC of each genre's tag, None where there is no such tag."""
    found: dict[str, Any] = {"clips": len(clips), "groups": len(set(clips.groups))}
    for genre in GENRES:
        truth = np.array([label == genre for label in labels])[:, None]
        found[genre] = (
            {"true": int(truth.sum())} | measured("roc_auc", truth, own.of([genre]), [genre], clips.groups)
            if own.has(genre)
            else None
        )
    return found


def blended(teachers: Sequence[Scored], tags: Sequence[str]) -> Scored:
    """Return the teachers' scores, as one, of those of `tags` that any of them knows by name or concept."""
    meanings = {concept(tag) for teacher in teachers for tag in teacher.tags}
    known = [t for t in tags if concept(t) in meanings or any(teacher.has(t) for teacher in teachers)]
    if not known:
        return Scored((), np.zeros((len(teachers[0].values), 0)))
    scores = torch.from_numpy(np.concatenate([teacher.values for teacher in teachers], axis=1))
    logits = scores.clamp(1e-12, 1 - 1e-12).logit()
    targets = blend(logits, [teacher.tags for teacher in teachers], known, CONCEPT_SHARE)
    return Scored(tuple(known), targets.double().sigmoid().numpy())


def mean(values: Iterable[float]) -> float | None:
    """Return the mean of those that are numbers, rounded; None without any."""
    known = [value for value in values if not math.isnan(value)]
    return rounded(float(np.mean(known))) if known else None


def agreement(own: Scored, teachers: Scored, clips: Clips) -> dict[str, Any] | None:
    """Return how the scores agree with the teachers', tag by tag, category by category, and in all."""
    tags = teachers.tags
    if not tags:
        return None
    mine, theirs = own.of(tags), teachers.values
    each = dict(zip(tags, correlation(mine, theirs).tolist(), strict=True))
    by_category = {name: [tag for tag in tags if category(tag) == name] for name in (*CATEGORIES, MUSIC)}
    return {
        "clips": len(clips),
        "groups": len(set(clips.groups)),
        "tags": len(tags),
        "correlation": mean(each.values()),
        "per_category": {
            name: {"tags": len(some), "correlation": mean(each[tag] for tag in some)}
            for name, some in by_category.items()
            if some
        },
        "per_tag": {tag: rounded(value) for tag, value in each.items()},
        "top5": rounded(shared_top(theirs, mine, 5)),
    }


def music(
    name: str, own: Scored, clips: Clips, other: Scored, noise: Clips, held_out: Sequence[str] | None
) -> dict[str, Any]:
    """Return the ROC AUC of the tag `name`: clips of music against what is none, all of it and held out."""

    def against(rows: Sequence[int]) -> dict[str, Any]:
        truth = np.repeat([True, False], [len(clips), len(rows)])[:, None]
        scores = np.concatenate([own.of([name]), other.of([name], rows)])
        groups = [*(f"music {g}" for g in clips.groups), *(f"not {noise.groups[i]}" for i in rows)]
        counts = {"music": len(clips), "not_music": len(rows), "groups": len(set(groups))}
        return counts | measured("roc_auc", truth, scores, [name], groups)

    rows = [i for i, group in enumerate(noise.groups) if group in (held_out or ())]
    return {"tag": name, "all": against(range(len(noise))), "held_out": against(rows) if rows else None}


def robustness(plain: Scored, changed: Mapping[str, Scored]) -> dict[str, Any]:
    """Return how the scores of changed clips agree with the clips' own."""
    a = plain.values
    return {"clips": len(a), "tags": a.shape[1]} | {
        way: {
            "over_clips": mean(correlation(a, b.values).tolist()),
            "over_tags": mean(correlation(a, b.values, axis=1).tolist()),
            "pooled": mean(correlation(a.reshape(-1, 1), b.values.reshape(-1, 1)).tolist()),
        }
        for way, b in changed.items()
    }


def cost(name: str) -> dict[str, Any]:
    """Return what a tagger costs: GMAC a minute of sound, parameters, bytes of its file."""
    (row,) = hub.costs_of(name)
    found = hub.locate(name)
    size = found.stat().st_size if isinstance(found, Path) else getattr(found, "bytes", None)
    return {
        "gmac_per_minute": float(f"{60 * row.macs_per_second / 1e9:.4g}"),
        "parameters": row.cost.parameters,
        "bytes": size,
        "architecture": row.architecture,
    }


# All of it.


@dataclass(frozen=True)
class Bench:
    """What taggers are measured on, and beside whom."""

    clips: Clips
    noise: Clips
    labels: tuple[str, ...]
    annotated: Annotated
    sample: tuple[int, ...]
    teachers: tuple[str, ...] = ()
    held_out: tuple[str, ...] | None = None
    cache: Path | None = None

    @classmethod
    def of(cls, shared: Path, robustness_clips: int, **options: Any) -> Bench:
        """Read the tables below `shared`.

        Raises
        ------
        DataError
            If a table is missing or does not fit the others, or a group held out is in none.
        ConfigError
            If there are not so many clips for the figures of robustness.
        """
        table = Rows(shared / "music" / "genres.csv")
        label = dict(zip(table.column("path"), table.column("genre"), strict=True))
        clips, noise = clips_of(shared / "music", list(label)), clips_of(shared / "not-music")
        if not 2 <= robustness_clips <= len(clips):
            raise ConfigError(f"--robustness-clips is 2 to {len(clips)}, not {robustness_clips}.")
        if unknown := sorted(set(options.get("held_out") or ()) - set(noise.groups)):
            raise DataError(f"{noise.folder} has no group {unknown[0]!r}: name those of its tracks.csv.")
        drawn = np.random.default_rng(SAMPLE_SEED).choice(len(clips), robustness_clips, replace=False)
        return cls(
            clips,
            noise,
            tuple(label[path] for path in clips.paths),
            annotated(clips, shared / "music" / "human_tags.csv"),
            tuple(sorted(drawn.tolist())),
            **options,
        )

    def place(self, name: str) -> str:
        """Return the shared folder's file of a teacher of the family where it is there, else the name."""
        file = self.clips.folder.parent / FILES[name] if name in FILES else None
        return str(file) if file is not None and file.is_file() else name

    def load(self, name: str) -> Tagger:
        """Return the tagger of that name or file."""
        return lightmel.load(self.place(name), device="cpu")

    def measure(self, name: str) -> dict[str, Any]:
        """Return all figures of one tagger, as plain data.

        Raises
        ------
        LightmelError
            If there is no such tagger or teacher, or a clip cannot be read.
        """
        tagger = self.load(name)
        every = range(len(self.clips))
        ways = dict.fromkeys(WAYS, self.sample)
        scored = score(tagger, self.clips, {PLAIN: every, **ways}, self.cache)
        own = scored.pop(PLAIN)
        # A tagger is no teacher of its own.
        loaded = [t for t in map(self.load, self.teachers) if t.runtime.weights != tagger.runtime.weights]
        teachers = {t.name: score(t, self.clips, {PLAIN: every}, self.cache)[PLAIN] for t in loaded}
        beside = {who: blended([scores], own.tags) for who, scores in teachers.items()}
        together = blended(list(teachers.values()), own.tags) if teachers else None
        if together and len(teachers) > 1:
            beside[ALL] = together
        is_music = next((tag for tag in tagger.tags if concept(tag) == MUSIC), None)
        costs = cost(self.place(name))
        found = {
            "schema": 1,
            "tagger": {
                "name": tagger.name,
                "version": tagger.description.version,
                "license": tagger.description.license,
                "architecture": costs.pop("architecture"),
                "config": tagger.config.slug,
                "segment_seconds": round(tagger.segment_seconds, 4),
                "tags": len(tagger.tags),
                "weights": tagger.runtime.weights,
            },
            "teachers": {t.name: {"weights": t.runtime.weights, "seen": seen(t.name)} for t in loaded},
            "seen": seen(tagger.name),
            "human": human(own, beside, self.annotated),
            "genres": genres(own, self.clips, self.labels),
            "agreement": agreement(own, together, self.clips) if together else None,
            "said": said(own, tagger.description.thresholds),
            "music": None,
            "robustness": robustness(
                Scored(own.tags, own.values[list(self.sample)]), {way: scored[way] for way in WAYS}
            ),
            "cost": costs,
            "protocol": PROTOCOL,
            "seeds": {"intervals": INTERVALS.seed, "robustness_clips": SAMPLE_SEED},
            "data": {
                f"{folder.name}/{table}": sha256(folder / table)
                for folder, tables in (
                    (self.clips.folder, ("genres.csv", "human_tags.csv", "tracks.csv")),
                    (self.noise.folder, ("tracks.csv",)),
                )
                for table in tables
            },
        }
        if is_music is not None:
            other = score(tagger, self.noise, {PLAIN: range(len(self.noise))}, self.cache)[PLAIN]
            found["music"] = music(is_music, own, self.clips, other, self.noise, self.held_out)
        return found


def said(own: Scored, thresholds: Sequence[float]) -> dict[str, float | None] | None:
    """Return for each category the share of clips of which a tag is said; None without thresholds."""
    if not thresholds:
        return None
    reached = own.values >= np.array(thresholds)
    about = np.array([category(tag) for tag in own.tags])
    return {
        name: rounded(float(reached[:, about == name].any(axis=1).mean()))
        for name in CATEGORIES
        if (about == name).any()
    }


def file_name(name: str) -> str:
    """Return the name of a tagger's file of results."""
    return re.sub(r"[^\w.-]+", "-", name) + ".json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("taggers", nargs="+", metavar="TAGGER", help="names or files")
    parser.add_argument("--teachers", nargs="+", default=[], metavar="NAME", help="names or files")
    parser.add_argument(
        "--shared", type=Path, default=Path("../shared"), help="folder of music and not-music"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--cache", type=Path, help="folder that keeps scores")
    parser.add_argument(
        "--robustness-clips", type=int, default=100, help="how many clips are scored changed (default: 100)"
    )
    parser.add_argument(
        "--not-music-heldout",
        type=Path,
        metavar="FILE",
        help="groups of not-music, one a line, that the taggers were not trained on",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results: dict[str, dict[str, Any]] = {}
    try:
        held_out = None
        if options.not_music_heldout is not None:
            lines = options.not_music_heldout.read_text(encoding="utf-8").splitlines()
            held_out = tuple(line.strip() for line in lines if line.strip())
        bench = Bench.of(
            options.shared,
            options.robustness_clips,
            teachers=tuple(options.teachers),
            held_out=held_out,
            cache=options.cache,
        )
        for name in options.taggers:
            began = time.perf_counter()
            found = bench.measure(name)
            file = file_name(found["tagger"]["name"])
            if file in results:
                raise ConfigError(f"Two taggers are called {found['tagger']['name']}: measure one at a time.")
            results[file] = found
            text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
            write_whole(options.out / file, f"{text}\n".encode(), DataError)
            print(f"{file}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    except (LightmelError, OSError) as error:
        raise SystemExit(f"family/quality.py: {error}") from None
    print(pages_table(list(results.values())), end="")


if __name__ == "__main__":
    main()

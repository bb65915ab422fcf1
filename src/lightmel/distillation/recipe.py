"""From a folder of music to a saved student and its card, in one call."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from .._files import beside, write_whole
from ..checkpoint import check_path
from ..datasets import Track, find_tracks, read_human_annotations, read_tracks, whole_path
from ..errors import ConfigError, TrainingError
from ..inference import Tagger
from ..training import NO_CALLBACKS, Callbacks
from .config import MusicConfig, StudentJob
from .corpus import hold_out_tracks
from .report import Report, card, compare_with_teacher
from .student import distill


def make_student(
    job: StudentJob, teachers: Sequence[Tagger], callbacks: Callbacks = NO_CALLBACKS
) -> tuple[Tagger, Report]:
    """Distil `teachers` on a folder of music; write the student, and its card and report beside it.

    Parameters
    ----------
    job
        What is made of what, and where it goes.
    teachers
        As in `distill`; figures are compared with the first one's.
    callbacks
        Functions to call as it goes on.

    Raises
    ------
    LightmelError
        If there is no music, or too few groups to hold some out; if the human annotations have none of the
        held-out tracks; if the student's file cannot be written.
    """
    music, out, config = Path(job.music), Path(job.out), job.distillation
    check_path(out)
    tracks = chosen_tracks(music, job.selection)
    annotations = job.selection.human_annotations
    given = read_human_annotations(annotations) if annotations else None
    train, held = hold_out_tracks(tracks, config.holdout, config.split_seed)
    if given is not None and not any(whole_path(track.path) in given for track in held):
        raise ConfigError(
            f"{annotations} names none of the {len(held)} held-out tracks, such as {held[0].path}: there is "
            "nothing to evaluate on. Its paths are relative to its folder; another split_seed holds out "
            "other groups."
        )
    student, result = distill(
        teachers, train, config, job.training, work=job.work, callbacks=callbacks, device=job.device
    )
    report = compare_with_teacher(
        student, teachers[0], held, excerpt_seconds=config.excerpt_seconds, human_annotations=given
    )
    description = replace(
        student.description,
        name=job.signature.name or out.name.removesuffix(".safetensors"),
        version=job.signature.version,
        license=job.signature.license or "not stated",
        provenance=dict(student.description.provenance) | {"measured": report.to_dict()},
    )
    student = Tagger(result.network, description)
    student.save(out)
    folder = music if music.is_dir() else music.parent
    sources = Counter(_source(t.path, folder) for t in train)
    text = card(student, teachers[0], report, dict(sources.most_common()), job.command)
    # Names of folders need not be UTF-8.
    write_whole(beside(out, ".md"), text.encode(errors="backslashreplace"), TrainingError)
    evaluation = None
    if report.evaluation is not None:
        signed = replace(report.evaluation, model=description.name, version=description.version)
        evaluation = signed.to_dict()
    figures = {
        "report": report.to_dict(),
        "evaluation": evaluation,
        "history": result.history,
        "command": job.command,
    }
    write_whole(beside(out, ".json"), (json.dumps(figures, indent=1) + "\n").encode(), TrainingError)
    return student, report


def chosen_tracks(music: Path, selection: MusicConfig) -> list[Track]:
    """Return the tracks of a folder or a table whose names match.

    Raises
    ------
    AudioError, DataError
        If there are none, or the table cannot be read.
    ConfigError
        If no name matches.
    """
    tracks = find_tracks(music) if music.is_dir() else read_tracks(music)
    found = [t for t in tracks if fnmatch(t.path.name, selection.match)]
    if not found:
        raise ConfigError(f"No file in {music} has a name that matches {selection.match!r}.")
    return found


def _source(path: Path, folder: Path) -> str:
    """Return the folder in `folder` that a file is from; for a file from elsewhere, its own folder."""
    below = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    return below[0] if len(below) > 1 else path.resolve().parent.name

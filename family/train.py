"""Train the family: every tagger of ``students.toml`` that is not there yet, one after another.

    python family/train.py --work WORK --shared ../shared

The teachers score the music once for all of them, in WORK, and each tagger goes to WORK/weights; what its
epochs were like goes to ``family/history``. A run that is stopped goes on with the same command. Taggers that
are there, or in the package already, are left as they are.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import tomllib
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lightmel.datasets import read_tracks
from lightmel.distillation import DISTILL_TRAINING, DistillConfig, distill
from lightmel.inference import Tagger, load
from lightmel.training import Callbacks

HERE = Path(__file__).resolve().parent
HISTORY = HERE / "history"
PACKAGE = HERE.parent / "src" / "lightmel" / "pretrained"
PRECISION = "bfloat16"
"""Of the teachers that are not the start: their logits move by some hundredths, and take half the time."""
FILES = {
    "public:pons2019-mtat-musicnn": "teachers/pons/MTT_musicnn.npz",
    "public:pons2019-mtat-vgg": "teachers/pons/MTT_vgg.npz",
    "public:pons2019-msd-musicnn": "teachers/pons/MSD_musicnn.npz",
    "public:pons2019-msd-vgg": "teachers/pons/MSD_vgg.npz",
    "public:schmid2023-audioset-mobilenet": "teachers/efficientat/mn04_as_mAP_432.pt",
}
"""Where the teachers' files lie in the folder of shared data; without it they are fetched by name."""


def teacher(name: str, shared: Path, precision: str = "float32") -> Tagger:
    """Return a teacher from the shared data, or fetched by its name."""
    file = shared / FILES[name]
    return load(file if file.is_file() else name, precision=precision)


def settings(family: dict[str, Any], student: dict[str, Any], shared: Path) -> tuple[DistillConfig, Any]:
    """Return what a student is and is trained on, and how."""
    own = {**family["distillation"], **student.get("distillation", {})}
    if start := own.get("start"):
        file = shared / FILES[start]
        own["start"] = str(file) if file.is_file() else start
    training = {**family["training"], **student.get("training", {})}
    return DistillConfig(**own), replace(DISTILL_TRAINING, **training)


def train(name: str, family: dict[str, Any], shared: Path, work: Path) -> None:
    """Train one student and write its tagger and history."""
    student = next(s for s in family["student"] if s["name"] == name)
    config, training = settings(family, student, shared)
    teachers = [teacher(t, shared, PRECISION) for t in family["teachers"]]
    began = time.monotonic()
    shown = [0.0]

    def tell(what: str, done: int, total: int) -> None:
        if time.monotonic() - shown[0] > 30 or done == total:
            shown[0] = time.monotonic()
            print(f"{name}: {what} {done}/{total}, {shown[0] - began:.0f} s", flush=True)

    def line(history: Any) -> None:
        print(f"{name}: {json.dumps(history)}", flush=True)

    tracks = read_tracks(work / student.get("music", "music.csv"))
    callbacks = Callbacks(on_progress=tell, on_epoch=line)
    tagger, result = distill(teachers, tracks, config, training, work=work, callbacks=callbacks)
    provenance = {**tagger.description.provenance, "clips": len(tracks)}
    if config.start:
        plain = {**provenance["distillation"], "start": student["distillation"]["start"]}
        provenance["distillation"] = plain
    description = replace(
        tagger.description,
        name=name,
        version=family["version"],
        license=student.get("license", family["license"]),
        provenance=provenance,
    )
    write_history(name, result.history)
    Tagger(result.network, description).save(weights(work) / f"{name}.safetensors")


def weights(work: Path) -> Path:
    """Return the folder of what is trained and not finished yet."""
    folder = work / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_history(name: str, history: list[dict[str, float]]) -> None:
    """Write what the epochs were like, and the seconds of them all."""
    HISTORY.mkdir(exist_ok=True)
    text = json.dumps({"seconds": round(sum(h["seconds"] for h in history)), "history": history}, indent=1)
    (HISTORY / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--family", type=Path, default=HERE / "students.toml")
    parser.add_argument("--only", default="*", help="a pattern of names")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    family = tomllib.loads(given.family.read_text(encoding="utf-8"))
    for student in family["student"]:
        name = student["name"]
        done = [folder / f"{name}.safetensors" for folder in (weights(given.work), PACKAGE)]
        if fnmatch(name, given.only) and not any(file.exists() for file in done):
            train(name, family, given.shared.resolve(), given.work)


if __name__ == "__main__":
    main()

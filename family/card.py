"""Write the model card of each tagger of the family, from its file and from what was measured.

    python family/card.py

A card is ``NAME.md`` beside ``NAME.safetensors``. Its figures are those of ``NAME.json`` in the folder of
results, which `family/quality.py` wrote; nothing in it is typed by hand.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figure import ALL, GENRES, MEASURES, RESULTS, WAYS, number, ranged, signed
from ledger import read_rows
from lightmel import hub
from lightmel.checkpoint import read_description
from lightmel.evaluation import markdown
from lightmel.vocabularies import MUSIC
from music import NOTES, held_out_not_music, is_held_out
from train import HISTORY, PACKAGE

NOTICES = {
    "public:pons2019": "Pons and Serra, musicnn (ISC)",
    "public:schmid2023": "Schmid, Koutini and Widmer, EfficientAT mn04 (MIT); names of classes from AudioSet "
    "(Google, CC BY 4.0)",
}
"""What the teachers' licenses want to be named, by the beginning of their names."""
COMMON = 8
"""As many licenses of recordings are named; the ledger names them all."""


def teachers_table(result: dict[str, Any]) -> str:
    """Return the figures against human annotations, beside each teacher's on the same clips and tags."""
    human = result["human"]
    rows = [("this tagger", str(human["tags"]), *(ranged(human[m]) for m in MEASURES), "")]
    for name, figures in human["teachers"].items():
        rows.append(
            (
                name if name == ALL else f"`{name}`",
                str(figures["tags"]),
                *(ranged(figures[m]) for m in MEASURES),
                signed(figures["roc_auc"]["difference"]),
            )
        )
    return markdown(("", "tags", *MEASURES.values(), "this tagger's ROC AUC less the teacher's"), rows)


def figures_table(result: dict[str, Any]) -> str:
    """Return the other figures."""
    agreement, music = result["agreement"], result["music"]
    rows = [(f"ROC AUC of the genre {g}", number(result["genres"][g]["value"])) for g in GENRES]
    rows += [
        ("correlation with the teachers, mean over tags", number(agreement["correlation"])),
        *(
            (f"of that, {name} ({found['tags']} tags)", number(found["correlation"]))
            for name, found in agreement["per_category"].items()
        ),
        ("of the teachers' five best tags", f"{agreement['top5']:.2f}"),
    ]
    rows += [
        (f"share of clips of which some {c} is said", number(s)) for c, s in (result["said"] or {}).items()
    ]
    if music and music["held_out"]:
        held = music["held_out"]
        rows.append((f"music against what is none ({held['not_music']} clips), ROC AUC", ranged(held)))
    for way, title in WAYS.items():
        found = result["robustness"][way]
        rows.append((f"correlation with its own scores: {title}", number(found["over_clips"])))
    return markdown(("held-out clips", "figure"), rows)


def tags_table(result: dict[str, Any], thresholds: Mapping[str, float]) -> str:
    """Return each annotated tag's figures, the most frequent tag first."""
    rows = [
        (
            tag,
            str(own["true"]),
            *(number(own[m]) for m in MEASURES),
            f"{thresholds[tag]:.2f}" if thresholds else "",
        )
        for tag, own in sorted(result["human"]["per_tag"].items(), key=lambda item: -item[1]["true"])
    ]
    return markdown(("tag", "clips with it", *MEASURES.values(), "threshold"), rows)


def card(path: Path, result: dict[str, Any]) -> str:
    """Return the card of the tagger at `path`."""
    d = read_description(path)
    provenance = d.provenance
    (row,) = hub.costs_of(str(path))
    names = [name.split()[0] for name in provenance["teachers"]]
    notices = sorted({text for name in names for start, text in NOTICES.items() if name.startswith(start)})
    start = provenance["distillation"].get("start")
    began = f" It started from the weights of `{start}`." if start else ""
    history = json.loads((HISTORY / f"{path.stem}.json").read_text(encoding="utf-8"))
    minutes = history["seconds"] / 60
    gmac = 60 * row.macs_per_second / 1e9
    annotated, agreement = result["human"], result["agreement"]
    return f"""# {d.name}

- Version {d.version}. License of the weights: **{d.license}**, for every use.
- Network: {row.architecture}, {row.cost.parameters:,} parameters; input `{d.config.slug}`, segments of \
{d.segment_seconds:g} s; {len(d.tags)} tags; {gmac:.3g} GMAC a minute of sound.
- Teachers: {"; ".join(notices)}.{began}
  It was trained on their scores, without labels, and repeats their errors.
{recordings(provenance["clips"])}

```python
import lightmel

tagger = lightmel.load("{d.name}")
print(tagger.tag("song.mp3"))
```

## Measured

Against human annotations of {annotated["clips"]} clips of {annotated["groups"]} groups that it was not \
trained on; the recordings are in MagnaTagATune, from which teachers learned. Its chances were fitted on \
these clips (below), which moves the order of clips, on which ROC AUC and PR AUC rest, only slightly:

{teachers_table(result)}

Each tag, and how many of the {annotated["clips"]} clips people gave it; with few of them a figure is rough:

{tags_table(result, dict(zip(d.tags, d.thresholds, strict=False)))}

On {agreement["clips"]} clips that it was not trained on:

{figures_table(result)}

Ranges are 95 % intervals over groups. `python family/quality.py` measured, `python family/card.py` wrote it.

## Chances and thresholds

{chances(path.with_suffix(".json"))}

## What it is for

Finding and sorting music by genre, instrument, voice and mood, and telling music from speech and noise. It
is not for decisions about people, and its tags are not the last word: they are guesses of a small
network. It hardly knows what its training music lacks: sung pop, soul, rap and country, and the songs of many
countries.

`python family/train.py` trained it in {minutes:.0f} minutes on one thread (`family/history`), with the \
settings of `family/students.toml`.
"""


def recordings(clips: int) -> str:
    """Return what a tagger of so many clips was trained on: recordings, phrases of notes, their licenses.

    Counted is what `family/music.py` takes of the ledger: what is held out of it is not.
    """
    named = [row for row in read_rows() if row.used == "train"]
    held = held_out_not_music(named)
    rows = [row for row in named if not is_held_out(row, held)]
    notes = sum(row.path.startswith(NOTES) for row in rows)
    whole = len(rows) - notes
    licenses = Counter(row.license for row in rows)
    counts = ", ".join(f"{name} ({count})" for name, count in licenses.most_common(COMMON))
    return (
        f"- Music: {clips} clips, {whole} of them recordings as they are, {clips - whole} phrases that were "
        f"made of {notes} recordings of single notes.\n"
        f"  Licenses of the {len(rows)} recordings, which allow commercial use and changes: {counts} and "
        f"{len(licenses) - COMMON} more.\n"
        "  Each recording is named in `ledger.csv`, in the folder `family` of lightmel's source repository."
    )


def chances(file: Path) -> str:
    """Return what chances and thresholds rest on, from what `family/finish.py` wrote beside the tagger."""
    if not file.is_file():
        return "Its scores are not calibrated: rank by them, and set thresholds of your own."
    found = json.loads(file.read_text(encoding="utf-8"))
    agreement, few = found["agreement"], f"{len(found['verified'])} tags"
    common = ", ".join(f"`{name}` {a:.2f} {b:+.2f}" for name, (a, b) in found["teachers"].items())
    lines = [
        f"Its scores are chances, and each tag has the threshold of the highest expected F1 over "
        f"{found['clips']} clips of {found['groups']} groups.",
        f"{found['annotated_clips']} of them have human annotations: {few} are verified. The others, marked "
        f"`~`, are as high as the tags of their teachers that have annotations (slope and offset: {common}).",
        f"Against annotations of left-out groups: calibration error {agreement['pooled_error']:.3f} "
        f"({agreement['pooled_error_before']:.3f} before), F1 {_mean(agreement['f1']):.3f} over the {few} "
        f"({_mean(agreement['f1_before']):.3f} before, with .5 as the threshold).",
    ]
    for what, own in found["sounds"].items():
        throughout = " throughout" if what == MUSIC else ""
        kept = (
            f": {own['kept']:.1%} of {own['clips']} clips reach it{throughout}"
            if own["kept"] is not None
            else ""
        )
        told = f", {1 - own['told']:.1%} of {own['others']} others" if own["told"] is not None else ""
        lines.append(f"`{what}` holds from {own['threshold']:.2f} on{kept}{told}.")
    return "\n".join(f"- {line}" for line in lines)


def _mean(figures: Mapping[str, float | None]) -> float:
    known = [value for value in figures.values() if value is not None]
    return sum(known) / len(known) if known else float("nan")


def main() -> None:
    """Write the cards of the taggers that were measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, default=PACKAGE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    for path in sorted(given.weights.glob("lightmel-*.safetensors")):
        result = json.loads((given.results / f"{path.stem}.json").read_text(encoding="utf-8"))
        path.with_suffix(".md").write_text(card(path, result), encoding="utf-8")
        print(path.with_suffix(".md"))


if __name__ == "__main__":
    main()

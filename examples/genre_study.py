"""Say from how many clips on a tuned tagger is better than the tags that the default has already.

The clips are those of a folder with ``genres.csv`` (columns path, genre) and ``tracks.csv`` (path, group).
For each seed the groups are divided: one part is for testing, and from the other 25, 50, 100 and 200 clips
are drawn, the fewer among the more. On these, taggers are tuned for the genres: from several taggers on, the
head first and then all; the head of the default alone, which is what ``--keep-tags`` trains; from scratch;
and on embeddings alone. All are evaluated on the same test clips, and so are the tags of these genres that
the taggers had before::

    python examples/genre_study.py music results

Features and embeddings are computed once. A cell of the table is one file of figures, so that a study which
was interrupted goes on, and several may work at different seeds (``--seeds``) once the features are there.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import lightmel
from lightmel.datasets import Dataset, Rows, Split, stratify
from lightmel.evaluation import ClipSet, Evaluation, evaluate_scores, markdown, score_clips
from lightmel.features import FeatureStore, build_store, label_features
from lightmel.inference import Tagger
from lightmel.training import FinetuneConfig, TaggerConfig, TrainConfig, finetune, train_tagger

BASES = {
    "default": "lightmel-mobilenet-16k-mel48-x2-db",
    "mobilenet x10": "lightmel-mobilenet-16k-mel48-x10-db",
    "vgg x10": "lightmel-vgg-16k-mel48-x10-db",
}
SCRATCH_NETWORK = "mobilenet-16k-mel48-x2-db"
"""The network of the default, with fresh weights."""
SHARES = (0.72, 0.28)
"""Of the clips to draw from, and of those for testing; groups stay together."""

Stores = dict[str, FeatureStore]
"""Features by their slug."""


class Cell(NamedTuple):
    """What a training is given."""

    data: Dataset
    stores: Stores
    seed: int
    work: Path


def tuned(base: str, **settings: object) -> Callable[[Cell], Evaluation | None]:
    """Return what fine-tunes a tagger."""

    def learn(cell: Cell) -> Evaluation | None:
        tagger = lightmel.load(base, device="cpu")
        config = FinetuneConfig(seed=cell.seed, **settings)  # type: ignore[arg-type]
        work = cell.work if config.embeddings else None  # embeddings are computed once for all cells
        store = cell.stores[tagger.config.slug]
        return finetune(tagger, cell.data, store, config, work=work, device="cpu").evaluation

    return learn


def scratch(cell: Cell) -> Evaluation | None:
    """Train the default's network from fresh weights, in as many passes."""
    like = FinetuneConfig(seed=cell.seed)
    default = lightmel.load(BASES["default"], device="cpu")
    what = TaggerConfig(
        SCRATCH_NETWORK, default.segment_seconds, excerpts=like.excerpts, augment=like.augment
    )
    training = TrainConfig(
        epochs=like.passes,
        batch_size=like.batch_size,
        optimizer="adamw",
        schedule="onecycle",
        lr=like.head_lr,
        clip_norm=1.0,
        seed=cell.seed,
    )
    store = cell.stores[default.config.slug]
    return train_tagger(cell.data, store, what, training, device="cpu").evaluation


RUNS: dict[str, Callable[[Cell], Evaluation | None]] = {
    **{f"all of {name}": tuned(base) for name, base in BASES.items()},
    "head of default": tuned(BASES["default"], epochs=0),
    **{f"embeddings of {name}": tuned(base, embeddings=True) for name, base in BASES.items()},
    "from scratch": scratch,
}


def own_tags(tagger: Tagger, data: Dataset, store: FeatureStore) -> Evaluation:
    """Measure a tagger's own tags of these genres on the test clips."""
    labeled = label_features(data, store, tagger.network.input_shape[1], ["test"])
    columns = [tagger.tags.index(tag) for tag in data.tags]
    examples = labeled.examples["test"]
    scores = score_clips(tagger.network.eval(), examples)[:, columns]
    clips = ClipSet(data.name, data.protocol, "test", labeled.failed["test"])
    return evaluate_scores(tagger, examples.labels.numpy() >= 0.5, scores, data.tags, clips)


def read(music: Path) -> tuple[list[str], list[str], list[str]]:
    """Return paths, genres and groups of the clips."""
    labels, tracks = Rows(music / "genres.csv"), Rows(music / "tracks.csv")
    group = dict(zip(tracks.column("path"), tracks.column("group"), strict=True))
    paths = labels.column("path")
    return paths, labels.column("genre"), [group[path] for path in paths]


def drawn(music: Path, clips: int, seed: int) -> Dataset:
    """Return so many clips to learn from, and the test clips; by the seed, whatever the number of clips."""
    paths, genres, groups = read(music)
    tags = tuple(sorted(set(genres)))
    labels = np.array([[genre == tag for tag in tags] for genre in genres])
    part = stratify(groups, labels, SHARES, seed)
    pool = np.random.default_rng(seed).permutation(np.flatnonzero(part == 0))
    firsts = [next(i for i in pool if labels[i, tag]) for tag in range(len(tags))]  # none goes without
    pool = np.array([*firsts, *(i for i in pool if i not in firsts)])
    if len(pool) < clips:
        raise SystemExit(f"Seed {seed} leaves {len(pool)} clips to draw from: ask for fewer than {clips}.")

    def split(rows: np.ndarray) -> Split:
        return Split(tuple(paths[i] for i in rows), labels[rows], tuple(groups[i] for i in rows))

    return Dataset(
        name=music.resolve().name,
        protocol=f"{clips} clips, split by group {SHARES[0]:g}/{SHARES[1]:g}, seed {seed}",
        root=music,
        tags=tags,
        splits={"train": split(np.sort(pool[:clips])), "test": split(np.flatnonzero(part == 1))},
        citation="see its README.md",
        license="see its tracks.csv",
        source="genres.csv",
    )


def stored(music: Path, folder: Path) -> Stores:
    """Return the features of all clips for every tagger, which are computed where they are not there yet."""
    paths, _, _ = read(music)
    stores: Stores = {}
    for base in BASES.values():
        config = lightmel.load(base, device="cpu").config
        place = folder / config.slug
        if config.slug in stores:
            continue
        if place.exists() and len(found := FeatureStore.open(place)) == len(paths):
            stores[config.slug] = found
        else:
            stores[config.slug] = build_store(
                place, {path: music / path for path in paths}, config, workers=1
            )
    return stores


def cell(file: Path, measure: Callable[[], Evaluation | None]) -> Evaluation:
    """Return the figures in a file, which are measured where there is none."""
    if not file.exists():
        evaluation = measure()
        assert evaluation is not None
        evaluation.save(file)
        print(f"{file.stem}: ROC AUC {evaluation.macro_roc_auc:.3f}", flush=True)
    return Evaluation.load(file)


def told(figures: Sequence[float]) -> str:
    """Return the mean over the seeds, and their standard deviation where there are several."""
    spread = f" ± {np.std(figures, ddof=1):.3f}" if len(figures) > 1 else ""
    return f"{np.mean(figures):.3f}{spread}"


def sentence(how: str, found: dict[int, list[float]], own: Sequence[float]) -> str:
    """Say from how many clips on a way of tuning is better than the default's own tags, on the mean."""
    ahead = {clips: np.array(figures) - own for clips, figures in found.items()}
    enough = None
    for clips in sorted(ahead, reverse=True):
        if ahead[clips].mean() <= 0:
            break
        enough = clips
    if enough is None:
        return f"{how}: not with {max(ahead)} clips ({ahead[max(ahead)].mean():+.3f})."
    by = ", ".join(
        f"{clips}: {gain.mean():+.3f}, ahead for {int((gain > 0).sum())} of {len(gain)} seeds"
        for clips, gain in ahead.items()
        if clips >= enough
    )
    return f"{how}: from {enough} clips on ({by})."


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run what is not there yet, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("music", type=Path, help="folder with genres.csv, tracks.csv and the clips")
    parser.add_argument("results", type=Path, help="folder of the figures; features go there too")
    parser.add_argument("--clips", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS), help="some of the ways")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.getLogger("lightmel").setLevel(logging.ERROR)  # it would say of every cell that clips are few
    stores = stored(given.music, given.results / "features")
    own: dict[str, list[Evaluation]] = {name: [] for name in BASES}
    found: dict[str, dict[int, list[Evaluation]]] = {how: {n: [] for n in given.clips} for how in given.only}
    for seed in given.seeds:
        data = drawn(given.music, max(given.clips), seed)
        for name, base in BASES.items():
            tagger = lightmel.load(base, device="cpu")
            file = given.results / f"own-tags-of-{name.replace(' ', '-')}-seed{seed}.json"
            own[name].append(
                cell(file, lambda t=tagger, d=data: own_tags(t, d, stores[t.config.slug]))  # type: ignore[misc]
            )
        for clips in given.clips:
            data = drawn(given.music, clips, seed)
            for how in given.only:
                file = given.results / f"{how.replace(' ', '-')}-{clips}-seed{seed}.json"
                what = Cell(data, stores, seed, given.results / "embeddings")
                found[how][clips].append(cell(file, lambda h=how, w=what: RUNS[h](w)))  # type: ignore[misc]

    def means(evaluations: Sequence[Evaluation]) -> list[float]:
        return [e.macro_roc_auc for e in evaluations]

    tests = [e.clips for e in own["default"]]
    print(f"\nROC AUC, mean of {', '.join(data.tags)}; {len(given.seeds)} seeds, each {min(tests)} to")
    print(f"{max(tests)} test clips of other groups\n")
    head = ("", *(f"{clips} clips" for clips in given.clips))
    rows = [
        *((f"own tags of {name}", *(told(means(es)) for _ in given.clips)) for name, es in own.items()),
        *((how, *(told(means(found[how][n])) for n in given.clips)) for how in given.only),
    ]
    print(markdown(head, rows))
    largest = max(given.clips)
    rows = [
        *(
            (f"own tags of {n}", *(told([e.roc_auc[t] for e in es]) for t in data.tags))
            for n, es in own.items()
        ),
        *(
            (how, *(told([e.roc_auc[t] for e in found[how][largest]]) for t in data.tags))
            for how in given.only
        ),
    ]
    print(f"\nROC AUC of each genre, with {largest} clips\n")
    print(markdown(("", *data.tags), rows))
    print("\nBetter than the default's own tags:\n")
    for how in given.only:
        figures = {clips: means(found[how][clips]) for clips in given.clips}
        print(f"- {sentence(how, figures, means(own['default']))}")


if __name__ == "__main__":
    main()

"""Say how many clips a tuned tagger needs: to beat the tags there were, or a network trained from scratch.

The clips are those of a folder with ``genres.csv`` (columns path, genre) and ``tracks.csv`` (path, group), or
of a table with a column ``split``, such as that of `lightmel study mixtures`. The groups of a folder are
divided anew for each seed; a table keeps its test clips. From the clips that are not for testing 25, 50, 100
and 200 are drawn for each seed, the fewer among the more. On these, taggers are tuned: from several taggers
on, the head first and then all; the head of the default alone, which is what ``--keep-tags`` trains; from
scratch; and on embeddings alone. All are evaluated on the same test clips, and so are a tagger's own tags,
where it has them all::

    python examples/finetune_study.py music results-genres
    python examples/finetune_study.py mixtures/clips.csv results-instruments

Features and embeddings are computed once. A cell of the table is one file of figures, so that a study which
was interrupted goes on, and several may work at different seeds (``--seeds``) once the features are there.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import lightmel
from lightmel.datasets import Dataset, Rows, Split, load_table, stratify
from lightmel.evaluation import ClipSet, Evaluation, evaluate_scores, markdown, score_clips
from lightmel.features import FeatureStore, build_store, label_features
from lightmel.inference import Tagger
from lightmel.training import FinetuneConfig, TaggerConfig, TrainConfig, finetune, train_tagger

BASES = {
    "default": "lightmel-mobilenet-16k-mel48-x2-db",
    "mobilenet x10": "lightmel-mobilenet-16k-mel48-x10-db",
    "vgg x10": "lightmel-vgg-16k-mel48-x10-db",
}
SCRATCH = "from scratch"
SCRATCH_NETWORK = "mobilenet-16k-mel48-x2-db"
"""The network of the default, with fresh weights."""
SHARES = (0.72, 0.28)
"""Of a folder's clips: to draw from, and for testing; groups stay together."""

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
        config = FinetuneConfig(seed=cell.seed, **settings)
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
    SCRATCH: scratch,
}


def own_tags(tagger: Tagger, data: Dataset, store: FeatureStore) -> Evaluation:
    """Measure a tagger's own tags on the test clips."""
    labeled = label_features(data, store, tagger.network.input_shape[1], ["test"])
    columns = [tagger.tags.index(tag) for tag in data.tags]
    examples = labeled.examples["test"]
    scores = score_clips(tagger.network.eval(), examples)[:, columns]
    clips = ClipSet(data.name, data.protocol, "test", labeled.failed["test"])
    return evaluate_scores(tagger, examples.labels.numpy() >= 0.5, scores, data.tags, clips)


def divided(music: Path, seed: int) -> Dataset:
    """Return the clips of a folder, divided by their groups."""
    labels, tracks = Rows(music / "genres.csv"), Rows(music / "tracks.csv")
    group = dict(zip(tracks.column("path"), tracks.column("group"), strict=True))
    paths, genres = labels.column("path"), labels.column("genre")
    groups = [group[path] for path in paths]
    tags = tuple(sorted(set(genres)))
    truth = np.array([[genre == tag for tag in tags] for genre in genres])
    part = stratify(groups, truth, SHARES, seed)

    def split(rows: np.ndarray) -> Split:
        return Split(tuple(paths[i] for i in rows), truth[rows], tuple(groups[i] for i in rows))

    return Dataset(
        name=music.resolve().name,
        protocol=f"split by group {SHARES[0]:g}/{SHARES[1]:g}, seed {seed}",
        root=music,
        tags=tags,
        splits={"train": split(np.flatnonzero(part == 0)), "test": split(np.flatnonzero(part == 1))},
        citation="see its README.md",
        license="see its tracks.csv",
        source="genres.csv",
    )


def drawn(source: Path, clips: int, seed: int) -> Dataset:
    """Return so many clips to learn from, and the test clips; by the seed, whatever the number of clips."""
    data = divided(source, seed) if source.is_dir() else load_table(source)
    labels = data.train.labels
    order = np.random.default_rng(seed).permutation(len(labels))
    if len(order) < clips:
        raise SystemExit(f"Seed {seed} leaves {len(order)} clips to draw from: ask for fewer than {clips}.")
    firsts = [next(i for i in order if labels[i, tag]) for tag in range(len(data.tags))]  # none goes without
    chosen = np.sort(list(dict.fromkeys([*firsts, *order]))[:clips])
    train = Split(
        tuple(data.train.paths[i] for i in chosen),
        labels[chosen],
        tuple(data.train.groups[i] for i in chosen),
    )
    return replace(
        data,
        protocol=f"{clips} clips, {data.protocol}" if source.is_dir() else f"{clips} clips, seed {seed}",
        splits={"train": train, "test": data.test},
    )


def stored(sources: Mapping[str, Path], folder: Path) -> Stores:
    """Return the features of all clips for every tagger, which are computed where they are not there yet."""
    stores: Stores = {}
    for base in BASES.values():
        config = lightmel.load(base, device="cpu").config
        place = folder / config.slug
        if config.slug in stores:
            continue
        if place.exists() and set(sources) <= set((found := FeatureStore.open(place)).keys):
            stores[config.slug] = found
        else:
            stores[config.slug] = build_store(place, sources, config, workers=1)
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


def sentence(how: str, found: dict[int, list[float]], before: Mapping[int, Sequence[float]]) -> str:
    """Say from how many clips on a way of tuning is better than something else, on the mean of the seeds."""
    ahead = {clips: np.array(figures) - before[clips] for clips, figures in found.items()}
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
    parser.add_argument("clips_of", type=Path, help="folder with genres.csv and tracks.csv, or a table")
    parser.add_argument("results", type=Path, help="folder of the figures; features go there too")
    parser.add_argument("--clips", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS), help="some of the ways")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.getLogger("lightmel").setLevel(logging.ERROR)  # it would say of every cell that clips are few
    most = {seed: drawn(given.clips_of, max(given.clips), seed) for seed in given.seeds}
    stores = stored(
        {k: v for data in most.values() for k, v in data.sources().items()}, given.results / "features"
    )
    own: dict[str, list[Evaluation]] = {}
    found: dict[str, dict[int, list[Evaluation]]] = {how: {n: [] for n in given.clips} for how in given.only}
    for seed, data in most.items():
        for name, base in BASES.items():
            tagger = lightmel.load(base, device="cpu")
            if not set(data.tags) <= set(tagger.tags):
                continue
            file = given.results / f"own-tags-of-{name.replace(' ', '-')}-seed{seed}.json"
            own.setdefault(name, []).append(
                cell(file, partial(own_tags, tagger, data, stores[tagger.config.slug]))
            )
        for clips in given.clips:
            fewer = drawn(given.clips_of, clips, seed)
            for how in given.only:
                file = given.results / f"{how.replace(' ', '-')}-{clips}-seed{seed}.json"
                what = Cell(fewer, stores, seed, given.results / "embeddings")
                found[how][clips].append(cell(file, partial(RUNS[how], what)))
    show(most[given.seeds[-1]], own, found)


def show(
    data: Dataset, own: Mapping[str, list[Evaluation]], found: Mapping[str, dict[int, list[Evaluation]]]
) -> None:
    """Print means over the seeds, those of each tag with the most clips, and what is better than what."""

    def means(evaluations: Sequence[Evaluation]) -> list[float]:
        return [e.macro_roc_auc for e in evaluations]

    counts = list(next(iter(found.values())))
    largest = max(counts)
    some = [e for cells in found.values() for e in cells[largest]]
    tests = [e.clips for e in some]
    seeds = len(some) // len(found)
    clips = " to ".join(str(n) for n in dict.fromkeys((min(tests), max(tests))))
    print(f"\nROC AUC, mean of {len(data.tags)} tags; {seeds} seeds, {clips} test clips each\n")
    rows = [
        *((f"own tags of {name}", *(told(means(es)) for _ in counts)) for name, es in own.items()),
        *((how, *(told(means(cells[n])) for n in counts)) for how, cells in found.items()),
    ]
    print(markdown(("", *(f"{clips} clips" for clips in counts)), rows))
    print(f"\nROC AUC of each tag, with {largest} clips\n")
    columns = {f"own tags of {name}": es for name, es in own.items()}
    columns |= {how: cells[largest] for how, cells in found.items()}
    rows = [(tag, *(told([e.roc_auc[tag] for e in es]) for es in columns.values())) for tag in data.tags]
    print(markdown(("", *columns), rows))
    against = {}
    if "default" in own:
        against["the default's own tags"] = dict.fromkeys(counts, means(own["default"]))
    if SCRATCH in found:
        against[f"a network trained {SCRATCH}"] = {n: means(es) for n, es in found[SCRATCH].items()}
    for what, before in against.items():
        print(f"\nBetter than {what}:\n")
        for how, cells in found.items():
            if not what.endswith(how):
                print(f"- {sentence(how, {n: means(es) for n, es in cells.items()}, before)}")


if __name__ == "__main__":
    main()

"""Training: it learns, the same seed gives the same weights, and a kill, a stop or a NaN loses nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightmel.distillation.config import DistillConfig
from lightmel.errors import ConfigError, DataError, ShapeError, TrainingError
from lightmel.evaluation.metrics import pr_auc, roc_auc
from lightmel.features.examples import MelExamples, score_clips
from lightmel.features.store import MemoryMels
from lightmel.frontends.mel import MelConfig
from lightmel.models import build_musicnn, build_vgg
from lightmel.training.config import FinetuneConfig, TaggerConfig, TrainConfig
from lightmel.training.state import read_state
from lightmel.training.trainer import Trainer

CONFIG = MelConfig(16_000, 8, 10, "db")
FRAMES = 10


def network(seed: int = 0, dropout: float = 0.1) -> Any:
    return build_musicnn(
        (8, FRAMES),
        2,
        variant="pons",
        timbre=[(0.9, 3, 4)],
        temporal=[(3, 2)],
        width=4,
        dense=8,
        dropout=dropout,
        generator=torch.Generator().manual_seed(seed),
    )


def examples(clips: int = 96, seed: int = 0, longest: int = 25, **options: Any) -> MelExamples:
    """Loud low bands are tag 0, loud high bands tag 1; clips of 5 to `longest` frames."""
    rng = np.random.default_rng(seed)
    labels = rng.random((clips, 2)) > 0.5
    mels = {}
    for i in range(clips):
        mel = rng.standard_normal((8, int(rng.integers(min(5, longest), longest + 1)))).astype(np.float32)
        mel[:4] += 3 * labels[i, 0]
        mel[4:] += 3 * labels[i, 1]
        mels[f"clip-{i}"] = mel
    return MelExamples(MemoryMels(CONFIG, mels), np.arange(clips), labels, FRAMES, **options)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[k], theirs[k]) for k in mine)


SHORT = TrainConfig(epochs=3, batch=16, lr=1e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "optimiser": "adamw",
            "weight_decay": 0.01,
            "schedule": "onecycle",
            "average": 0.99,
            "clip_norm": 1.0,
        },
        {"schedule": "plateau"},
        {"precision": "bfloat16"},
        {"class_weights": "balanced"},
    ],
    ids=lambda c: "-".join(c) or "paper",
)
def test_it_learns(changes: dict[str, Any]) -> None:
    config = replace(SHORT, epochs=10, **changes)
    result = Trainer(network(), config).fit(examples(), examples(seed=1))
    assert result.history[-1]["loss"] < 0.6 * result.history[0]["loss"]
    assert result.history[-1]["valid_pr_auc"] > 0.95
    held_out = examples(seed=2)
    judged = roc_auc(held_out.labels.numpy() > 0.5, score_clips(result.network, held_out), ["0", "1"])
    assert min(judged.values()) > 0.95
    assert not result.network.training


def test_the_same_seed_gives_the_same_weights_and_the_global_random_state_stays() -> None:
    own = network(dropout=0.5)
    before = torch.get_rng_state()
    first = Trainer(own, SHORT).fit(examples())
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    second = Trainer(network(dropout=0.5), SHORT).fit(examples())
    assert same(first.network, second.network)
    other = Trainer(network(dropout=0.5), replace(SHORT, seed=1)).fit(examples())
    assert not same(first.network, other.network)


def test_every_example_is_seen_once_in_an_epoch() -> None:
    class Noted(MelExamples):
        seen: list[int] = []  # noqa: RUF012 - one test, one list

        def batch(self, chosen: Any, rng: Any) -> Any:
            self.seen.extend(chosen.tolist())
            return super().batch(chosen, rng)

    source = examples(clips=37)
    noted = Noted(source.mels, source.rows, source.labels.numpy(), FRAMES)
    Trainer(network(), replace(SHORT, epochs=2)).fit(noted)
    assert sorted(noted.seen[:37]) == sorted(noted.seen[37:]) == list(range(37))
    assert noted.seen[:37] != noted.seen[37:]


def test_the_best_epoch_is_kept_and_waiting_ends() -> None:
    config = replace(SHORT, epochs=40, lr=3e-2, patience=3)
    result = Trainer(network(), config).fit(examples(), examples(seed=1))
    curve = [line["valid_pr_auc"] for line in result.history]
    assert result.stopped == "early"
    assert len(curve) == result.best_epoch + 1 + 3
    assert result.best_epoch == int(np.argmax(curve))
    valid = examples(seed=1)
    judged = pr_auc(valid.labels.numpy() > 0.5, score_clips(result.network, valid), ["0", "1"])
    assert np.mean(list(judged.values())) == pytest.approx(max(curve), abs=1e-12)


def test_a_head_alone_leaves_the_body_as_it_is() -> None:
    own = network()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    result = Trainer(own, replace(SHORT, part="head")).fit(examples())
    after = result.network.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed == {"head.weight", "head.bias"}
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_an_average_keeps_weights_of_its_own() -> None:
    plain = Trainer(network(), SHORT).fit(examples())
    averaged = Trainer(network(), replace(SHORT, average=0.9)).fit(examples())
    assert [line["loss"] for line in plain.history] == [line["loss"] for line in averaged.history]
    assert not same(plain.network, averaged.network)


# -- nothing is lost


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    config = replace(SHORT, average=0.9, schedule="onecycle", save_seconds=0)
    whole = Trainer(network(dropout=0.5), config).fit(examples(), examples(seed=1))
    for stop_at in (1, 6, 8, 13):
        folder = tmp_path / str(stop_at)
        trainer = Trainer(network(dropout=0.5), config)

        def count(done: int, _: int, trainer: Any = trainer, stop_at: int = stop_at) -> None:
            if done == stop_at:
                trainer.stop()

        first = trainer.fit(examples(), examples(seed=1), folder=folder, on_step=count)
        assert first.stopped == "interrupted"
        second = Trainer(network(dropout=0.5), config).fit(
            examples(), examples(seed=1), folder=folder, resume=True
        )
        assert same(second.network, whole.network)
        drop = [{k: v for k, v in line.items() if k != "seconds"} for line in second.history]
        assert drop == [{k: v for k, v in line.items() if k != "seconds"} for line in whole.history]
        lines = (folder / "history.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == second.history


CHILD = """
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("trainer_tests", sys.argv[1])
tests = importlib.util.module_from_spec(spec); spec.loader.exec_module(tests)
import torch
config = tests.replace(tests.SHORT, epochs=6, average=0.9, save_seconds=0.02)
result = tests.Trainer(tests.network(dropout=0.5), config).fit(
    tests.examples(), tests.examples(seed=1), folder=Path(sys.argv[2]), resume=True,
    on_step=lambda done, _: (time.sleep(0.02), print(done, flush=True)),
)
torch.save(result.network.state_dict(), sys.argv[3])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_run_killed_in_mid_epoch_resumes_to_bit_identical_weights(tmp_path: Path) -> None:
    def start(folder: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-c",
            CHILD,
            __file__,
            str(tmp_path / folder),
            str(tmp_path / f"{folder}.pt"),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    kills = 0
    for stop_after in (4, 9, 15):
        child = start("killed")
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= stop_after and int(line) % 6:  # in the middle of an epoch of six steps
                child.send_signal(signal.SIGKILL)
                break
        kills += child.wait() == -signal.SIGKILL
        child.stdout.close()
    assert kills == 3
    for folder in ("killed", "whole"):
        with start(folder) as child:
            child.communicate(timeout=120)
        assert child.returncode == 0
    mine, theirs = (torch.load(tmp_path / f"{f}.pt", weights_only=True) for f in ("killed", "whole"))
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs)


def test_a_stop_before_it_begins_ends_it_after_a_step_and_not_the_next_fit() -> None:
    trainer = Trainer(network(), SHORT)
    trainer.stop()
    assert trainer.fit(examples()).stopped == "interrupted"
    assert trainer.fit(examples()).stopped == "done"


def test_a_run_of_another_kind_is_not_resumed(tmp_path: Path) -> None:
    Trainer(network(), SHORT).fit(examples(), folder=tmp_path)
    with pytest.raises(TrainingError, match="holds a run already"):
        Trainer(network(), SHORT).fit(examples(), folder=tmp_path)
    with pytest.raises(TrainingError, match="differs in lr, seed"):
        Trainer(network(), replace(SHORT, lr=1e-3, seed=4)).fit(examples(), folder=tmp_path, resume=True)
    with pytest.raises(TrainingError, match="differs in initial weights:"):
        Trainer(network(seed=4), SHORT).fit(examples(), folder=tmp_path, resume=True)
    with pytest.raises(TrainingError, match="differs in clips, the labels of the training data"):
        Trainer(network(), SHORT).fit(examples(seed=3), folder=tmp_path, resume=True)
    with pytest.raises(TrainingError, match="differs in the validation clips:"):
        Trainer(network(), SHORT).fit(examples(), examples(seed=1), folder=tmp_path, resume=True)
    with pytest.raises(TrainingError, match="differs in the loss:"):
        Trainer(network(), SHORT, loss=torch.nn.functional.mse_loss).fit(
            examples(), folder=tmp_path, resume=True
        )


def test_other_validation_clips_or_labels_are_another_run(tmp_path: Path) -> None:
    valid = examples(seed=1)
    Trainer(network(), SHORT).fit(examples(), valid, folder=tmp_path)
    turned = MelExamples(valid.mels, valid.rows, 1 - valid.labels.numpy(), FRAMES)
    for other in (examples(seed=2), turned, None):
        with pytest.raises(TrainingError, match="differs in the validation clips:"):
            Trainer(network(), SHORT).fit(examples(), other, folder=tmp_path, resume=True)
    assert Trainer(network(), SHORT).fit(examples(), valid, folder=tmp_path, resume=True).stopped == "done"


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_trainer_goes_on_with_its_own_run(tmp_path: Path, average: float) -> None:
    config = replace(SHORT, average=average)
    trainer = Trainer(network(), config)

    def stop(done: int, _: int) -> None:
        if done == 8:
            trainer.stop()

    first = trainer.fit(examples(), folder=tmp_path, resume=True, on_step=stop)
    assert first.stopped == "interrupted"
    second = trainer.fit(examples(), folder=tmp_path, resume=True)
    assert same(second.network, Trainer(network(), config).fit(examples()).network)


def garbage(kind: str, path: Path) -> None:
    """Write what is no state of this version; torch has another error for each of the first five."""
    state = {"format": 2, "weights": torch.zeros(3)}
    if kind == "an archive":
        path.write_bytes(b"PK\x03\x04 not a checkpoint")
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "a number":
        path.write_bytes(b"\x80\x02M\x00")
    elif kind == "a stop":
        path.write_bytes(b".")
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "a folder":
        path.mkdir()
    else:
        held = {
            "a tensor": torch.zeros(3),
            "a list": [state],
            "no format": {"weights": torch.zeros(3)},
            "the first format": {"format": 1},
            "half of it": state,
        }
        torch.save(held[kind], path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("an archive", "cannot be read: it is damaged"),
        ("text", "cannot be read: it is damaged"),
        ("a number", "cannot be read: it is damaged"),
        ("a stop", "cannot be read: it is damaged"),
        ("nothing", "cannot be read: it is damaged"),
        ("a folder", "cannot be read: [^i]"),
        ("a tensor", "holds no state of a run"),
        ("a list", "holds no state of a run"),
        ("no format", "holds no state of a run"),
        ("the first format", "of another version of lightmel"),
        ("half of it", "lacks averaged, best, config, data, history, identity"),
    ],
)
def test_a_state_that_is_none_is_refused(tmp_path: Path, kind: str, says: str) -> None:
    garbage(kind, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match=says) as caught:
        read_state(tmp_path)
    assert "weights_only" not in str(caught.value)


def test_a_folder_may_be_a_string_and_is_tried_before_the_first_step(tmp_path: Path) -> None:
    Trainer(network(), replace(SHORT, epochs=1)).fit(examples(), folder=str(tmp_path / "new"))
    assert (tmp_path / "new" / "checkpoint.pt").exists()
    (tmp_path / "file").write_text("no folder")
    steps: list[int] = []
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be written"):
        Trainer(network(), SHORT).fit(
            examples(), folder=tmp_path / "file", on_step=lambda done, _: steps.append(done)
        )
    assert not steps


@pytest.mark.parametrize("where", ["mel", "label"])
def test_a_loss_that_is_not_finite_stops_at_its_step_and_keeps_the_last_good_state(
    tmp_path: Path, where: str
) -> None:
    class Broken(MelExamples):
        at = 7

        def batch(self, chosen: Any, rng: Any) -> Any:
            mel, target = super().batch(chosen, rng)
            if self.at == 0:
                (mel if where == "mel" else target)[0] = float("nan")
            self.at -= 1
            return mel, target

    source = examples()
    broken = Broken(source.mels, source.rows, source.labels.numpy(), FRAMES)
    own = network()
    with pytest.raises(TrainingError, match="epoch 1, step 1: the loss is nan") as caught:
        Trainer(own, SHORT).fit(broken, folder=tmp_path)
    assert f"in another folder: the state before that step is in {tmp_path}." in str(caught.value)
    assert not own.training
    assert all(bool(torch.isfinite(v).all()) for v in own.state_dict().values())
    resumed = Trainer(network(), SHORT).fit(examples(), folder=tmp_path, resume=True)
    assert same(resumed.network, Trainer(network(), SHORT).fit(examples()).network)


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, wrote = os.fsync, []

    def full(descriptor: int) -> None:
        wrote.append(descriptor)
        if len(wrote) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TrainingError, match="No space left on device"):
            Trainer(network(), SHORT).fit(examples(), folder=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "history.jsonl"]
    resumed = Trainer(network(), SHORT).fit(examples(), folder=tmp_path, resume=True)
    assert same(resumed.network, Trainer(network(), SHORT).fit(examples()).network)


# -- what is refused


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"average": 1.0},
        {"optimiser": "adm"},
        {"patience": -1},
        {"clip_norm": -1.0},
        {"schedule": "cosine"},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        TrainConfig(**changes)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (TrainConfig, {"lr": float("inf")}),
        (TrainConfig, {"epochs": 1.5}),
        (TrainConfig, {"batch": 2.5}),
        (TrainConfig, {"seed": 1.5}),
        (TrainConfig, {"clip_norm": float("inf")}),
        (TrainConfig, {"lr": "0.1"}),
        (DistillConfig, {"mixtures": float("nan")}),
        (DistillConfig, {"tag_weight": float("nan")}),
        (DistillConfig, {"seconds": float("inf")}),
        (TaggerConfig, {"seconds": float("inf")}),
        (TaggerConfig, {"excerpts": 1.5}),
        (FinetuneConfig, {"head_lr": float("inf")}),
        (FinetuneConfig, {"patience": None}),
    ],
    ids=str,
)
def test_a_number_that_is_none_is_refused(kind: type[Any], changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"^{next(iter(changes))} is a (whole|finite) number, not "):
        kind(**changes)


def test_numbers_of_numpy_become_pythons_own_and_their_run_resumes(tmp_path: Path) -> None:
    config = TrainConfig(
        epochs=np.int64(1), batch=np.int32(16), lr=np.float64(1e-2), seed=np.int64(3), clip_norm=1
    )
    assert config == TrainConfig(epochs=1, batch=16, lr=1e-2, seed=3, clip_norm=1.0)
    kinds = {name: type(value) for name, value in vars(config).items()}
    assert (kinds["epochs"], kinds["lr"], kinds["seed"], kinds["clip_norm"]) == (int, float, int, float)
    Trainer(network(), config).fit(examples(), folder=tmp_path)
    assert Trainer(network(), config).fit(examples(), folder=tmp_path, resume=True).stopped == "done"


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_network_is_left_as_it_is_used_whether_its_training_went_well_or_not(average: float) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    def fit(on_step: Any) -> Any:
        own = build_vgg((8, FRAMES), 2, widths=(4, 4, 4, 4), pools=((2, 2), (2, 2), (2, 2), (1, 1)))
        own.memory_format = torch.channels_last
        try:
            Trainer(own, replace(SHORT, epochs=1, average=average)).fit(examples(), on_step=on_step)
        except KeyboardInterrupt:
            assert on_step is fail
        return own

    for own in (fit(None), fit(fail)):
        assert not any(module.training for module in own.modules())
        assert all(p.is_contiguous() for p in own.parameters())


def test_what_does_not_fit_is_refused() -> None:
    source = examples()
    with pytest.raises(ConfigError, match="validation data"):
        Trainer(network(), replace(SHORT, patience=2)).fit(source)
    three = MelExamples(source.mels, source.rows, np.zeros((96, 3)), FRAMES)
    with pytest.raises(ConfigError, match="2 outputs, the labels 3 tags"):
        Trainer(network(), SHORT).fit(three)
    with pytest.raises(ConfigError, match="single one"):
        Trainer(network(), replace(SHORT, batch=1)).fit(source)
    silent = MelExamples(source.mels, source.rows, np.zeros((96, 2)), FRAMES)
    steps: list[int] = []
    with pytest.raises(ConfigError, match="nothing can be judged"):
        Trainer(network(), SHORT).fit(source, silent, on_step=lambda done, _: steps.append(done))
    assert not steps, "that can be seen before the first"
    with pytest.raises(ShapeError, match="96 clips want labels"):
        MelExamples(source.mels, source.rows, np.zeros((95, 2)), FRAMES)
    with pytest.raises(DataError, match="no clips"):
        MelExamples(source.mels, [], np.zeros((0, 2)), FRAMES)
    for row in (96, -1):
        with pytest.raises(DataError, match=f"no row {row}: the 96 clips have rows from 0 on"):
            MelExamples(source.mels, [0, row], np.zeros((2, 2)), FRAMES)
    with pytest.raises(DataError, match="clip 1, tag 0 is nan"):
        MelExamples(source.mels, [0, 1], [[0.0, 1.0], [np.nan, 0.0]], FRAMES)


# -- examples


def test_all_of_a_clip_is_judged_and_the_mean_is_over_segments() -> None:
    source = examples(clips=12, longest=47)
    own = network().eval()
    for i in range(len(source)):
        frames = int(source.mels.frames[i])
        parts = source.segments(i)
        assert len(parts) == max(1, -(-frames // FRAMES))
        mel = torch.from_numpy(source.mels[i])
        if frames >= FRAMES:
            assert torch.equal(parts[-1], mel[:, -FRAMES:])
            assert torch.equal(parts[0], mel[:, :FRAMES])
        with torch.inference_mode():
            expected = own(parts).double().sigmoid().mean(dim=0).numpy()
        np.testing.assert_allclose(score_clips(own, source)[i], expected, atol=1e-6)


def test_excerpts_are_cut_anywhere() -> None:
    source = examples(clips=1, longest=40)
    frames = int(source.mels.frames[0])
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        mel, _ = source.batch(np.array([0]), rng)
        whole = source.mels[0]
        seen |= {s for s in range(frames - FRAMES + 1) if np.array_equal(whole[:, s : s + FRAMES], mel[0])}
    assert seen == set(range(frames - FRAMES + 1))

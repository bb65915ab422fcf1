"""Training: it learns, the same seed gives the same weights, and a kill, a stop or a NaN loses nothing."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightmel.errors import ConfigError, DataError, ShapeError, TrainingError
from lightmel.evaluation import pr_auc, roc_auc, score_clips
from lightmel.features import FeatureExamples, MemoryFeatures
from lightmel.frontends import MelConfig, config_from_slug
from lightmel.inference.runtimes import devices
from lightmel.models import TaggingNetwork, build_musicnn, build_vgg
from lightmel.training import TaggerConfig, TrainConfig, Trainer
from lightmel.training.distributed import World
from lightmel.training.run import MovingAverage
from lightmel.training.supervised import check_request
from lightmel.training.trainer import _default_device

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


def examples(clips: int = 96, seed: int = 0, longest: int = 25, **options: Any) -> FeatureExamples:
    """Loud low bands are tag 0, loud high bands tag 1; clips of 5 to `longest` frames."""
    rng = np.random.default_rng(seed)
    labels = rng.random((clips, 2)) > 0.5
    mels = {}
    for i in range(clips):
        mel = rng.standard_normal((8, int(rng.integers(min(5, longest), longest + 1)))).astype(np.float32)
        mel[:4] += 3 * labels[i, 0]
        mel[4:] += 3 * labels[i, 1]
        mels[f"clip-{i}"] = mel
    return FeatureExamples(MemoryFeatures(CONFIG, mels), np.arange(clips), labels, FRAMES, **options)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[k], theirs[k]) for k in mine)


SHORT = TrainConfig(epochs=3, batch_size=16, lr=1e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "schedule": "onecycle",
            "ema_decay": 0.99,
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
    reached = roc_auc(held_out.labels.numpy() > 0.5, score_clips(result.network, held_out), ["0", "1"])
    assert min(reached.values()) > 0.95
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
    class Noted(FeatureExamples):
        seen: list[int] = []  # noqa: RUF012 - one test, one list

        def batch(self, chosen: Any, rng: Any) -> Any:
            self.seen.extend(chosen.tolist())
            return super().batch(chosen, rng)

    source = examples(clips=37)
    noted = Noted(source.features, source.rows, source.labels.numpy(), FRAMES)
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
    reached = pr_auc(valid.labels.numpy() > 0.5, score_clips(result.network, valid), ["0", "1"])
    assert np.mean(list(reached.values())) == pytest.approx(max(curve), abs=1e-12)


def test_a_head_alone_leaves_the_body_as_it_is() -> None:
    own = network()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    result = Trainer(own, replace(SHORT, trainable="head")).fit(examples())
    after = result.network.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed == {"head.weight", "head.bias"}
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_an_average_keeps_weights_of_its_own() -> None:
    plain = Trainer(network(), SHORT).fit(examples())
    averaged = Trainer(network(), replace(SHORT, ema_decay=0.9)).fit(examples())
    assert [line["loss"] for line in plain.history] == [line["loss"] for line in averaged.history]
    assert not same(plain.network, averaged.network)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_an_average_is_exponential_and_begins_with_a_lower_decay(layout: torch.memory_format) -> None:
    own = build_vgg((8, FRAMES), 2, widths=(4, 4, 4, 4), pools=((2, 2), (2, 2), (2, 2), (1, 1))).train()
    own.lay_out(layout)
    average = MovingAverage(own, 0.4)
    expected: dict[str, torch.Tensor] = {}
    for step in range(8):
        own(torch.randn(4, 8, FRAMES, generator=torch.Generator().manual_seed(step)))  # moves the statistics
        with torch.no_grad():
            for parameter in own.parameters():
                parameter.add_(0.1 * (step + 1))
        decay = min(0.4, (1 + step) / (10 + step)) if step else 0.0
        for name, tensor in own.state_dict().items():
            if tensor.is_floating_point():
                before = expected.get(name, torch.zeros_like(tensor))
                expected[name] = decay * before + (1 - decay) * tensor
        average.advance()
        assert int(average.n_averaged) == step + 1
        state = average.module.state_dict()
        for name, tensor in expected.items():
            torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-6, msg=f"{name}, step {step}")
    assert set(average.state_dict()) == {"n_averaged", *(f"module.{name}" for name in own.state_dict())}


# -- nothing is lost


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    config = replace(SHORT, ema_decay=0.9, schedule="onecycle", save_seconds=0)
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
config = tests.replace(tests.SHORT, epochs=6, ema_decay=0.9, save_seconds=0.02)
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


def test_a_stop_from_another_thread_ends_it_after_its_step(tmp_path: Path) -> None:
    trainer = Trainer(network(dropout=0.5), SHORT)
    reached, stopped = threading.Event(), threading.Event()
    running: list[bool] = [trainer.running]
    steps: list[int] = []

    def on_step(done: int, _: int) -> None:
        steps.append(done)
        running.append(trainer.running)
        if done == 8:
            reached.set()
            assert stopped.wait(60)

    def stop() -> None:
        assert reached.wait(60)
        trainer.stop()
        stopped.set()

    thread = threading.Thread(target=stop)
    thread.start()
    first = trainer.fit(examples(), folder=tmp_path, on_step=on_step)
    thread.join()
    assert first.stopped == "interrupted"
    assert steps == list(range(1, 9))
    assert running == [False] + 8 * [True]
    assert not trainer.running
    resumed = Trainer(network(dropout=0.5), SHORT).fit(examples(), folder=tmp_path, resume=True)
    assert same(resumed.network, Trainer(network(dropout=0.5), SHORT).fit(examples()).network)


def test_a_stop_at_the_end_of_an_epoch_ends_it_after_a_step_of_the_next(tmp_path: Path) -> None:
    trainer = Trainer(network(), SHORT)
    steps: list[int] = []

    def fit(epoch: int) -> Any:
        return trainer.fit(
            examples(),
            folder=tmp_path,
            resume=True,
            on_epoch=lambda line: trainer.stop() if line["epoch"] == epoch else None,
            on_step=lambda done, _: steps.append(done),
        )

    first = fit(0)
    assert (first.stopped, steps) == ("interrupted", list(range(1, 8)))
    second = fit(2)
    assert (second.stopped, steps) == ("done", list(range(1, 19)))
    assert same(second.network, Trainer(network(), SHORT).fit(examples()).network)


def test_processes_are_asked_once_a_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[int] = []
    real = World.sum

    def noted(self: World, *values: float) -> list[float]:
        asked.append(len(values))
        return real(self, *values)

    monkeypatch.setattr(World, "sum", noted)
    counts: list[int] = []
    Trainer(network(), SHORT).fit(examples(), folder=tmp_path, on_step=lambda *_: counts.append(len(asked)))
    epoch = 6 * [3] + [
        2,
        1,
    ]  # is all finite, is a stop asked for, is a checkpoint due; the loss; the checkpoint
    assert asked == 3 * epoch
    assert counts == [8 * epoch + step for epoch in range(3) for step in range(1, 7)]


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
    turned = FeatureExamples(valid.features, valid.rows, 1 - valid.labels.numpy(), FRAMES)
    for other in (examples(seed=2), turned, None):
        with pytest.raises(TrainingError, match="differs in the validation clips:"):
            Trainer(network(), SHORT).fit(examples(), other, folder=tmp_path, resume=True)
    assert Trainer(network(), SHORT).fit(examples(), valid, folder=tmp_path, resume=True).stopped == "done"


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_trainer_goes_on_with_its_own_run(tmp_path: Path, ema_decay: float) -> None:
    config = replace(SHORT, ema_decay=ema_decay)
    trainer = Trainer(network(), config)

    def stop(done: int, _: int) -> None:
        if done == 8:
            trainer.stop()

    first = trainer.fit(examples(), folder=tmp_path, resume=True, on_step=stop)
    assert first.stopped == "interrupted"
    second = trainer.fit(examples(), folder=tmp_path, resume=True)
    assert same(second.network, Trainer(network(), config).fit(examples()).network)


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
    class Broken(FeatureExamples):
        at = 7

        def batch(self, chosen: Any, rng: Any) -> Any:
            mel, target = super().batch(chosen, rng)
            if self.at == 0:
                (mel if where == "mel" else target)[0] = float("nan")
            self.at -= 1
            return mel, target

    source = examples()
    broken = Broken(source.features, source.rows, source.labels.numpy(), FRAMES)
    own = network()
    with pytest.raises(TrainingError, match="epoch 1, step 1: the loss is nan") as caught:
        Trainer(own, SHORT).fit(broken, folder=tmp_path)
    assert f"in another folder: the state before that step is in {tmp_path}." in str(caught.value)
    assert not own.training
    assert all(bool(torch.isfinite(v).all()) for v in own.state_dict().values())
    resumed = Trainer(network(), SHORT).fit(examples(), folder=tmp_path, resume=True)
    assert same(resumed.network, Trainer(network(), SHORT).fit(examples()).network)


@pytest.mark.parametrize("at", [0, 1, 4, 9])
@pytest.mark.parametrize("where", ["input", "label"])
def test_a_step_that_is_not_finite_changes_nothing(at: int, where: str) -> None:
    """Neither weights nor running statistics, which the forward pass has moved by then."""

    class Broken(FeatureExamples):
        batches = 0

        def batch(self, chosen: Any, rng: Any) -> Any:
            x, target = super().batch(chosen, rng)
            if self.batches == at:
                (x if where == "input" else target)[0] = float("nan")
            self.batches += 1
            return x, target

    source = examples()
    broken = Broken(source.features, source.rows, source.labels.numpy(), FRAMES)
    own = network(dropout=0.5)

    def state() -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in own.state_dict().items()}

    states = [state()]
    with pytest.raises(TrainingError, match=f"epoch {at // 6}, step {at % 6}: the loss is nan"):
        Trainer(own, SHORT).fit(broken, on_step=lambda *_: states.append(state()))
    assert len(states) == at + 1
    assert any("running_var" in name for name in states[-1])
    assert all(torch.equal(tensor, states[-1][name]) for name, tensor in own.state_dict().items())
    if at:
        assert not all(torch.equal(tensor, states[-2][name]) for name, tensor in states[-1].items())


class Plain(TaggingNetwork):
    """A network without running statistics."""

    architecture = "plain"

    def __init__(self, input_shape: Any, n_tags: int) -> None:
        super().__init__(input_shape, n_tags)
        self.embed_dim = math.prod(self.input_shape)
        self.head = torch.nn.Linear(self.embed_dim, n_tags)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def spec(self) -> dict[str, Any]:
        return {"architecture": "plain", "input_shape": list(self.input_shape), "n_tags": self.n_tags}

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_network_without_running_statistics_is_trained(tmp_path: Path, ema_decay: float) -> None:
    config = replace(SHORT, ema_decay=ema_decay)
    whole = Trainer(Plain((8, FRAMES), 2), config).fit(examples())
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]
    trainer = Trainer(Plain((8, FRAMES), 2), config)
    trainer.fit(examples(), folder=tmp_path, on_step=lambda done, _: trainer.stop() if done == 8 else None)
    resumed = Trainer(Plain((8, FRAMES), 2), config).fit(examples(), folder=tmp_path, resume=True)
    assert same(resumed.network, whole.network)


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


def test_a_run_of_numpys_numbers_resumes(tmp_path: Path) -> None:
    config = TrainConfig(
        epochs=np.int64(1), batch_size=np.int32(16), lr=np.float64(1e-2), seed=np.int64(3), clip_norm=1
    )
    Trainer(network(), config).fit(examples(), folder=tmp_path)
    assert Trainer(network(), config).fit(examples(), folder=tmp_path, resume=True).stopped == "done"


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_network_is_left_as_it_is_used_whether_its_training_went_well_or_not(ema_decay: float) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    def fit(on_step: Any) -> Any:
        own = build_vgg((8, FRAMES), 2, widths=(4, 4, 4, 4), pools=((2, 2), (2, 2), (2, 2), (1, 1)))
        own.memory_format = torch.channels_last
        try:
            Trainer(own, replace(SHORT, epochs=1, ema_decay=ema_decay)).fit(examples(), on_step=on_step)
        except KeyboardInterrupt:
            assert on_step is fail
        return own

    for own in (fit(None), fit(fail)):
        assert not any(module.training for module in own.modules())
        assert all(p.is_contiguous() for p in own.parameters())


@pytest.mark.parametrize("device", [None, "auto", "cpu", torch.device("cpu")], ids=str)
def test_where_it_is_trained_may_be_said(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Trainer(network(), SHORT, device=device).fit(examples(clips=20)).stopped == "done"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda"), "gpu"], ids=str)
def test_a_device_that_is_not_there_is_refused(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ConfigError, match=r"no device 'cuda(:1)?' on this machine|device is one of auto, cpu"
    ):
        Trainer(network(), device=device)


@pytest.mark.parametrize("device", [None, "auto", "cuda"])
def test_of_several_gpus_each_process_has_its_own(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is known when `fit` joins the others, not before."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert Trainer(network(), device=device).device is None
    assert Trainer(network(), device="cuda:1").device == torch.device("cuda", 1)
    devices = [_default_device(World(rank, 3)) for rank in range(3)]
    assert devices == [torch.device("cuda", number) for number in (0, 1, 0)]


def test_half_precision_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "native_precisions", lambda device: ("float32",))
    with pytest.raises(ConfigError, match="does not compute in bfloat16, only in float32"):
        Trainer(network(), replace(SHORT, precision="bfloat16"), device="cpu").fit(examples(clips=20))
    config = TaggerConfig("musicnn-pons-small-16k-mel16-x4-db", segment_seconds=0.5)
    with pytest.raises(ConfigError, match="does not compute in bfloat16"):
        check_request(config_from_slug("16k-mel16-x4-db"), config.augment, "cpu", "bfloat16")
    assert Trainer(network(), SHORT, device="cpu").fit(examples(clips=20)).stopped == "done", "auto"


def test_what_does_not_fit_is_refused() -> None:
    source = examples()
    with pytest.raises(ConfigError, match="validation data"):
        Trainer(network(), replace(SHORT, patience=2)).fit(source)
    three = FeatureExamples(source.features, source.rows, np.zeros((96, 3)), FRAMES)
    with pytest.raises(ConfigError, match="2 outputs, the labels 3 tags"):
        Trainer(network(), SHORT).fit(three)
    with pytest.raises(ConfigError, match="single one"):
        Trainer(network(), replace(SHORT, batch_size=1)).fit(source)
    silent = FeatureExamples(source.features, source.rows, np.zeros((96, 2)), FRAMES)
    steps: list[int] = []
    with pytest.raises(ConfigError, match="nothing can be validated"):
        Trainer(network(), SHORT).fit(source, silent, on_step=lambda done, _: steps.append(done))
    assert not steps, "that can be seen before the first"
    with pytest.raises(ShapeError, match="96 clips want labels"):
        FeatureExamples(source.features, source.rows, np.zeros((95, 2)), FRAMES)
    with pytest.raises(DataError, match="no clips"):
        FeatureExamples(source.features, [], np.zeros((0, 2)), FRAMES)
    for row in (96, -1):
        with pytest.raises(DataError, match=f"no row {row}: the 96 clips have rows from 0 on"):
            FeatureExamples(source.features, [0, row], np.zeros((2, 2)), FRAMES)
    with pytest.raises(DataError, match="clip 1, tag 0 is nan"):
        FeatureExamples(source.features, [0, 1], [[0.0, 1.0], [np.nan, 0.0]], FRAMES)


# -- examples


def test_all_of_a_clip_is_scored_and_the_mean_is_over_segments() -> None:
    source = examples(clips=12, longest=47)
    own = network().eval()
    for i in range(len(source)):
        frames = int(source.features.frames[i])
        parts = source.segments(i)
        assert len(parts) == max(1, -(-frames // FRAMES))
        mel = torch.from_numpy(source.features[i])
        if frames >= FRAMES:
            assert torch.equal(parts[-1], mel[:, -FRAMES:])
            assert torch.equal(parts[0], mel[:, :FRAMES])
        with torch.inference_mode():
            expected = own(parts).double().sigmoid().mean(dim=0).numpy()
        np.testing.assert_allclose(score_clips(own, source)[i], expected, atol=1e-6)


def test_excerpts_are_cut_anywhere() -> None:
    source = examples(clips=1, longest=40)
    frames = int(source.features.frames[0])
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        mel, _ = source.batch(np.array([0]), rng)
        whole = source.features[0]
        seen |= {s for s in range(frames - FRAMES + 1) if np.array_equal(whole[:, s : s + FRAMES], mel[0])}
    assert seen == set(range(frames - FRAMES + 1))

"""Two processes under torchrun, on gloo, are one training: losses, weights, files, stopping, resuming."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lightmel.features import FeatureExamples, MemoryFeatures
from lightmel.frontends import MelConfig
from lightmel.models import build_musicnn, build_vgg
from lightmel.training import TrainConfig, Trainer, is_first_process
from lightmel.training.distributed import World, _SharedNorm, joined_world, shared_statistics

FRAMES, CLIPS = 10, 90
CONFIG = TrainConfig(epochs=3, batch_size=20, lr=5e-3, clip_norm=1.0, ema_decay=0.9, schedule="onecycle")
"""Five steps of 18: nine clips a process. `UNEVEN` has steps of 15, eight clips and seven."""
UNEVEN = replace(CONFIG, batch_size=15)
EPOCH = -(-CLIPS // CONFIG.batch_size)

needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch has no gloo: several processes cannot train together",
)


def network() -> Any:
    """Without dropout: a mask is drawn a process, and two processes cannot draw the masks of one."""
    return build_musicnn(
        (8, FRAMES),
        2,
        variant="pons",
        timbre=[(0.9, 3, 4)],
        temporal=[(3, 2)],
        width=4,
        dense=8,
        dropout=0.0,
        generator=torch.Generator().manual_seed(0),
    )


def examples(seed: int = 0) -> FeatureExamples:
    """Clips of one length, so that no excerpt is drawn: one process and two have the same input."""
    rng = np.random.default_rng(seed)
    labels = rng.random((CLIPS, 2)) > 0.5
    mels = {}
    for i in range(CLIPS):
        mel = rng.standard_normal((8, FRAMES)).astype(np.float32)
        mel[:4] += 2 * labels[i, 0]
        mel[4:] += 2 * labels[i, 1]
        mels[str(i)] = mel
    return FeatureExamples(
        MemoryFeatures(MelConfig(16_000, 8, 10, "db"), mels), np.arange(CLIPS), labels, FRAMES
    )


def train(folder: Path, config: TrainConfig, stop_at: int = 0) -> dict[str, Any]:
    """Train as far as it goes; return what this process saw, as plain data."""
    steps: list[tuple[float, int]] = []
    told: list[int] = []
    asked: list[int] = []
    real = World.sum

    def noted(self: World, *values: float) -> list[float]:
        asked.append(len(values))
        return real(self, *values)

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        value = nn.functional.binary_cross_entropy_with_logits(logits, target)
        steps.append((value.item(), len(target)))
        return value

    def on_step(done: int, _: int) -> None:
        told.append(done)
        if done == stop_at:
            trainer.stop()

    trainer = Trainer(network(), config, loss=loss, device="cpu")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(World, "sum", noted)
        result = trainer.fit(examples(), examples(1), folder=folder, resume=True, on_step=on_step)
    return {
        "asked": asked,
        "steps": steps,
        "told": told,
        "history": [{k: v for k, v in line.items() if k != "seconds"} for line in result.history],
        "stopped": result.stopped,
        "training": any(m.training for m in trainer.network.modules()),
        "kinds": [type(m).__name__ for m in result.network.modules()],
        "state": {k: v.flatten().tolist() for k, v in result.network.state_dict().items()},
    }


SCRIPT = """
import importlib.util, json, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("tests_of_two", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
rank, out = os.environ["RANK"], Path(sys.argv[2])
seen = {
    "whole": tests.train(out / f"of-rank-{rank}", tests.CONFIG),
    "uneven": tests.train(out / "uneven", tests.UNEVEN),
    "stopped": tests.train(out / "stopped", tests.CONFIG, stop_at=int(sys.argv[3])),
    "resumed": tests.train(out / "stopped", tests.CONFIG),
}
(out / f"seen-by-{rank}.json").write_text(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two processes saw, and the folder that they worked in."""
    folder = tmp_path_factory.mktemp("two")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, script, __file__, folder, str(EPOCH + 2)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder, [json.loads((folder / f"seen-by-{rank}.json").read_text()) for rank in (0, 1)]


def together(seen: list[dict[str, Any]], run: str) -> list[float]:
    """The losses of whole batches: means over the processes, by the examples that each had."""
    return [
        float(np.average([loss for loss, _ in step], weights=[size for _, size in step]))
        for step in zip(*(s[run]["steps"] for s in seen), strict=True)
    ]


def normalised_away(name: str) -> bool:
    """Whether a tensor is a bias that a normalisation subtracts again, or the mean that it is part of.

    The gradient of such a bias is 0 but for rounding, and Adam, which divides by its size, moves it by the
    full rate nevertheless.
    """
    return name.endswith(("running_mean", "conv.bias", "dense.bias"))


@needs_gloo
@pytest.mark.parametrize(("run", "config"), [("whole", CONFIG), ("uneven", UNEVEN)])
def test_losses_and_weights_are_those_of_one_process(
    two: tuple[Path, list[dict[str, Any]]], tmp_path: Path, run: str, config: TrainConfig
) -> None:
    _, seen = two
    alone = train(tmp_path, config)
    sizes = [[size for _, size in s[run]["steps"]] for s in seen]
    assert [sum(pair) for pair in zip(*sizes, strict=True)] == [size for _, size in alone["steps"]]
    # The sums over a batch are taken in another order, off by 1e-7 of it: measured 2e-7 in the losses and
    # 1e-5 in the weights by the last step.
    np.testing.assert_allclose(together(seen, run), [loss for loss, _ in alone["steps"]], rtol=1e-5)
    for mine, theirs in zip(seen[0][run]["history"], alone["history"], strict=True):
        for key in ("epoch", "loss", "lr"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-5)
        for key in ("valid_roc_auc", "valid_pr_auc"):  # a few pairs of 90 clips may change places
            assert mine[key] == pytest.approx(theirs[key], abs=0.01)
    assert seen[0][run]["state"] == seen[1][run]["state"], "both have the same weights to the bit"
    for name, values in alone["state"].items():
        if not normalised_away(name):
            np.testing.assert_allclose(seen[0][run]["state"][name], values, atol=1e-4, err_msg=name)


@needs_gloo
def test_the_first_process_alone_writes_and_reports(two: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, seen = two
    assert sorted(p.name for p in (folder / "of-rank-0").iterdir()) == ["checkpoint.pt", "history.jsonl"]
    assert not (folder / "of-rank-1").exists()
    assert seen[0]["whole"]["told"] == list(range(1, 3 * EPOCH + 1))
    assert seen[1]["whole"]["told"] == []
    lines = [json.loads(line) for line in (folder / "of-rank-0" / "history.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    assert lines == seen[0]["whole"]["history"] == seen[1]["whole"]["history"]


@needs_gloo
def test_two_processes_stop_together_and_go_on_to_the_same_weights(
    two: tuple[Path, list[dict[str, Any]]],
) -> None:
    _, seen = two
    for own in seen:
        assert own["stopped"]["stopped"] == "interrupted"
        # The first process was told after its step; with the next one all of them know.
        assert len(own["stopped"]["steps"]) == EPOCH + 3
        assert own["resumed"]["stopped"] == "done"
        assert own["stopped"]["steps"] + own["resumed"]["steps"] == own["whole"]["steps"]
        assert own["resumed"]["state"] == own["whole"]["state"]
        for mine, theirs in zip(own["resumed"]["history"], own["whole"]["history"], strict=True):
            # The losses so far are stored as their sum over the processes, and each goes on with its part.
            assert mine == pytest.approx(theirs, rel=1e-12)


@needs_gloo
def test_processes_ask_each_other_once_a_step(two: tuple[Path, list[dict[str, Any]]]) -> None:
    _, seen = two
    for own in seen:
        # Is all finite, is a stop asked for, is a checkpoint due; an epoch's loss; a checkpoint's.
        assert own["whole"]["asked"] == 3 * (EPOCH * [3] + [2, 1])
        assert own["stopped"]["asked"] == EPOCH * [3] + [2, 1] + 3 * [3] + [1]


@needs_gloo
def test_afterwards_all_is_as_it_was(two: tuple[Path, list[dict[str, Any]]]) -> None:
    _, seen = two
    expected = [type(m).__name__ for m in network().modules()]
    for own in seen:
        assert own["whole"]["kinds"] == expected, "normalisations are torch's own again"


@needs_gloo
def test_a_state_of_two_processes_goes_on_in_one(
    two: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, seen = two
    for name in ("checkpoint.pt", "history.jsonl"):
        (tmp_path / name).write_bytes((folder / "of-rank-0" / name).read_bytes())
    alone = train(tmp_path, CONFIG)
    assert alone["steps"] == []
    assert alone["state"] == seen[0]["whole"]["state"]
    assert alone["history"] == seen[0]["whole"]["history"]


@needs_gloo
def test_a_network_is_left_in_evaluation_mode(two: tuple[Path, list[dict[str, Any]]]) -> None:
    _, seen = two
    assert not any(own["whole"]["training"] for own in seen), "normalisations included"


def test_the_first_process_is_that_of_the_group_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()
    monkeypatch.setattr(torch.distributed, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0, raising=False)
    assert is_first_process()
    monkeypatch.delenv("RANK")
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1, raising=False)
    assert not is_first_process()


def test_one_process_is_a_world_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_world() as world:
        assert world == World(0, 1)
        assert world.is_first
        assert world.sum(1.5, 2.0) == [1.5, 2.0]
        assert world.first("mine") == "mine"
        own = network()
        before = list(own.modules())
        with shared_statistics(own, world):
            assert all(a is b for a, b in zip(own.modules(), before, strict=True))
    if torch.distributed.is_available():
        assert not torch.distributed.is_initialized()


# Stand-ins for normalisations

TWO = World(0, 2)
"""Nothing is sent: the layers are only looked at."""


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "build", [network, lambda: build_vgg((16, 9), 2, widths=(4, 4, 4, 4))], ids=["1d", "2d"]
)
def test_a_stand_in_has_the_very_tensors_of_its_layer(build: Any, training: bool) -> None:
    own = build().train(training)
    modules, before = list(own.modules()), tensors(own)
    norms = {name for name, m in own.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert norms
    with shared_statistics(own, TWO):
        stand_ins = {name: m for name, m in own.named_modules() if isinstance(m, _SharedNorm)}
        assert set(stand_ins) == norms
        assert all(m.training is training for m in stand_ins.values())
        within = tensors(own)
        assert list(within) == list(before)
        assert all(within[name] is tensor for name, tensor in before.items())
    assert all(a is b for a, b in zip(own.modules(), modules, strict=True))
    assert all(tensor is before[name] for name, tensor in tensors(own).items())


@pytest.mark.parametrize(
    "options", [{"track_running_stats": False}, {"momentum": None}, {"affine": False}], ids=str
)
def test_a_stand_in_has_the_options_of_its_layer(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one process would compute it: the sums over all are its own."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    layers = [nn.Sequential(nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2, **options)) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(5, 1, 7, generator=torch.Generator().manual_seed(0))
    for training in (True, True, False):
        for layer in layers:
            layer.train(training)
        with torch.no_grad(), shared_statistics(layers[1], TWO):
            torch.testing.assert_close(layers[1](x), layers[0](x), rtol=1e-4, atol=1e-5)
    for name, tensor in layers[0].state_dict().items():
        torch.testing.assert_close(layers[1].state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_layers_are_put_back_where_a_training_fails() -> None:
    own = network()
    modules = list(own.modules())
    with pytest.raises(KeyboardInterrupt), shared_statistics(own, TWO):
        raise KeyboardInterrupt
    assert all(a is b for a, b in zip(own.modules(), modules, strict=True))


def test_on_a_gpu_torchs_own_layer_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    own = network().train()
    before = tensors(own)
    on_gpu = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    norms = [m for m in own.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with monkeypatch.context() as patched:
        patched.setattr(own, "parameters", lambda: iter([on_gpu]))
        with shared_statistics(own, TWO):
            stand_ins = [m for m in own.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
            assert [type(m) for m in stand_ins] == len(norms) * [nn.SyncBatchNorm]
            for layer, other in zip(norms, stand_ins, strict=True):
                assert (other.eps, other.momentum, other.affine) == (layer.eps, layer.momentum, layer.affine)
                assert other.training
            assert all(tensor is before[name] for name, tensor in tensors(own).items())
    assert [m for m in own.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)] == norms

"""One run of training: its state, its steps, its checkpoints.

Everything random in a step follows from the seed, the epoch, the step and the process, never from what
was drawn before. A run can hence be stopped after any step and go on to the same weights.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import ConfigError, TrainingError
from ..evaluation import macro, pr_auc, roc_auc, score_clips
from ..features import Batch, Examples, FeatureExamples
from ..inference import Tagger
from ..models import TaggingNetwork
from . import state as files
from .config import TrainConfig
from .distributed import World

Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Line: TypeAlias = dict[str, float]
Stopped: TypeAlias = Literal["done", "early", "interrupted"]
Network = TypeVar("Network", bound=TaggingNetwork)

_PLATEAU_EPOCHS, _PLATEAU_FACTOR = 2, 0.1
"""ReduceLROnPlateau acts on the epoch after so many without a better one."""
_MAX_CLASS_WEIGHT = 50.0


@dataclass(frozen=True)
class TrainResult(Generic[Network]):
    """The result of a training.

    Attributes
    ----------
    network
        The network of the best epoch, or of the last one without validation data; in evaluation mode.
    history
        A line an epoch: epoch, loss, lr, seconds; with validation data valid_roc_auc and valid_pr_auc.
    best_epoch
        The epoch (from 0) that `network` is of.
    stopped
        done, early (no better epoch for too long) or interrupted (`Trainer.stop`).
    tagger
        The trained tagger, with a copy of `network`; None where a network was trained.
    """

    network: Network
    history: list[Line]
    best_epoch: int
    stopped: Stopped
    tagger: Tagger | None = None


@dataclass(frozen=True)
class Setup(Generic[Network]):
    """The parts of a run; `Trainer` and `Trainer.fit` describe them.

    Attributes
    ----------
    initial_weights
        Digest of the weights that the training began with.
    """

    network: Network
    config: TrainConfig
    loss: Loss | None
    train: Examples
    valid: FeatureExamples | None
    world: World
    device: torch.device
    folder: Path | None
    stop: threading.Event
    initial_weights: str


class Run(Generic[Network]):
    """The state of one `Trainer.fit`."""

    def __init__(self, setup: Setup[Network]) -> None:
        network, config, world, device = setup.network, setup.config, setup.world, setup.device
        train, valid, loss = setup.train, setup.valid, setup.loss
        self.network, self.config, self.stop = network, config, setup.stop
        self.train, self.valid, self.world, self.device = train, valid, world, device
        self.folder = setup.folder
        self.steps = -(-len(train) // config.batch_size)
        if len(train) // self.steps < 2 * world.size:
            raise ConfigError(
                f"{len(train)} examples in batches of {config.batch_size} leave a process a single one, "
                "which has no statistics to normalise by: choose another batch_size."
            )
        self.loss = loss or _cross_entropy(train.labels, config, device)
        self.learner: nn.Module = self.network.head if config.trainable == "head" else self.network
        self.parameters = [p for p in self.learner.parameters() if p.requires_grad]
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        self.optimizer = kind(self.parameters, lr=config.lr, weight_decay=config.weight_decay)
        self.schedule: Any = None
        if config.schedule == "onecycle":
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(
                self.optimizer, config.lr, total_steps=config.epochs * self.steps, pct_start=0.15
            )
        elif config.schedule == "plateau":
            self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
                self.optimizer, mode="max", factor=_PLATEAU_FACTOR, patience=_PLATEAU_EPOCHS
            )
        elif config.schedule == "step":
            self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, config.step_epochs, gamma=0.1)
        self.averaged = MovingAverage(self.network, config.ema_decay) if config.ema_decay else None
        self.forward: Callable[[torch.Tensor], torch.Tensor] = self._logits
        if world.size > 1:
            # Where only the head learns, its input is computed outside.
            self.forward = DistributedDataParallel(self.learner)
        self.half = config.precision == "bfloat16" or (
            config.precision == "auto"
            and device.type == "cuda"
            and torch.cuda.is_bf16_supported(including_emulation=False)
        )
        self.epoch = self.step = 0  # what comes next
        self.asked = self.due = False  # to stop, and to write a checkpoint, as all processes saw it in a step
        self.saved = time.monotonic()
        self.statistics = list(network.buffers())
        self.kept = [torch.empty_like(buffer) for buffer in self.statistics]
        self.total = self.count = self.seconds = 0.0
        self.history: list[Line] = []
        self.best: dict[str, Any] = {"epoch": -1, "pr_auc": -1.0, "state": None}
        self.fingerprint = _digest(train.labels)
        self.identity = {
            "network": network.spec(),
            "initial weights": setup.initial_weights,
            "the loss": getattr(loss, "identity", loss is not None),
            "the validation clips": (
                {**valid.identity, "labels": _digest(valid.labels)} if valid is not None else None
            ),
            **train.identity,
        }

    # -- one step

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.learner(x))

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """Yield ``(examples of all processes, own batch)``, drawn one ahead in a thread of its own."""
        config, world = self.config, self.world
        order = np.random.default_rng([config.seed, self.epoch]).permutation(len(self.train))
        parts: list[NDArray[np.int64]] = np.array_split(order, self.steps)

        def draw(step: int) -> Batch:
            rng = np.random.default_rng([config.seed, self.epoch, step, world.rank])
            return self.train.batch(parts[step][world.rank :: world.size], rng)

        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(draw, self.step)
            for step in range(self.step, self.steps):
                batch = ahead.result()
                if step + 1 < self.steps:
                    ahead = pool.submit(draw, step + 1)
                yield len(parts[step]), batch

    def advance(self, size: int, batch: Batch) -> None:
        """Take one step; `size` is the examples of all processes."""
        x, target = (part.to(self.device, non_blocking=True) for part in batch)
        # A copy of the running statistics: the forward pass changes them, also where the loss is not finite.
        _copy_all(self.kept, self.statistics)
        seed = np.random.SeedSequence([self.config.seed, self.epoch, self.step, self.world.rank, 1])
        _seed_dropout(int(seed.generate_state(1, np.uint64)[0] >> 1), self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            if self.config.trainable == "head":
                with torch.no_grad():
                    x = self.network.embed(x)
            logits = self.forward(x)
        # Processes average their gradients; parts of unequal size count by their size.
        value = self.loss(logits.float(), target) * (len(target) * self.world.size / size)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        value = value.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm or float("inf"))
        # One reduction a step: is anything not finite, is a stop asked for, is a checkpoint due?
        late = self.world.is_first and self._late()
        bad, asked, due = self.world.sum(
            float(not torch.isfinite(value + norm)), float(self.stop.is_set()), float(late)
        )
        self.asked, self.due = asked > 0, due > 0
        if bad:
            _copy_all(self.statistics, self.kept)
            self._refuse(float(value))
        self.optimizer.step()
        if self.config.schedule == "onecycle":
            self.schedule.step()
        if self.averaged is not None:
            self.averaged.advance()
        self.total += float(value) * size / self.world.size
        self.count += size
        self.step += 1

    def _late(self) -> bool:
        return time.monotonic() - self.saved >= self.config.save_seconds

    def _refuse(self, value: float) -> None:
        kept = "."
        if self.folder is not None:
            self.save()
            kept = f", in another folder: the state before that step is in {self.folder}."
        what = "a gradient is not finite" if np.isfinite(value) else f"the loss is {value}"
        raise TrainingError(
            f"Training stopped at epoch {self.epoch}, step {self.step}: {what}. "
            f"Try a lower lr, clip_norm=1, or precision='float32'{kept}",
            names=("lr",),
        )

    # -- the whole run

    def go(
        self,
        on_epoch: Callable[[Line], None] | None,
        on_step: Callable[[int, int], None] | None,
    ) -> TrainResult[Network]:
        config, world = self.config, self.world
        while self.epoch < config.epochs and not self._early():
            self._to_training()
            began = time.perf_counter()
            for size, batch in self.batches():
                self.advance(size, batch)
                if on_step is not None and world.is_first:
                    on_step(self.epoch * self.steps + self.step, config.epochs * self.steps)
                if world.size == 1:  # on_step may have asked for it
                    self.asked, self.due = self.stop.is_set(), self._late()
                if self.step < self.steps and (self.asked or (self.due and self.folder is not None)):
                    self.seconds += time.perf_counter() - began
                    began = time.perf_counter()
                    self.save()
                    if self.asked:
                        return self._result("interrupted")
            self.seconds += time.perf_counter() - began
            line = self._end_epoch()
            self.save()
            if on_epoch is not None and world.is_first:
                on_epoch(line)
            if self.asked and self.epoch < config.epochs:
                return self._result("interrupted")
        return self._result("early" if self.epoch < config.epochs else "done")

    def _to_training(self) -> None:
        self.network.train(self.config.trainable == "all")
        self.network.head.train()

    def _early(self) -> bool:
        patience = self.config.patience
        return bool(patience) and self.epoch - 1 - self.best["epoch"] >= patience

    def _kept_network(self) -> TaggingNetwork:
        return cast(TaggingNetwork, self.averaged.module if self.averaged is not None else self.network)

    def _end_epoch(self) -> Line:
        loss, count = self.world.sum(self.total, self.count / self.world.size)
        line = {
            "epoch": self.epoch,
            "loss": loss / count,
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "seconds": self.seconds,
        }
        if self.valid is not None:
            line |= self.world.first(self._validate() if self.world.is_first else {})
            if line["valid_pr_auc"] > self.best["pr_auc"]:
                state = {k: v.detach().cpu().clone() for k, v in self._kept_network().state_dict().items()}
                self.best = {"epoch": self.epoch, "pr_auc": line["valid_pr_auc"], "state": state}
            if self.config.schedule == "plateau":
                self.schedule.step(line["valid_pr_auc"])
        if self.config.schedule == "step":
            self.schedule.step()
        self.history.append(line)
        self.epoch, self.step = self.epoch + 1, 0
        self.total = self.count = self.seconds = 0.0
        return line

    def _validate(self) -> Line:
        assert self.valid is not None
        network = self._kept_network()
        network.eval()
        scores = score_clips(network, self.valid)
        truth = self.valid.labels.numpy() >= 0.5
        names = [str(i) for i in range(truth.shape[1])]
        return {
            "valid_roc_auc": macro(roc_auc(truth, scores, names)),
            "valid_pr_auc": macro(pr_auc(truth, scores, names)),
        }

    def _result(self, stopped: Stopped) -> TrainResult[Network]:
        network, best = self._kept_network(), len(self.history) - 1
        if self.best["state"] is not None:
            network.load_state_dict(self.best["state"], strict=True)
            best = self.best["epoch"]
        if stopped != "interrupted" and network is not self.network:
            self.network.load_state_dict(network.state_dict(), strict=True)
        network.eval().cpu().lay_out(torch.contiguous_format)
        return TrainResult(cast(Network, network), list(self.history), best, stopped)

    # -- on disk

    def save(self) -> None:
        """Write a checkpoint to the folder, in the first process; all processes call this."""
        self.saved = time.monotonic()
        if self.folder is None:
            return
        (total,) = self.world.sum(self.total)
        if not self.world.is_first:
            return
        state = {
            "config": asdict(self.config),
            "data": self.fingerprint,
            "identity": self.identity,
            "position": [self.epoch, self.step, total, self.count, self.seconds],
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule is not None else None,
            "best": self.best,
        }
        files.write_state(self.folder, state, self.history)

    def restore(self, resume: bool) -> None:
        """Load the checkpoint in the folder, if there is one, and check that it is of this run."""
        assert self.folder is not None
        state = files.read_state(self.folder)
        if state is None:
            return
        if not resume:
            raise TrainingError(f"{self.folder} holds a run already: resume it, or choose another folder.")
        own = asdict(self.config)
        before = asdict(TrainConfig()) | state["config"]  # which has no settings that are newer
        other = [k for k in own if own[k] != before[k] and k != "save_seconds"]
        other += [k for k in self.identity if self.identity[k] != state["identity"].get(k)]
        if state["data"] != self.fingerprint:
            other.append("the labels of the training data")
        if other:
            raise TrainingError(
                f"{self.folder} holds a run that differs in {', '.join(other)}: "
                "resume it as it was, or choose another folder."
            )
        self.network.load_state_dict(state["network"], strict=True)
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.epoch, self.step, total, self.count, self.seconds = state["position"]
        self.total = total / self.world.size
        self.best, self.history = state["best"], state["history"]


def _digest(labels: torch.Tensor) -> str:
    values = labels.contiguous().numpy()
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


def _copy_all(to: list[torch.Tensor], values: list[torch.Tensor]) -> None:
    if to:  # torch refuses an empty list: that of a network without running statistics
        torch._foreach_copy_(to, values)


def _seed_dropout(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


def _cross_entropy(labels: torch.Tensor, config: TrainConfig, device: torch.device) -> Loss:
    weight = None
    if config.class_weights == "balanced":
        true = labels.sum(dim=0)
        weight = ((len(labels) - true) / true.clamp(min=1)).clamp(max=_MAX_CLASS_WEIGHT).to(device)
    return lambda logits, target: F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)


class MovingAverage(AveragedModel):
    """An exponential moving average of the weights and statistics of a network.

    After n steps its decay is (1 + n) / (10 + n), up to the highest. The tensors are listed once: to walk
    through the modules of a small network takes as long as to run them.
    """

    def __init__(self, network: nn.Module, highest_decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self._network, self._highest = [network], highest_decay  # in a list: it is no part of this module
        self._groups: dict[torch.dtype, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
        pairs = zip(
            (*self.module.parameters(), *self.module.buffers()),
            (*network.parameters(), *network.buffers()),
            strict=True,
        )
        for own, other in pairs:
            mine, theirs = self._groups.setdefault(own.dtype, ([], []))
            mine.append(own.detach())
            theirs.append(other.detach())

    def advance(self) -> None:
        """Take in what the network is now."""
        count = int(self.n_averaged)
        if count == 0:
            self.update_parameters(self._network[0])  # which copies
            return
        update = get_ema_multi_avg_fn(min(self._highest, (1 + count) / (10 + count)))  # type: ignore[no-untyped-call]
        for mine, theirs in self._groups.values():
            update(mine, theirs, count)
        self.n_averaged += 1

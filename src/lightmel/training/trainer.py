"""`Trainer`: from examples to a network, on one device or several processes, resumable."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Generic, cast

import torch

from .._files import check_target
from .._steady import steady
from ..checkpoint import weights_sha256
from ..errors import ConfigError, TrainingError
from ..evaluation import rankable
from ..features import Examples, FeatureExamples
from ..inference import Tagger, check_precision, resolve_device
from .config import TrainConfig
from .distributed import World, joined_world, shared_statistics
from .run import Line, Loss, Network, Run, Setup, TrainResult
from .state import STATE


class Trainer(Generic[Network]):
    """Trains a network, or that of a tagger.

    Under torchrun, each of several processes builds the same trainer and calls `fit` on the same data: the
    batch of a step is shared out among them, and the first process alone writes.

    Parameters
    ----------
    model
        A network, which is trained in place; or a tagger, whose network is copied first: a loaded tagger may
        be in use elsewhere.
    config
        How to train.
    loss
        ``loss(logits, target)``, a scalar; without one, binary cross-entropy, as in the paper. Where it has
        an attribute `identity`, plain data, a training is resumed only with a loss of the same identity.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; ``"auto"`` or nothing is the CUDA device of this
        process if there is any, and the processor elsewhere.
    """

    def __init__(
        self,
        model: Network | Tagger,
        config: TrainConfig | None = None,
        *,
        loss: Loss | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.tagger = model if isinstance(model, Tagger) else None
        self.network: Network = cast(Network, model.network) if isinstance(model, Tagger) else model
        self.config = config or TrainConfig()
        self.loss = loss
        # Without a number, a CUDA device is that of this process, which `fit` knows.
        chosen = None if device is None or str(device) in ("auto", "cuda") else resolve_device(str(device))
        if str(device) == "cuda":
            resolve_device("cuda")  # refused now, not after the work before `fit`
        self.device = None if chosen is None else torch.device(chosen)
        # Of the weights before the first step: a fit that resumes a run finds the network trained already.
        self._initial_weights = weights_sha256(self.network)
        self._stop = threading.Event()
        self._running = threading.Event()

    @property
    def running(self) -> bool:
        """Whether `fit` is running; if not, `stop` ends the next one."""
        return self._running.is_set()

    def stop(self) -> None:
        """End a running `fit` after its step, with a checkpoint; a signal handler or a thread may call it."""
        self._stop.set()

    @steady
    def fit(
        self,
        train: Examples,
        valid: FeatureExamples | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        resume: bool = False,
        on_epoch: Callable[[Line], None] | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> TrainResult[Network]:
        """Train the network.

        Parameters
        ----------
        train
            Examples to train on.
        valid
            Examples that each epoch is validated on, by PR AUC, mean over tags.
        folder
            Folder of the checkpoints and the history; without one, nothing is written.
        resume
            Go on with the run in `folder`, if there is one.
        on_epoch
            Called with each line of the history, in the first process.
        on_step
            Called with the steps that are done and all steps, in the first process.

        Raises
        ------
        ConfigError
            If the configuration wants validation data and there are none; if data and network do not fit,
            the features being of another configuration than the tagger's, say; if no tag of the validation
            data can be measured.
        TrainingError
            If the loss or a gradient is not finite (the message says at which step; the weights are those
            before it); if `folder` cannot be written to, which is tried first, or holds another run.
        """
        if valid is None and (self.config.patience or self.config.schedule == "plateau"):
            raise ConfigError(
                "patience and the schedule plateau need validation data.", names=("patience", "schedule")
            )
        for examples in (train, valid):
            if examples is not None:
                self._check(examples)
        if valid is not None and not rankable(valid.labels.numpy() >= 0.5):
            raise ConfigError(
                "No tag of the validation data has true and false clips: nothing can be validated."
            )
        if len(train) < 2:
            raise ConfigError("One example has no statistics to normalise by: at least two are needed.")
        with joined_world() as world, ExitStack() as stack:
            self._running.set()
            stack.callback(self._running.clear)
            stack.callback(self._stop.clear)  # at the end: `stop` may have been called before it began
            work = Path(folder) if folder is not None else None
            if work is not None and world.is_first:
                check_target(work / STATE, (), TrainingError)
            device = self.device or _default_device(world)
            if self.config.precision == "bfloat16":
                check_precision("bfloat16", str(device))
            cuda = [device] if device.type == "cuda" else []
            # Dropout knows no generator but the global one: it is seeded at each step, and put back here.
            stack.enter_context(torch.random.fork_rng(devices=cuda))
            stack.callback(self._put_back)
            self.network.to(device).lay_out(self.network.memory_format)
            run = Run(
                Setup(
                    network=self.network,
                    config=self.config,
                    loss=self.loss,
                    train=train,
                    valid=valid,
                    world=world,
                    device=device,
                    folder=work,
                    stop=self._stop,
                    initial_weights=self._initial_weights,
                )
            )
            stack.enter_context(shared_statistics(self.network, world))
            if work is not None:
                run.restore(resume)
            result = run.go(on_epoch, on_step)
        if self.tagger is None:
            return result
        description = replace(self.tagger.description, name=f"{self.tagger.name}-trained", thresholds=())
        return replace(result, tagger=Tagger(result.network, description))

    def _put_back(self) -> None:
        """Put the network back on the processor, in evaluation mode, also after a training that failed."""
        self.network.eval().cpu().lay_out(torch.contiguous_format)

    def _check(self, examples: Examples) -> None:
        """Raise `ConfigError` unless the network can learn from or be validated on `examples`."""
        if examples.labels.shape[1] != self.network.n_tags:
            raise ConfigError(
                f"The network has {self.network.n_tags} outputs, the labels {examples.labels.shape[1]} tags."
            )
        if not isinstance(examples, FeatureExamples):
            return
        if self.tagger is not None:
            examples.features.require(self.tagger.config)
        found = examples.features.config.rows, examples.n_frames
        if found != self.network.input_shape:
            raise ConfigError(f"The network wants {self.network.input_shape}, the examples are of {found}.")


def _default_device(world: World) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", world.rank % torch.cuda.device_count())

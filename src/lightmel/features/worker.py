"""The mel of one file, made in this process or in a child of it that does nothing else.

A child is started with one thread and talks over its standard input and output, one file after another.
It needs no import of the program that started it, and it may crash: a decoder that does so on a broken file
takes only the child along.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..errors import AudioError, DataError, LightmelError
from .journal import Description

_WHOLE_SECONDS = 300.0
"""Sound up to this length goes through the front end at once, longer sound in blocks of it."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_PROGRAM = "from lightmel.features.worker import main; main()"
_READY = b"ready\n"
_CRASHES = {getattr(signal, name, None) for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL")}

log = logging.getLogger("lightmel")


@dataclass(frozen=True)
class Made:
    """What became of a file: a clip's frames and bytes, or why it failed; and what was to be said of it."""

    frames: int = 0
    clip: bytes = b""
    failed: str | None = None
    notes: tuple[str, ...] = ()


class Listener:
    """Makes clips of files, for a store of one description."""

    def __init__(self, description: Description) -> None:
        from ..frontends.mel_torch import MelFrontend

        self._description = description
        self._layout = description.layout
        self._frontend = MelFrontend.from_config(description.config)

    def clip(self, path: Path) -> Made:
        """Return the clip of a file, or why there is none."""
        try:
            mel = self._mel(path)
        except (LightmelError, OSError) as error:
            return Made(failed=str(error).removeprefix(f"{path}: "))
        if not np.isfinite(mel).all():
            return Made(failed="its samples are so large that the mels are not finite: scale them to ±1.")
        return Made(mel.shape[1], self._layout.pack(mel))

    def _mel(self, path: Path) -> NDArray[np.float32]:
        import torch

        sr, seconds = self._description.config.sr, self._description.seconds
        with torch.inference_mode():
            if seconds is not None:
                mel = self._frontend(torch.from_numpy(middle(path, sr, seconds)))
            else:
                blocks = audio.stream(path, sr, _WHOLE_SECONDS)
                first, second = next(blocks), next(blocks, None)
                if second is None:
                    mel = self._frontend(torch.from_numpy(first))
                else:
                    stream = self._frontend.stream()
                    parts = [stream.push(torch.from_numpy(block)) for block in chain((first, second), blocks)]
                    mel = torch.cat([*parts, stream.flush()], -1)
        array: NDArray[np.float32] = mel.numpy()
        return array


def middle(path: Path, sr: int, seconds: float) -> audio.Wave:
    """Return `seconds` from the middle of a file, or all of it where it is shorter, at `sr` Hz.

    The header's length is believed as long as so much sound is where it says; otherwise the file is
    decoded to find out how long it is.

    Raises
    ------
    AudioError
        As `audio.stream`.
    """
    wanted = round(seconds * sr)
    claimed = audio.info(path).seconds
    if claimed > seconds:
        with contextlib.suppress(AudioError):  # nothing there: what decodes will show why
            wave = audio.excerpt(path, sr, (claimed - seconds) / 2, seconds)
            if len(wave) == wanted:
                return wave
    heard = sum(len(block) for block in audio.stream(path, sr))
    return audio.excerpt(path, sr, max(heard - wanted, 0) // 2 / sr, seconds)


class Child:
    """A process that makes clips: one file at a time, on one thread."""

    def __init__(self, description: Description) -> None:
        paths = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - as text
        with contextlib.ExitStack() as stack:
            try:
                self._said = stack.enter_context(tempfile.TemporaryFile())
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                    env={
                        **os.environ,
                        **_ONE_THREAD,
                        "PYTHONPATH": os.pathsep.join(paths),
                        "PYTHONSAFEPATH": "1",
                    },
                )
            except OSError as error:
                raise DataError(f"A worker cannot be started ({error}): take fewer, or 0.") from error
            stack.pop_all()  # close() closes the file
        self._ready = False
        self._description = description

    def clip(self, path: Path) -> Made:
        """Return the clip of a file, or why there is none: a crash on it is a reason, too.

        Raises
        ------
        DataError
            If the process did not start, or was ended from outside.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its end is noticed below
            if not self._ready:
                self._process.stdin.write(self._description.to_json().encode() + b"\n")
            self._process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self._process.stdin.flush()
        if not self._ready:
            # What a site's start-up prints comes before it.
            self._ready = _READY in iter(self._process.stdout.readline, b"")
        header = self._process.stdout.readline() if self._ready else b""
        if header.endswith(b"\n"):
            answer = json.loads(header)
            clip = self._process.stdout.read(answer["bytes"])
            if len(clip) == answer["bytes"]:
                return Made(answer["frames"], clip, answer["failed"], tuple(answer["notes"]))
        return self._ended(path)

    @property
    def alive(self) -> bool:
        """Whether it can make another clip."""
        return self._process.poll() is None

    def _ended(self, path: Path) -> Made:
        code = self._process.wait()
        if self._ready and -code in _CRASHES:
            return Made(failed=f"the decoder crashed on it ({signal.Signals(-code).name}).")
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        raise DataError(
            f"A worker {how} at {path}{': ' + said[-1] if said else ''}. If memory has run out, take fewer "
            "workers. What was done is kept: run the same again to go on."
        )

    def kill(self) -> None:
        """End the process, whatever it does; a thread that waits for its answer goes on."""
        self._process.kill()

    def close(self) -> None:
        """End the process and give back what it held here."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class _Notes(logging.Handler):
    """Keeps what is logged, for the process that shows it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage())


def main() -> None:
    """Be a `Child`: a description, then paths, a line each; for each an answer line and the clip's bytes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a C library prints must not get among the answers
    notes = _Notes()
    log.addHandler(notes)
    listener = Listener(Description.from_json(sys.stdin.buffer.readline()))
    answers.write(_READY)
    answers.flush()
    for line in sys.stdin.buffer:
        made = listener.clip(Path(json.loads(line)))
        answer = {"frames": made.frames, "bytes": len(made.clip), "failed": made.failed, "notes": notes.kept}
        answers.write(json.dumps(answer).encode() + b"\n" + made.clip)
        answers.flush()
        notes.kept = []

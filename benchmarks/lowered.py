"""What fewer bits and other settings save where ONNX Runtime runs a tagger, and how far they move its scores.

    python benchmarks/lowered.py MUSIC [--clips 2] [--rounds 9] [--segments 8] [--only NAME ...] [--write]

MUSIC holds folders of clips, one for each artist or source. Clips of every other folder calibrate int8, and
those of the folders between them are scored. Only the network is timed, mels to logits, on one thread: the
contenders take turns, each computes sixteen segments, `--segments` at a time, and a ratio to float32 as it is
shipped is the median over the rounds. A change is that of a clip's score of a tag, a mean over its segments.
Kept is what takes a quarter off and moves no score by .01.
"""

from __future__ import annotations

import argparse
import io
import logging
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
    quantize_dynamic,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from threadpoolctl import threadpool_limits

from lightmel import audio, checkpoint, hub
from lightmel.checkpoint import Description
from lightmel.evaluation import markdown
from lightmel.frontends import build_arrays
from lightmel.inference import cut
from lightmel.models import TaggingNetwork, build

Features = NDArray[np.float32]
Run = Callable[[Features], NDArray[np.float32]]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "onnx.md"
MARKS = "<!-- tried: made by benchmarks/lowered.py -->", "<!-- tried: end -->"
CLOSE, QUICK = 0.01, 0.75
"""Below the one a score may move, and at most the other part of the time may be left."""
SEEN = 5e-5
"""What is shown as a change."""
TIMED, REPEATS = 16, 3
"""Segments that are timed, and how often in a round."""
WEIGHTED = ("Conv", "Gemm", "MatMul")
WORDS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "bf16",
)
SHORT = 3
"""Frames of the timbre filters of a cheaper MUSICNN, in place of 7."""


@dataclass(frozen=True)
class Contender:
    """One way to compute logits: of how many segments at a time, and the bytes of its file."""

    run: Run
    at_once: int
    size: int | None = None
    trained: bool = True
    """Whether its scores mean anything."""


def processor() -> str:
    """Return what the processor is called, what of all that matters it has, and what runs on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = dict(tuple(part.strip() for part in line.partition(":")[::2]) for line in lines)
    has = set(entries.get("flags", entries.get("Features", "")).split())
    name = entries.get("model name") or platform.processor() or platform.machine()
    found = " ".join(word for word in WORDS if word in has) or "nothing known of its instructions"
    return f"{name} ({found}); ONNX Runtime {onnxruntime.__version__}, torch {torch.__version__}"


def clips(music: Path, count: int) -> tuple[list[Path], list[Path]]:
    """Return clips to calibrate with and clips to score, from different folders."""
    of: dict[Path, list[Path]] = {}
    for path in audio.find(music):
        of.setdefault(path.parent, []).append(path)
    chosen = [sorted(paths)[:count] for _, paths in sorted(of.items())]
    return list(chain.from_iterable(chosen[::2])), list(chain.from_iterable(chosen[1::2]))


def mels(description: Description, paths: Sequence[Path]) -> list[Features]:
    """Return the features of all segments of each clip."""
    frontend, length = build_arrays(description.config), description.segment_samples
    waves = ([s.wave for s in cut(audio.stream(p, description.config.sr), length, length)] for p in paths)
    return [np.asarray(frontend(np.stack(found))) for found in waves]


def scores(contender: Contender, features: Sequence[Features]) -> NDArray[np.float64]:
    """Return ``(clips, tags)``."""
    step = contender.at_once
    return np.array(
        [
            np.concatenate(
                [
                    1 / (1 + np.exp(-contender.run(clip[i : i + step]).astype(float)))
                    for i in range(0, len(clip), step)
                ]
            ).mean(axis=0)
            for clip in features
        ]
    )


def session(data: bytes, **settings: Any) -> Run:
    """Return what computes the logits of a graph on one thread.

    Settings are fields of the options of a session, and where there is no such field, its further entries.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in settings.items():
        if hasattr(options, name):
            setattr(options, name, value)
        else:
            options.add_session_config_entry(f"session.{name}", value)
    made = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda given: made.run(["logits"], {"features": given})[0]


def bfloat16(data: bytes) -> bytes:
    """Return a graph that computes in bfloat16 between its float32 inputs and outputs."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            bits = (numpy_helper.to_array(tensor).view(np.uint32) + 0x8000) >> 16
            tensor.CopyFrom(
                helper.make_tensor(
                    tensor.name, TensorProto.BFLOAT16, tensor.dims, bits.astype(np.uint16).tobytes(), raw=True
                )
            )
    given, inner = graph.input[0].name, {output.name: f"{output.name}.inner" for output in graph.output}
    for node in graph.node:
        node.input[:] = ["given.inner" if name == given else name for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    first = helper.make_node("Cast", [given], ["given.inner"], to=TensorProto.BFLOAT16)
    last = [
        helper.make_node("Cast", [name], [output], to=TensorProto.FLOAT) for output, name in inner.items()
    ]
    nodes = [first, *graph.node, *last]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


class _Batches(CalibrationDataReader):
    def __init__(self, features: Features) -> None:
        self._left = iter([{"features": features}])

    def get_next(self) -> dict[str, Features] | None:
        return next(self._left, None)


class Int8:
    """A graph with int8 weights, a scale for each filter, and uint8 between its nodes.

    Parameters
    ----------
    data
        The graph.
    features
        Of the clips that say what ranges the numbers between its nodes have.
    """

    def __init__(self, data: bytes, features: Sequence[Features]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        given, self._path = Path(self._folder.name) / "given.onnx", Path(self._folder.name) / "prepared.onnx"
        given.write_bytes(data)
        quant_pre_process(given, self._path, skip_symbolic_shape=True)
        self._model = onnx.load(self._path)
        self._features = features
        self.nodes = [node.name for node in self._model.graph.node if node.op_type in WEIGHTED]

    def dynamic(self) -> bytes:
        """Return the graph whose dense layers find the ranges of their input at each run."""
        out = self._path.with_name("dynamic.onnx")
        quantize_dynamic(
            self._path,
            out,
            per_channel=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Gemm", "MatMul"],
        )
        return out.read_bytes()

    def ranges(self, method: CalibrationMethod, **options: Any) -> Any:
        """Return the ranges of all tensors, by a method of ONNX Runtime's."""
        with redirect_stdout(io.StringIO()):
            calibrator = create_calibrator(
                self._path,
                None,
                str(self._path.with_name("augmented.onnx")),
                calibrate_method=method,
                extra_options=options,
            )
            for clip in self._features:
                calibrator.collect_data(_Batches(clip))
            return calibrator.compute_data()

    def graph(self, ranges: Any, nodes: Sequence[str]) -> bytes:
        """Return the graph with these of its nodes in int8, and the pools behind them."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        made = {output for node in model.graph.node if node.name in nodes for output in node.output}
        pools = [n.name for n in model.graph.node if n.op_type == "MaxPool" and n.input[0] in made]
        quantizer = QDQQuantizer(
            model,
            True,
            False,
            QuantType.QInt8,
            QuantType.QUInt8,
            ranges,
            [*nodes, *pools],
            [],
            [*WEIGHTED, "MaxPool"],
            {"WeightSymmetric": True, "ActivationSymmetric": False},
        )
        quantizer.quantize_model()
        data: bytes = quantizer.model.model.SerializeToString()
        return data

    def inner(self) -> list[str]:
        """Return the nodes that have others before and behind them."""
        forwards = self._behind(self._model.graph.node, lambda n: n.input, lambda n: n.output)
        backwards = self._behind(list(self._model.graph.node)[::-1], lambda n: n.output, lambda n: n.input)
        return [name for name in self.nodes if name in forwards and name in backwards]

    def hardy(self, ranges: Any, wanted: NDArray[np.float64], at_once: int) -> list[str]:
        """Return nodes that move the calibrating clips' scores by little together, the most work for it.

        They are taken in the order of how much each moves scores alone, for each multiplication that it does.
        """

        def moved(nodes: Sequence[str]) -> float:
            found = Contender(session(self.graph(ranges, nodes)), at_once)
            return float(np.abs(scores(found, self._features) - wanted).max())

        work = self._work()
        order = sorted(self.nodes, key=lambda name: moved([name]) / work[name])
        low, high = 0, len(order)
        while low < high:  # the longest part of that order that moves no score too far
            middle = (low + high + 1) // 2
            if moved(order[:middle]) < CLOSE:
                low = middle
            else:
                high = middle - 1
        return order[:low]

    @staticmethod
    def _behind(nodes: Any, before: Callable[[Any], Any], after: Callable[[Any], Any]) -> set[str]:
        """Return the weighted nodes that have a weighted one before them."""
        reached: set[str] = set()
        found = set()
        for node in nodes:
            if reached & set(before(node)):
                found.add(node.name)
            if node.name in found or node.op_type in WEIGHTED:
                reached |= set(after(node))
        return found

    def _work(self) -> dict[str, int]:
        """Return the multiplications of each weighted node for a segment."""
        graph = self._model.graph
        weights = {tensor.name: tensor.dims for tensor in graph.initializer}
        shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.value_info, *graph.output)
        }
        return {
            node.name: int(np.prod(weights[node.input[1]])) * int(np.prod(shapes[node.output[0]][2:]))
            for node in graph.node
            if node.op_type in WEIGHTED
        }


def by_torch(network: TaggingNetwork, body: Callable[[torch.Tensor], torch.Tensor], autocast: bool) -> Run:
    """Return what computes the logits by torch, as `TorchRuntime` does."""

    @torch.inference_mode()
    def run(given: Features) -> NDArray[np.float32]:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            embedding = body(torch.from_numpy(given)).float()
        found: NDArray[np.float32] = network.head(embedding).numpy()
        return found

    return run


def shorter(network: TaggingNetwork, description: Description, folder: Path) -> bytes:
    """Return the graph of a MUSICNN whose timbre filters are shorter, with weights drawn anew."""
    spec = network.spec()
    spec["timbre"] = [[part, SHORT, filters] for part, _, filters in spec["timbre"]]
    other = build(spec, generator=torch.Generator().manual_seed(0))
    path = folder / "shorter.onnx"
    checkpoint.export(path, other, description)
    return path.read_bytes()


def contenders(path: Path, calibrate: Sequence[Path], at_once: int) -> Iterator[tuple[str, Contender | None]]:
    """Yield what is tried with the tagger at `path`, as it is shipped first; None is what cannot be."""
    network, description = checkpoint.read(path)
    network.eval()
    data = checkpoint.fill(path.with_suffix(checkpoint.GRAPH_SUFFIX), checkpoint.read_tensors(path))
    size = len(data)
    shipped = Contender(session(data), at_once, size)
    yield "float32, as shipped", shipped
    levels = onnxruntime.GraphOptimizationLevel
    settings: Mapping[str, Mapping[str, Any]] = {
        "without its own layout of convolutions": {"graph_optimization_level": levels.ORT_ENABLE_EXTENDED},
        "without a memory arena": {"enable_cpu_mem_arena": False},
        "without a memory pattern": {"enable_mem_pattern": False},
        "denormals as zero": {"set_denormal_as_zero": "1"},
        "threads that do not spin": {"intra_op.allow_spinning": "0"},
    }
    for name, fields in settings.items():
        yield name, Contender(session(data, **fields), at_once, size)
    for count in (1, 2, 4, 8, 16):
        if count != at_once:
            yield f"{count} at a time", Contender(shipped.run, count, size)
    features = mels(description, calibrate)
    int8 = Int8(data, features)
    dynamic = int8.dynamic()
    yield "int8, dense layers only, dynamic", Contender(session(dynamic), at_once, len(dynamic))
    widest = int8.ranges(CalibrationMethod.MinMax)
    methods = {
        "the widest ranges": widest,
        "99.999 % of them": int8.ranges(CalibrationMethod.Percentile, percentile=99.999),
        "99.99 % of them": int8.ranges(CalibrationMethod.Percentile, percentile=99.99),
        "ranges by entropy": int8.ranges(CalibrationMethod.Entropy),
    }
    for name, ranges in methods.items():
        graph = int8.graph(ranges, int8.nodes)
        yield f"int8, {name}", Contender(session(graph), at_once, len(graph))
    graph = int8.graph(widest, int8.inner())
    yield "int8, all but first and last layers", Contender(session(graph), at_once, len(graph))
    hardy = int8.hardy(widest, scores(shipped, features), at_once)
    graph = int8.graph(widest, hardy) if hardy else b""
    bearing = Contender(session(graph), at_once, len(graph)) if hardy else None
    yield "int8, the nodes that bear it", bearing
    print(f"{path.stem}: {len(hardy)} of {len(int8.nodes)} nodes bear int8: {', '.join(hardy)}")
    half = convert_float_to_float16(onnx.load_model_from_string(data), keep_io_types=True).SerializeToString()
    for name, graph in {"float16": half, "bfloat16": bfloat16(data)}.items():
        try:
            yield name, Contender(session(graph), at_once, len(graph))
        except Exception as error:  # ONNX Runtime's have no common parent
            print(f"{path.stem}: {name} is refused: {str(error).splitlines()[0][:160]}")
            yield name, None
    if description.name.startswith("lightmel-musicnn"):
        with tempfile.TemporaryDirectory() as folder:
            graph = shorter(network, description, Path(folder))
        yield (
            f"timbre filters of {SHORT} frames",
            Contender(session(graph), at_once, len(graph), trained=False),
        )
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        body = network.rearranged(dtype) or network.embed
        yield f"torch, {name}", Contender(by_torch(network, body, autocast=False), at_once)
    yield "torch, bfloat16 by autocast", Contender(by_torch(network, network.embed, autocast=True), at_once)


def timed(tried: Mapping[str, Contender], given: Features, rounds: int) -> dict[str, float]:
    """Return the part of the first one's time that each takes."""
    times: dict[str, list[float]] = {name: [] for name in tried}
    for number in range(rounds + 2):
        for name, contender in tried.items():
            pieces = [given[i : i + contender.at_once] for i in range(0, len(given), contender.at_once)]
            for piece in pieces:  # so that what it needs is in the cache again
                contender.run(piece)
            start = process_time()
            for piece in pieces * REPEATS:
                contender.run(piece)
            if number > 1:  # the first two warm up
                times[name].append(process_time() - start)
    first = next(iter(times.values()))
    return {name: median(a / b for a, b in zip(taken, first, strict=True)) for name, taken in times.items()}


def row(
    contender: Contender, ratio: float, wanted: NDArray[np.float64], features: Sequence[Features]
) -> tuple[str, ...]:
    """Return a contender's time, mean and largest change, size, and whether it is kept."""
    size = "" if contender.size is None else f"{contender.size / 1e3:,.0f}"
    if not contender.trained:
        return f"{ratio:.2f}", "", "", size, ""
    change = np.abs(scores(contender, features) - wanted)
    kept = "yes" if ratio <= QUICK and change.max() < CLOSE else ""
    return f"{ratio:.2f}", f"{change.mean():.5f}", f"{change.max():.4f}", size, kept


def main() -> None:
    """Parse, measure, print; write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("music", type=Path)
    parser.add_argument("--clips", type=int, default=2, help="of each folder")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--segments", type=int, default=8, help="in one batch, as `tag` has them")
    parser.add_argument("--only", nargs="*", help="taggers; all of the package if left out")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # of the quantiser, on every graph
    torch.set_num_threads(1)
    calibrate, test = clips(options.music, options.clips)
    names = options.only or [release.name for release in hub.releases() if release.where == "package"]
    head = "", "of float32's time", "mean change", "largest", "kB", "kept"
    cells: dict[str, dict[str, str]] = {}
    with threadpool_limits(1):
        for name in names:
            path = hub.packaged(name)
            assert path is not None, f"{name} is no tagger of the package"
            tried = dict(contenders(path, calibrate, options.segments))
            features = mels(checkpoint.read_description(path), test)
            there = {key: contender for key, contender in tried.items() if contender is not None}
            ratios = timed(there, np.concatenate(features)[:TIMED], options.rounds)
            wanted = scores(next(iter(there.values())), features)
            rows = []
            for key, contender in tried.items():
                found = ("none", "", "", "", "")
                if contender is not None:
                    found = row(contender, ratios[key], wanted, features)
                rows.append((key, *found))
                ratio, _, largest, _, kept = found
                text = f"{ratio}, {largest}" if float(largest or 0) >= SEEN else ratio
                cells.setdefault(key, {})[name] = f"**{text}**" if kept else text
            print(f"\n{name}\n\n{markdown(head, rows)}\n")
    table = markdown(
        ("", *names), [(key, *(of.get(name, "") for name in names)) for key, of in cells.items()]
    )
    about = (
        f"{processor()}; one thread, medians of {options.rounds}; {len(calibrate)} clips calibrate, "
        f"{len(test)} are scored."
    )
    text = f"{table}\n\n{about}"
    print(f"The part of float32's time, and the largest change of a score:\n\n{text}")
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        start, end = (page.index(mark) for mark in MARKS)
        PAGE.write_text(f"{page[: start + len(MARKS[0])]}\n\n{text}\n\n{page[end:]}", encoding="utf-8")


if __name__ == "__main__":
    main()

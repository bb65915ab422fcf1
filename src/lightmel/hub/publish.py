"""Release folders, and what puts one on the Hugging Face Hub."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import checkpoint
from .._files import beside, write_whole
from ..checkpoint import Description, read_description, read_network, to_document, weights_sha256
from ..errors import HubError, WeightsError
from .card import (
    is_stated,
    make_card,
    needs_notices,
    results_of_evaluation,
    results_of_family,
    results_of_report,
    with_place,
)
from .catalogue import CHECKPOINTS, graph_of, packaged, results
from .client import LIBRARY, api, endpoint, is_offline, translated
from .repositories import CONFIG, GRAPH, WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from ..models import TaggingNetwork

CARD = "README.md"
"""The card in a release folder, as the Hub shows it."""
NOTICE = "NOTICE"
"""The licenses of the teachers there, which want to be passed on with what learned from them."""
OPTIONAL = (NOTICE, GRAPH)
"""What only some releases have."""


def check_publishable(description: Description) -> None:
    """Raise `HubError` for a tagger that nobody here may publish: without a license, or somebody else's."""
    if description.name in CHECKPOINTS:
        raise HubError(f"{description.name} is other people's: name theirs, do not publish it anew.")
    if not is_stated(description.license):
        raise HubError(
            f"{description.name} states no license, so that nobody could use it: it is not published. Give "
            "it one with --license when it is trained, or in Python: lightmel.Tagger(tagger.network, "
            'dataclasses.replace(tagger.description, license="..."))'
        )


def write_release(
    source: str | os.PathLike[str], folder: str | os.PathLike[str], *, repository: str | None = None
) -> Path:
    """Write the release folder of a tagger's file, and return it.

    ``model.safetensors`` is the file itself, ``config.json`` its description, ``README.md`` its card: that of
    the package for a tagger of the package, else one made from the description, with the figures of
    ``lightmel train`` or ``lightmel finetune`` if they lie beside the file and are of the same weights. Where
    it learned from checkpoints of other people, their licenses go along in ``NOTICE``. ``model.onnx``, the
    graph that `lightmel.load` runs without torch, is written where the extra ``export`` is installed.

    Parameters
    ----------
    source
        The ``.safetensors`` file, which is read strictly first.
    folder
        Made if it is missing; may hold an earlier release, which is replaced.
    repository
        ``owner/name`` of where it is going to be, for the card; without one it says how to load it from the
        folder, and `push` names the repository.

    Raises
    ------
    WeightsError
        If the file is damaged, the folder cannot be written or holds other things, whose README it would
        replace. Nothing is then changed.
    """
    source, target = Path(source), Path(os.path.realpath(folder))
    network, description = checkpoint.read(source)
    spec = read_network(source)
    weights = weights_sha256(network)
    figures, body = _of_package(description, weights)
    if body is None:
        figures = _of_training(source, weights, description)
    config = {"library_name": LIBRARY, **json.loads(to_document(description, spec))}
    card = make_card(description, spec, place=repository, results=figures, body=body)
    _check_folder(target)
    own = resources.files("lightmel").joinpath("pretrained", NOTICE)
    files = {NOTICE: own.read_bytes()} if needs_notices(description) else {}
    if checkpoint.can_export():
        files[GRAPH] = _graph(source, network, description)
    files |= {
        WEIGHTS: source.read_bytes(),
        CONFIG: f"{json.dumps(config, indent=1, ensure_ascii=False)}\n".encode("utf-8", "backslashreplace"),
        CARD: card.encode("utf-8", "backslashreplace"),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # First all of it beside the folder: a full disk leaves no half of a release.
        staged = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            for name, data in files.items():
                write_whole(staged / name, data, WeightsError)
            target.mkdir(exist_ok=True)
            for name in files:
                (staged / name).replace(target / name)
            for name in OPTIONAL:
                if name not in files:  # that of an earlier release of another tagger
                    (target / name).unlink(missing_ok=True)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise WeightsError(f"{target} cannot be written: {error.strerror or error}.") from error
    return target


def push(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Put a release folder into a repository of the Hugging Face Hub, in one commit, and return its address.

    Parameters
    ----------
    folder
        As `write_release` writes it; other files in it stay where they are.
    repository
        ``owner/name``; made if there is none. The card that is published loads the tagger from there.
    token, private, revision, commit_message
        As in `lightmel.Tagger.push_to_hub`.

    Raises
    ------
    WeightsError
        If the folder holds no release.
    HubError
        If the tagger may not be published, the repository holds other things than a tagger of lightmel, or
        the Hub cannot be reached or refuses. The repository then has all of the files or none of them.
    ConfigError
        If no repository can have that name.
    """
    folder = Path(folder)
    if lost := [name for name in (WEIGHTS, CONFIG, CARD) if not (folder / name).is_file()]:
        raise WeightsError(f"{folder} is no release folder: it lacks {', '.join(lost)}.")
    description = read_description(folder / WEIGHTS)
    check_publishable(description)
    with translated(repository):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, get_token
        from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

        if is_offline():
            raise OfflineModeIsEnabled
        if not token and get_token() is None:
            raise LocalTokenNotFoundError
        client = api(token)
        client.create_repo(repository, private=private, exist_ok=True)
        there = _names_there(client, repository, revision)
        if revision is not None:
            client.create_branch(repository, branch=revision, exist_ok=True)
        card = with_place((folder / CARD).read_text(encoding="utf-8"), repository)
        files: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(CONFIG, folder / CONFIG),
            CommitOperationAdd(CARD, card.encode("utf-8", "backslashreplace")),
            CommitOperationAdd(WEIGHTS, folder / WEIGHTS),
        ]
        for name in OPTIONAL:
            if (folder / name).is_file():
                files.append(CommitOperationAdd(name, folder / name))
            elif name in there:  # that of an earlier tagger
                files.append(CommitOperationDelete(name))
        client.create_commit(
            repository,
            files,
            commit_message=commit_message or f"{description.name} {description.version}",
            revision=revision,
        )
    return f"{endpoint() or 'https://huggingface.co'}/{repository}"


def _names_there(client: HfApi, repository: str, revision: str | None) -> set[str]:
    """Return the names of the files that a repository has, if it is empty or has a tagger of lightmel.

    Raises
    ------
    HubError
        If it holds other things, whose card and weights would be replaced.
    """
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        info = client.model_info(repository, revision=revision)
    except RevisionNotFoundError:  # a branch that is yet to be, with what the main one has
        info = client.model_info(repository)
    names = {file.rfilename for file in info.siblings or ()}
    if not names - _OF_GIT:
        return names
    ours = False
    if CONFIG in names:
        with tempfile.TemporaryDirectory() as scratch:
            file = client.hf_hub_download(repository, CONFIG, revision=info.sha, cache_dir=scratch)
            ours = _is_ours(Path(file))
    if not ours:
        raise HubError(
            f"{repository} holds other things than a tagger of lightmel, which would be replaced: name a new "
            "repository, or an empty one."
        )
    return names


def _is_ours(config: Path) -> bool:
    """Return whether a release's description is there, written by lightmel."""
    try:
        return bool(json.loads(config.read_bytes())["library_name"] == LIBRARY)
    except (OSError, ValueError, TypeError, KeyError):
        return False


_OF_GIT = frozenset((".gitattributes", ".git"))
"""What is in an empty repository too."""


def _graph(source: Path, network: TaggingNetwork, description: Description) -> bytes:
    """Return the graph of a tagger: that of the package, filled, for one of its own; else a new one."""
    path = packaged(description.name)
    graph = None if path is None else graph_of(path)
    if path is not None and graph is not None and path.read_bytes() == source.read_bytes():
        return checkpoint.fill(graph, checkpoint.read_tensors(source))
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / GRAPH
        checkpoint.export(made, network, description)
        return made.read_bytes()


def _of_package(description: Description, weights: str) -> tuple[list[dict[str, Any]], str | None]:
    """Return figures and card that the package has of a tagger, if it is one of its own, weights included."""
    path = packaged(description.name)
    if path is None or read_description(path) != description:
        return [], None
    if weights_sha256(checkpoint.read(path)[0]) != weights:
        return [], None
    measured, card = results(description.name), path.with_suffix(".md")
    # Of the first tagger `lightmel distill` wrote what is known.
    figures = _of_report(path, description) if measured is None else results_of_family(measured, description)
    return figures, card.read_text(encoding="utf-8") if card.is_file() else None


def _of_report(path: Path, description: Description) -> list[dict[str, Any]]:
    """Return the figures that `lightmel distill` wrote beside a tagger of the package, if it did."""
    try:
        return results_of_report(json.loads(path.with_suffix(".json").read_bytes())["report"], description)
    except (OSError, ValueError, TypeError, KeyError):  # it was made otherwise
        return []


def _of_training(source: Path, weights: str, description: Description) -> list[dict[str, Any]]:
    """Return the figures that a training wrote beside the tagger, if they are of these weights."""
    try:
        found = json.loads(beside(source, ".json").read_bytes())
        evaluation = found["evaluation"]
        return results_of_evaluation(evaluation, description) if evaluation["weights"] == weights else []
    except (OSError, ValueError, TypeError, KeyError):  # none there, or figures of something else
        return []


def _check_folder(target: Path) -> None:
    try:
        names = {path.name for path in target.iterdir()} if target.exists() else set()
    except OSError as error:  # a file, or closed to us
        raise WeightsError(f"{target} is no folder that can be written to: {error.strerror}.") from error
    if names - _OF_GIT and not _is_ours(target / CONFIG):
        raise WeightsError(f"{target} holds other things than a release: name a new folder, or an empty one.")

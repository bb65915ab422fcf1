"""A Hugging Face Hub on the loopback address, as far as its client uses it for a tagger.

It answers what the real client asks: resolve (with redirects, ETag, commit and linked-file headers), ranges,
creating repositories and branches, preupload, LFS batch and upload, commit. Xet is not spoken. What it does
not know it answers with 501 and remembers; the fixture that starts it then fails the test.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

WRITES, READS = "hf_writes", "hf_reads"
"""Tokens: of somebody who may write, and of somebody who may only read."""
LARGE = (".safetensors", ".onnx")
"""What is stored as large files are: known by its SHA-256, and fetched from another address."""


@dataclass
class Repo:
    """Commits, each with all of its files, and what branches and tags lead to."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(
        self, files: dict[str, bytes], branch: str = "main", deleted: frozenset[str] = frozenset()
    ) -> str:
        before = self.commits.get(self.refs.get(branch, ""), {})
        after = {name: data for name, data in (before | files).items() if name not in deleted}
        text = repr((len(self.commits), sorted((k, hashlib.sha256(v).hexdigest()) for k, v in after.items())))
        oid = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[oid], self.refs[branch] = after, oid
        return oid


class Hub:
    """The state of the server, and what it was asked."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.unknown: list[str] = []
        self.status: dict[str, int] = {}
        """For a kind of request (``resolve``, ``blob``, ``create``, ``commit``, ``upload``), its refusal."""
        self.cut: list[int] = []
        """For the next downloads of large files, after how many bytes the connection breaks."""
        self.wrong = False
        """Whether large files come with other bytes than announced."""
        self.endpoint = self.store = ""

    def add(self, name: str, files: dict[str, bytes], **options: Any) -> str:
        """Make a repository if there is none, and return the commit of these files."""
        branch = options.pop("branch", "main")
        repo = self.repos.setdefault(name, Repo(**options))
        self.blobs |= {hashlib.sha256(v).hexdigest(): v for k, v in files.items() if k.endswith(LARGE)}
        return repo.commit(files, branch)

    def requests(self, method: str, part: str) -> list[dict[str, str]]:
        """Return the headers of the requests of a method whose path holds `part`."""
        return [headers for m, path, headers in self.asked if m == method and part in path]


class RefusalError(Exception):
    def __init__(self, status: int, code: str = "", text: str = "refused") -> None:
        super().__init__(text)
        self.status, self.code = status, code


_NAME = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = [
    (r"GET|HEAD", rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", "resolve"),
    (r"GET|HEAD", rf"/api/resolve-cache/models/{_NAME}/(?P<revision>[0-9a-f]+)/(?P<file>.+)", "small"),
    (r"GET|HEAD", r"/blobs/(?P<oid>[0-9a-f]{64})", "blob"),
    (r"POST", r"/api/repos/create", "create"),
    (r"POST", r"/api/validate-yaml", "validate"),
    (r"GET", rf"/api/models/{_NAME}", "info"),
    (r"GET", rf"/api/models/{_NAME}/revision/(?P<revision>[^/]+)", "info"),
    (r"POST", rf"/api/models/{_NAME}/branch/(?P<branch>[^/]+)", "branch"),
    (r"POST", rf"/api/models/{_NAME}/preupload/(?P<revision>[^/]+)", "preupload"),
    (r"POST", rf"/{_NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT", r"/blobs/(?P<oid>[0-9a-f]{64})", "upload"),
    (r"POST", r"/verify/(?P<oid>[0-9a-f]{64})", "verify"),
    (r"POST", rf"/api/models/{_NAME}/commit/(?P<revision>[^/]+)", "commit"),
]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        for methods, pattern, what in ROUTES:
            if re.fullmatch(methods, self.command) and (match := re.fullmatch(pattern, path)):
                try:
                    if status := self.hub.status.get(what):
                        raise RefusalError(status, "GatedRepo" if status == 403 and what == "resolve" else "")
                    getattr(self, what)(**match.groupdict())
                except RefusalError as refusal:
                    named = {"X-Error-Code": refusal.code} if refusal.code else {}
                    self.send(
                        refusal.status, {"error": str(refusal)}, {**named, "X-Error-Message": str(refusal)}
                    )
                return
        self.hub.unknown.append(f"{self.command} {self.path}")
        self.send(501, {"error": "this is not known here"})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names that the base looks up

    def send(self, status: int, body: Any = b"", headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # Who asks, and for what.

    def token(self) -> str:
        return str(self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def readable(self, name: str) -> Repo:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self.token() not in (WRITES, READS)):
            # The Hub does not tell a stranger whether there is one.
            raise RefusalError(
                404 if self.token() in (WRITES, READS) else 401, "RepoNotFound", "Repository Not Found"
            )
        if repo.gated:
            raise RefusalError(403, "GatedRepo", "Access to this repository is restricted")
        return repo

    def writable(self, name: str) -> Repo:
        self.writer()
        return self.readable(name)

    def writer(self) -> None:
        if self.token() not in (WRITES, READS):
            raise RefusalError(401, text="Invalid credentials")
        if self.token() != WRITES:
            raise RefusalError(403, text="You don't have the rights")

    def commit_of(self, repo: Repo, revision: str) -> str:
        oid = repo.refs.get(revision, revision)
        if oid not in repo.commits:
            raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid

    # Reading.

    def resolve(self, repo: str, revision: str, file: str) -> None:
        found = self.readable(repo)
        oid = self.commit_of(found, revision)
        data = found.commits[oid].get(file)
        if data is None:
            raise RefusalError(404, "EntryNotFound", "Entry not found")
        if file.endswith(LARGE):
            sha = hashlib.sha256(data).hexdigest()
            headers = {
                "Location": f"{self.hub.store}/blobs/{sha}",
                "X-Repo-Commit": oid,
                "X-Linked-Etag": f'"{sha}"',
                "X-Linked-Size": str(len(data)),
                "ETag": '"of-the-pointer"',
            }
            self.send(302, b"", headers)
            return
        headers = {
            "Location": f"/api/resolve-cache/models/{repo}/{oid}/{file}",
            "X-Repo-Commit": oid,
            "ETag": f'"{_git_oid(data)}"',
        }
        self.send(307, b"", headers)

    def small(self, repo: str, revision: str, file: str) -> None:
        data = self.readable(repo).commits[revision][file]
        self.send(200, data, {"X-Repo-Commit": revision, "ETag": f'"{_git_oid(data)}"'})

    def blob(self, oid: str) -> None:
        assert "authorization" not in self.hub.asked[-1][2], "the token went to another address"
        data = self.hub.blobs[oid]
        if self.hub.wrong:
            data = bytes(255 - byte for byte in data)
        start, status, headers = 0, 200, {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"}
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start, status = int(match[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.command == "GET" and self.hub.cut:
            end = self.hub.cut.pop(0)
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(data) - start)}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data[start : start + end])
            self.wfile.flush()
            self.close_connection = True
            return
        self.send(status, data[start:], headers)

    def info(self, repo: str, revision: str = "main") -> None:
        found = self.readable(repo)
        oid = self.commit_of(found, revision)
        files = [{"rfilename": name} for name in found.commits[oid]]
        self.send(200, {"id": repo, "modelId": repo, "sha": oid, "private": found.private, "siblings": files})

    # Writing.

    def create(self) -> None:
        self.writer()
        given = json.loads(self.body)
        name = f"{given.get('organization') or 'me'}/{given['name']}"
        if name in self.hub.repos:
            self.send(
                409, {"error": "You already created this model repo", "url": f"{self.hub.endpoint}/{name}"}
            )
            return
        private = given.get("private") or given.get("visibility") == "private"  # newer clients say it so
        self.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=bool(private))
        self.send(200, {"url": f"{self.hub.endpoint}/{name}", "name": name, "id": name})

    def validate(self) -> None:
        import yaml

        front = json.loads(self.body)["content"].split("---\n")[1]
        plain = yaml.safe_load(front)
        errors = [] if isinstance(plain, dict) and "license" in plain else [{"message": "no license"}]
        self.send(400 if errors else 200, {"errors": errors, "warnings": []})

    def branch(self, repo: str, branch: str) -> None:
        found = self.writable(repo)
        if branch in found.refs:
            raise RefusalError(409, text="Reference already exists")
        found.refs[branch] = found.refs["main"]
        self.send(201, {})

    def preupload(self, repo: str, revision: str) -> None:
        self.commit_of(self.writable(repo), revision)
        files = [
            {
                "path": f["path"],
                "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for f in json.loads(self.body)["files"]
        ]
        self.send(200, {"files": files})

    def batch(self, repo: str) -> None:
        self.writable(repo)
        objects = []
        for one in json.loads(self.body)["objects"]:
            oid = one["oid"]
            entry: dict[str, Any] = {"oid": oid, "size": one["size"]}
            if oid not in self.hub.blobs:
                entry["actions"] = {
                    "upload": {"href": f"{self.hub.store}/blobs/{oid}", "header": {}},
                    "verify": {"href": f"{self.hub.endpoint}/verify/{oid}", "header": {}},
                }
            objects.append(entry)
        kind = {"Content-Type": "application/vnd.git-lfs+json"}
        self.send(200, {"transfer": "basic", "objects": objects}, kind)

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise RefusalError(400, text="another hash")
        self.hub.blobs[oid] = self.body
        self.send(200)

    def verify(self, oid: str) -> None:
        size = json.loads(self.body)["size"]
        self.send(200 if len(self.hub.blobs.get(oid, b"")) == size else 404, {})

    def commit(self, repo: str, revision: str) -> None:
        found = self.writable(repo)
        self.commit_of(found, revision)
        files: dict[str, bytes] = {}
        deleted: set[str] = set()
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif entry["key"] == "deletedFile":
                assert value["path"] in found.commits[found.refs[revision]], value["path"]
                deleted.add(value["path"])
            else:
                assert entry["key"] == "header", entry["key"]
        oid = found.commit(files, revision, frozenset(deleted))
        address = f"{self.hub.endpoint}/{repo}/commit/{oid}"
        self.send(200, {"success": True, "commitOid": oid, "commitUrl": address, "hookOutput": ""})


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve a Hub, its large files from another port, until the end of the block."""
    hub = Hub()
    handler = type("Bound", (Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    hub.endpoint, hub.store = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

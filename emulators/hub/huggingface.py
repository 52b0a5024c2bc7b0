"""The Hugging Face Hub: where a file is, what a repository holds, who is asking."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from emulators.hub.delivery import Delivery, replacement
from emulators.hub.grants import Grants
from emulators.hub.shelves import Entry, Repo

_EXPOSED = "X-Repo-Commit,X-Error-Code,X-Error-Message,X-Linked-Size,X-Linked-Etag,ETag,Accept-Ranges"


class HuggingFace:
    """The Hub's routes; `cdn_url` says, once it listens, where signed paths are served.

    `renamed` leads from former names of repositories to those of today.
    """

    def __init__(
        self,
        repos: Mapping[str, Repo],
        tokens: frozenset[str],
        *,
        delivery: Delivery,
        grants: Grants,
        cdn_url: Callable[[], str],
        renamed: Mapping[str, str],
    ) -> None:
        self._repos = repos
        self._renamed = renamed
        self._tokens = tokens
        self._delivery = delivery
        self._grants = grants
        self._cdn_url = cdn_url

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        repo = "/{owner}/{name}"
        return [
            web.get("/api/whoami-v2", self.whoami),
            web.get(f"/api/models{repo}", self.model_info),
            web.get(f"/api/models{repo}/revision/{{revision}}", self.model_info),
            web.get(f"{repo}/resolve/{{revision}}/{{file:.+}}", self.resolve),
        ]

    async def whoami(self, request: web.Request) -> web.Response:
        """Who the token belongs to."""
        fault = self._delivery.instead(request, "api", "whoami-v2")
        if fault is not None:
            return replacement(fault)
        if bearer(request) not in self._tokens:
            return _refusal(401, None, "Invalid username or password.")
        return web.json_response(
            {
                "type": "user",
                "id": "0123456789abcdef01234567",
                "name": "emulated-user",
                "fullname": "Emulated User",
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": {"displayName": "emulated", "role": "read"}},
            }
        )

    async def model_info(self, request: web.Request) -> web.Response:
        """The commit and the files of a repository, with sizes and digests where `blobs` is asked for.

        The list of a gated repository is public on the Hub; only its files are not.
        """
        repo_id = f"{request.match_info['owner']}/{request.match_info['name']}"
        fault = self._delivery.instead(request, "api", repo_id)
        if fault is not None:
            return replacement(fault)
        if repo_id in self._renamed:
            return self._moved(request, repo_id)
        repo = self._repos.get(repo_id)
        refusal = self._refuse_repo(request, repo)
        if repo is None or refusal is not None:
            return refusal or _not_found()
        revision = request.match_info.get("revision", "main")
        if not repo.has_revision(revision):
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        with_blobs = request.query.get("blobs", "").lower() in {"true", "1"}
        return web.json_response(_describe(repo_id, repo, with_blobs=with_blobs))

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """302 to the CDN for LFS files, the bytes themselves for small ones."""
        repo_id = f"{request.match_info['owner']}/{request.match_info['name']}"
        path, revision = request.match_info["file"], request.match_info["revision"]
        label = f"{repo_id}/{path}"
        fault = self._delivery.instead(request, "resolve", label)
        if fault is not None:
            return replacement(fault)
        if repo_id in self._renamed:
            return self._moved(request, repo_id)
        repo = self._repos.get(repo_id)
        refusal = self._refuse_repo(request, repo) or self._refuse_gated(request, repo_id, repo)
        if repo is None or refusal is not None:
            return refusal or _not_found()
        if not repo.has_revision(revision):
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        entry = repo.entries.get(path)
        commit = {"X-Repo-Commit": repo.revision, "Access-Control-Expose-Headers": _EXPOSED}
        if entry is None:
            return _refusal(404, "EntryNotFound", "Entry not found", commit)
        headers = {**commit, "ETag": f'"{entry.blob_id}"', "Accept-Ranges": "bytes"}
        if entry.is_lfs:
            return self._redirect(label, entry, headers)
        headers["Content-Type"] = "text/plain; charset=utf-8"
        return await self._delivery.send(request, label, entry.content, headers=headers)

    def _moved(self, request: web.Request, repo_id: str) -> web.Response:
        """307 to the same question about the repository's name of today."""
        location = request.path_qs.replace(repo_id, self._renamed[repo_id], 1)
        return web.Response(
            status=307, text=f"Temporary Redirect. Redirecting to {location}", headers={"Location": location}
        )

    def _redirect(self, label: str, entry: Entry, headers: Mapping[str, str]) -> web.Response:
        location = self._cdn_url() + self._grants.cloudfront(label, entry.content)
        linked = {
            "X-Linked-Etag": f'"{entry.content.sha256}"',
            "X-Linked-Size": str(entry.content.size),
            "Location": location,
        }
        return web.Response(status=302, text=f"Found. Redirecting to {location}", headers={**headers, **linked})

    def _refuse_repo(self, request: web.Request, repo: Repo | None) -> web.Response | None:
        """Why this client may not even know of the repository.

        To somebody without a token a missing repository looks like a private one.
        """
        token = bearer(request)
        if token is not None and token not in self._tokens and (repo is None or not repo.gated):
            return _refusal(401, None, "Invalid credentials in Authorization header")
        hidden = repo is None or (repo.private and not repo.lets_in(token))
        if hidden and token is None:
            return _refusal(401, "RepoNotFound", "Invalid username or password.")
        return _not_found() if hidden else None

    def _refuse_gated(self, request: web.Request, repo_id: str, repo: Repo | None) -> web.Response | None:
        """Why this client may not have the files of a gated repository; an unknown token counts as none."""
        token = bearer(request)
        if repo is None or not repo.gated or (token in self._tokens and repo.lets_in(token)):
            return None
        restricted = f"Access to model {repo_id} is restricted"
        if token not in self._tokens:
            return _refusal(
                401,
                "GatedRepo",
                f"{restricted}. You must have access to it and be authenticated to access it. Please log in.",
            )
        return _refusal(
            403,
            "GatedRepo",
            f"{restricted} and you are not in the authorized list."
            f" Visit https://huggingface.co/{repo_id} to ask for access.",
        )


def bearer(request: web.Request) -> str | None:
    """The token of an `Authorization: Bearer` header."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _not_found() -> web.Response:
    return _refusal(404, "RepoNotFound", "Repository not found")


def _refusal(status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error as the Hub words it: in headers, which HEAD shows too, and as JSON."""
    about = {"X-Error-Message": message, **(headers or {})}
    if code is not None:
        about["X-Error-Code"] = code
    return web.json_response({"error": message}, status=status, headers=about)


def _describe(repo_id: str, repo: Repo, *, with_blobs: bool) -> dict[str, Any]:
    return {
        "_id": "0123456789abcdef01234567",
        "id": repo_id,
        "modelId": repo_id,
        "author": repo_id.partition("/")[0],
        "sha": repo.revision,
        "lastModified": "2026-01-01T00:00:00.000Z",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "private": repo.private,
        "gated": "manual" if repo.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": [_sibling(entry) if with_blobs else {"rfilename": entry.path} for entry in repo.entries.values()],
    }


def _sibling(entry: Entry) -> dict[str, Any]:
    sibling: dict[str, Any] = {
        "rfilename": entry.path,
        "size": entry.content.size,
        "blobId": entry.blob_id,
    }
    if entry.is_lfs:
        sibling["lfs"] = {
            "sha256": entry.content.sha256,
            "size": entry.content.size,
            "pointerSize": entry.pointer.size,
        }
    return sibling

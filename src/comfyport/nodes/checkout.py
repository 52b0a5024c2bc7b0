"""One git repository at one commit, into one folder; and which commit a branch or a tag is.

git does the work, as a person's own git would: with their ssh keys and credential helpers, but never with a question on
the terminal, and with the protocols that are allowed only, for submodules too.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from tenacity import RetryCallState, retry, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from comfyport.errors import NodeFetchFailed, UnknownNode
from comfyport.nodes import addresses

TIMEOUT_SECONDS = 1800
ATTEMPTS = 4
BACKOFF = wait_exponential_jitter(initial=1, max=20)
_PASSING = re.compile(
    r"could not resolve host|connection|timed out|early eof|rpc failed|returned error: (5\d\d|429)|hung up|tls|ssl",
    re.IGNORECASE,
)
# What a git hook around us may have set would lead git to another repository.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")

Wait = Callable[[RetryCallState], float]


class GitFailed(Exception):
    """git ended with an error; the message is the end of its own words."""


class Git:
    """git, with the protocols that it may use; `wait` says how long before a broken transfer is tried again."""

    def __init__(self, protocols: tuple[str, ...], *, wait: Wait = BACKOFF) -> None:
        self.protocols = protocols
        self._retrying = retry(
            retry=retry_if_exception(lambda error: isinstance(error, GitFailed) and bool(_PASSING.search(str(error)))),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait,
            reraise=True,
        )

    def fetch(self, name: str, url: str, commit: str, tree: Path) -> None:
        """Brings the repository at `commit`, with its submodules, to the new folder `tree`.

        Raises NodeFetchFailed, or NodeError for a protocol that is not allowed.
        """
        addresses.require_allowed(url, self.protocols)
        try:
            self._run("init", "--quiet", "--", str(tree))
            self._run("remote", "add", "--", "origin", url, cwd=tree)
            self._retrying(self._fetch_commit)(commit, tree)
            self._run("checkout", "--quiet", "--detach", commit, cwd=tree)
            if (tree / ".gitmodules").is_file():
                self._retrying(self._run)(
                    "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1", cwd=tree
                )
            head = self._run("rev-parse", "HEAD", cwd=tree).strip()
        except GitFailed as error:
            raise NodeFetchFailed(name, str(error), source=url) from None
        if head != commit:
            raise NodeFetchFailed(name, f"git gave {head} for the commit {commit}", source=url)

    def resolve(self, url: str, ref: str | None = None) -> str:
        """The commit that a branch, a tag or, without one, the repository's HEAD is at now.

        Raises UnknownNode, or NodeError for a protocol that is not allowed.
        """
        addresses.require_allowed(url, self.protocols)
        if ref and re.fullmatch("[0-9a-f]{40}", ref):
            return ref
        wanted = [f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}"] if ref else ["HEAD"]
        try:
            listed = self._retrying(self._run)("ls-remote", "--", url, *wanted)
        except GitFailed as error:
            raise UnknownNode(f"{url} cannot be read: {error}", url=url) from None
        commits = {name: commit for commit, name in (line.split("\t", 1) for line in listed.splitlines())}
        found = next((commits[name] for name in wanted if name in commits), None)
        if found is None:
            raise UnknownNode(f"{url} has no {f'branch or tag {ref}' if ref else 'commit yet'}.", url=url)
        return found

    def _fetch_commit(self, commit: str, tree: Path) -> None:
        try:
            self._run("fetch", "--quiet", "--depth=1", "--no-tags", "--", "origin", commit, cwd=tree)
        except GitFailed as error:
            if _PASSING.search(str(error)):
                raise
            # Some servers give only what a branch or a tag points at: then everything is needed to find a commit.
            everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
            self._run("fetch", "--quiet", "--", "origin", *everything, cwd=tree)

    def _run(self, *arguments: str, cwd: Path | None = None) -> str:
        """git's output. Raises GitFailed."""
        # A transfer below 1 kB/s for a minute is a dead one. Some volumes show every file as somebody else's.
        settings = ("http.lowSpeedLimit=1000", "http.lowSpeedTime=60", "core.hooksPath=/dev/null", "safe.directory=*")
        options = [word for setting in settings for word in ("-c", setting)]
        try:
            done = subprocess.run(
                ["git", *options, *arguments],  # noqa: S607 - the one on PATH, as in a shell
                cwd=cwd,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise GitFailed("git is not installed") from None
        except subprocess.TimeoutExpired:
            raise GitFailed(f"git was ended after {TIMEOUT_SECONDS} s") from None
        if done.returncode:
            raise GitFailed(_last_words(done.stderr) or f"git ended with exit status {done.returncode}")
        return done.stdout

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        return {
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
            **kept,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(self.protocols),
            "LC_ALL": "C",
        }


def _last_words(text: str) -> str:
    """What went wrong, on one line, without the credentials of an address."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("hint:")]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
    return re.sub(r"//[^/@\s]+@", "//", "; ".join(telling[-4:]))[:600]

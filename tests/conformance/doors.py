"""The three doors, each on its platform, with a worker on a volume of the same content."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from emulators.runpod import RunPodEmulator
from tests.conftest import ROOT, container, free_port, furnish
from tests.serve.modal_platform import Face, deployment

Answer = dict[str, Any]
Door = Callable[[Any], Answer]
PATIENCE = 60.0


@contextmanager
def all_three(folder: Path) -> Iterator[dict[str, Door]]:
    """The doors by name; each takes the `input` of a job and gives its answer, in the form of the handler's."""
    folders = {name: folder / name for name in ("runpod", "http", "modal")}
    for each in folders.values():
        each.mkdir()
        furnish(each / "volume")
    with ExitStack() as stack:
        platform = stack.enter_context(RunPodEmulator())
        stack.enter_context(container((ROOT / "src" / "start.sh",), folders["runpod"], platform.environment()))
        port = str(free_port())
        http = stack.enter_context(container((ROOT / "src" / "start.sh",), folders["http"], {"PORT": port}))
        http.read_until("listening on")
        modal = Face(stack.enter_context(deployment(folders["modal"], most_containers=1)))

        def ask_runpod(job_input: Any) -> Answer:
            return _answer(platform.wait(platform.submit(job_input), timeout=PATIENCE))

        def ask_http(job_input: Any) -> Answer:
            url = f"http://127.0.0.1:{port}/runsync"
            return _answer(requests.post(url, json={"input": job_input}, timeout=PATIENCE).json())

        def ask_modal(job_input: Any) -> Answer:
            return _answer(modal.post("/runsync", {"input": job_input}).json())

        yield {"runpod": ask_runpod, "http": ask_http, "modal": ask_modal}


def _answer(state: dict[str, Any]) -> Answer:
    """What the handler gave, put together again from the body of `/status`."""
    assert state.get("status") in ("COMPLETED", "FAILED"), state
    error = {"error": state["error"]} if "error" in state else {}
    return {**(state.get("output") or {}), **error}

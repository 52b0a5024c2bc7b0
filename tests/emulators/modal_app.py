"""A small Modal App with one of everything, for the tests of the Modal emulator."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal

HERE = Path(__file__).parent
app = modal.App("sample")
image = modal.Image.from_dockerfile(HERE / "Dockerfile", context_dir=HERE, build_args={"FLAVOUR": "small"})
volume = modal.Volume.from_name("cache", version=2, create_if_missing=True)
tokens = modal.Secret.from_name("tokens", required_keys=["HF_TOKEN"])


@app.function(image=image, cpu=2, memory=512, volumes={"/cache": volume}, secrets=[tokens], timeout=60)
def write(text: str = "hello") -> dict[str, str]:
    print("writing", text)  # noqa: T201
    folder = Path(os.environ["MODAL_EMULATOR_VOLUME_CACHE"])
    (folder / "note.txt").write_text(text)
    volume.commit()
    return {
        "folder": str(folder),
        "mounted": str(Path("/cache/note.txt").is_file()),
        "cwd": str(Path.cwd()),
        "greeting": os.environ["GREETING"],
        "token": os.environ["HF_TOKEN"],
        "extra": os.environ.get("EXTRA", ""),
        "local": str(modal.is_local()),
    }


@app.function(image=image)
def fail() -> None:
    raise ValueError("the moon is in the wrong house")


@app.function(image=image)
def count(most: int) -> Iterator[int]:
    yield from range(most)


@app.function(image=image, timeout=1)
def dawdle() -> None:
    import time

    time.sleep(30)


@app.function(
    image=image,
    volumes={"/cache": volume},
    retries=modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0),
)
def falter() -> int:
    marks = Path(os.environ["MODAL_EMULATOR_VOLUME_CACHE"]) / "marks.txt"
    with marks.open("a") as file:
        file.write("x")
    if len(marks.read_text()) < 3:
        raise RuntimeError("not yet")
    return len(marks.read_text())


@app.function(image=image)
@modal.asgi_app(requires_proxy_auth=True)
def private() -> Any:
    import fastapi

    return fastapi.FastAPI()


@app.cls(
    image=image,
    gpu=["L40S", "A100-80GB:2"],
    volumes={"/cache": volume},
    timeout=600,
    scaledown_window=60,
    max_containers=1,
    enable_memory_snapshot=True,
)
@modal.concurrent(max_inputs=2)
class Worker:
    @modal.enter(snap=True)
    def prepare(self) -> None:
        self.loaded = 40

    @modal.enter()
    def load(self) -> None:
        self.loaded += 2

    @modal.method()
    async def add(self, number: int) -> int:
        return self.loaded + number

    @modal.method()
    async def wait(self) -> None:
        await asyncio.sleep(30)

    @modal.exit()
    def leave(self) -> None:
        (Path(os.environ["MODAL_EMULATOR_VOLUME_CACHE"]) / "left.txt").write_text("goodbye")


@app.function(image=image)
@modal.concurrent(max_inputs=10)
@modal.asgi_app()
def api() -> Any:
    import fastapi
    from fastapi.responses import StreamingResponse

    web = fastapi.FastAPI()

    @web.post("/jobs/{number}")
    async def start(number: int, request: fastapi.Request) -> dict[str, Any]:
        body = await request.body()
        call = await Worker().add.spawn.aio(number)
        return {"id": call.object_id, "size": len(body), "color": request.query_params.get("color")}

    @web.get("/jobs/{call_id}/result")
    async def result(call_id: str) -> dict[str, Any]:
        return {"result": await modal.FunctionCall.from_id(call_id).get.aio(timeout=30)}

    @web.get("/slow")
    async def slow() -> StreamingResponse:
        await asyncio.sleep(2)
        return StreamingResponse(iter([b"at ", b"last"]), status_code=201, headers={"X-Kind": "slow"})

    return web


@app.local_entrypoint()
def main(text: str = "by the entrypoint") -> None:
    print("written:", write.remote(text)["token"])  # noqa: T201
    print("counted:", list(count.remote_gen(3)))  # noqa: T201

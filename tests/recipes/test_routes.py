"""The routes of recipes: what they refuse at the door, what `/docs` and `/recipes` say, who may use them."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import picture, png
from tests.recipes.conftest import PHOTO, Kitchen, kitchen, squares, views

TOO_MANY = [str(number) for number in range(17)]
# A colour is one parameter of one square.
RED = {"colour": 0xFF0000}


def refusal(kitchen: Kitchen, route: str, body: Any) -> tuple[int, str, list[str]]:
    """Status, code, and the parameters that are said to be wrong."""
    response = kitchen.post(route, body)
    answer = response.json()
    problems = answer["details"].get("problems", ())
    return response.status_code, answer["error_code"], [problem["parameter"] for problem in problems]


@pytest.mark.parametrize(
    ("change", "parameters"),
    [
        ({"perspectives": []}, ["perspectives"]),
        (views(*TOO_MANY), ["perspectives"]),
        ({"perspectives": "left"}, ["perspectives"]),
        ({"perspectives": [{"id": "a", "name": "b"}]}, ["perspectives.0.prompt"]),
        ({"perspectives": [{"id": "a", "prompt": "x" * 4001}]}, ["perspectives.0.prompt"]),
        ({"perspectives": [{"id": "", "prompt": "x", "nme": "x"}]}, ["perspectives.0.id", "perspectives.0.nme"]),
        ({"image": ""}, ["image"]),
        ({"image": None}, ["image"]),
        ({"image": "A" * 26_700_000}, ["image"]),
        ({"steps": 0}, ["steps"]),
        ({"steps": 4.5}, ["steps"]),
        ({"steps": "4"}, ["steps"]),
        ({"steps": True}, ["steps"]),
        ({"cfg_scale": 1000}, ["cfg_scale"]),
        ({"seed": 2**53}, ["seed"]),
        ({"seed": -2}, ["seed"]),
        ({"stpes": 4}, ["stpes"]),
        ({"steps": 0, "cfg_scale": "high", "stpes": 4}, ["steps", "cfg_scale", "stpes"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_recipe_does_not_take_is_refused_at_the_door(
    shared: Kitchen, change: dict[str, Any], parameters: list[str]
):
    before = shared.sent

    assert refusal(shared, "/api/generate", {**views("left"), **change}) == (400, "invalid_parameters", parameters)
    assert shared.sent == before


def test_the_same_is_refused_in_a_job(shared: Kitchen):
    body = {"input": {"recipe": "multi-view", "parameters": {**views("left"), "steps": 0}}}
    answer = shared.post("/runsync", body).json()

    assert (answer["status"], answer["output"]["error_code"]) == ("FAILED", "invalid_parameters")


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'"text"', b"null", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused_in_words(shared: Kitchen, body: bytes):
    url, headers = f"{shared.url}/recipes/text-to-image", {"Content-Type": "application/json"}
    response = requests.post(url, data=body, headers=headers, timeout=30)

    assert (response.status_code, response.json()["error_code"]) == (400, "invalid_job")
    assert "text-to-image" in response.json()["error"]


def test_a_picture_that_is_none_is_the_requests_fault(shared: Kitchen):
    response = shared.post("/recipes/image-edit", {"image": "bm8gcGljdHVyZQ==", "prompt": "evening"})

    assert (response.status_code, response.json()["error_code"]) == (400, "input_failed")


@pytest.mark.parametrize(
    ("job_input", "code"),
    [
        ({"recipe": "none"}, "recipe_unknown"),
        ({"recipe": 7}, "invalid_job"),
        ({"recipe": "text-to-image", "workflow": {"1": {}}}, "invalid_job"),
        ({"recipe": "text-to-image", "parameters": {"prompt": "a cat"}, "timeout": -1}, "invalid_job"),
        ({"recipe": "text-to-image", "parameters": []}, "invalid_parameters"),
        ({"recipe": "text-to-image"}, "invalid_parameters"),
    ],
    ids=str,
)
def test_a_job_that_names_a_recipe_wrongly_is_told_so(shared: Kitchen, job_input: dict[str, Any], code: str):
    answer = shared.post("/runsync", {"input": job_input}).json()

    assert (answer["status"], answer["output"]["error_code"]) == ("FAILED", code)


def test_a_recipe_that_there_is_not_is_not_found(shared: Kitchen):
    assert refusal(shared, "/recipes/none", {}) == (404, "route_unknown", [])


def test_words_make_pictures(shared: Kitchen):
    asked = {"prompt": "a boat", "width": 64, "height": 128, "count": 2, "steps": 1}
    answer = shared.post("/recipes/text-to-image", asked).json()
    again = shared.post("/recipes/text-to-image", {**asked, "seed": answer["seed_used"]}).json()

    assert [picture(item).size for item in answer["images"]] == [(64, 128)] * 2
    assert [item["data"] for item in again["images"]] == [item["data"] for item in answer["images"]]


def test_a_picture_is_changed_in_words(shared: Kitchen):
    asked = {"image": f"data:image/png;base64,{PHOTO}", "prompt": "evening", "megapixels": 0.1, "seed": 1}
    answer = shared.post("/recipes/image-edit", asked).json()
    other = shared.post("/recipes/image-edit", {**asked, "image": png((40, 30), (0, 0, 9))}).json()

    assert picture({"data": answer["image"]}).size == (368, 280)
    assert answer["seed_used"] == 1
    assert answer["image"] != other["image"]


def test_a_prompt_that_reads_like_a_files_name_stays_a_prompt(shared: Kitchen):
    shared.post("/recipes/image-edit", {"image": PHOTO, "prompt": "picture.png", "megapixels": 0.1, "steps": 1})

    assert shared.comfyui.prompts[-1]["prompt"]["111"]["inputs"]["prompt"] == "picture.png"


def test_docs_describe_each_recipe_with_types_defaults_and_bounds(shared: Kitchen):
    document = shared.get("/openapi.json").json()
    forms = document["components"]["schemas"]
    route = document["paths"]["/api/generate"]["post"]
    asked = forms[named(route["requestBody"])]
    answered = forms[named(route["responses"]["200"])]
    view = forms[answered["properties"]["images"]["items"]["$ref"].rsplit("/", 1)[1]]

    assert route == {**document["paths"]["/recipes/multi-view"]["post"], "operationId": route["operationId"]}
    assert asked["required"] == ["image", "perspectives"]
    assert asked["properties"]["steps"] == {
        "type": "integer",
        "title": "steps",
        "description": "Steps of the sampler: 4 with the Lightning LoRA, 20 to 40 without.",
        "default": 4,
        "minimum": 1,
        "maximum": 100,
    }
    assert asked["properties"]["perspectives"]["maxItems"] == 16
    assert asked["properties"]["image"]["examples"]
    assert set(view["properties"]) >= {"perspective_id", "perspective_name", "image", "seed_used", "error"}
    assert {"images", "total_time", "original_image"} <= set(answered["required"])
    assert not dangling(document)


def named(content: dict[str, Any]) -> str:
    """The form of a body."""
    reference: str = content["content"]["application/json"]["schema"]["$ref"]
    return reference.rsplit("/", 1)[1]


def dangling(document: dict[str, Any]) -> set[str]:
    """References that lead nowhere."""

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else ())
            for part in value.values():
                yield from references(part)
        elif isinstance(value, list):
            for part in value:
                yield from references(part)

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    return set(references(document)) - known


def test_recipes_are_listed_with_what_they_take_and_need(shared: Kitchen):
    listed = {recipe["name"]: recipe for recipe in shared.get("/recipes").json()["recipes"]}

    assert set(listed) == {"image-edit", "multi-view", "text-to-image"}
    assert listed["multi-view"]["routes"] == ["/recipes/multi-view", "/api/generate"]
    assert listed["multi-view"]["models"] == ["qwen-image-edit-bf16"]
    assert listed["text-to-image"]["parameters"]["required"] == ["prompt"]
    assert listed["text-to-image"]["parameters"]["properties"]["sampler"]["default"] == "euler"
    assert listed["image-edit"]["answer"]["properties"]["image"]["type"] == "string"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    """A door with a key, small bodies and little room in its answers, whose volume has a recipe of its own."""
    folder = tmp_path_factory.mktemp("own")
    squares(folder / "volume" / "recipes")
    environ = {"COMFYPORT_API_KEY": "a-key", "BODY_BYTES": "1000", "ANSWER_LIMIT_MB": "0.012"}
    with kitchen(folder, environ, step_seconds=0.05) as opened:
        yield opened


KEY = {"Authorization": "Bearer a-key"}


@pytest.mark.parametrize("route", ["/recipes/squares", "/api/generate", "/v2/any/recipes/squares"])
def test_without_the_key_no_recipe_is_served(own: Kitchen, route: str):
    assert refusal(own, route, {"squares": [RED]}) == (401, "unauthorized", [])
    assert own.get("/recipes").status_code == 401


def test_a_recipe_on_the_volume_is_served_too(own: Kitchen):
    answer = own.post("/v2/any/recipes/squares", {"squares": [RED]}, headers=KEY).json()

    assert answer["results"][0]["colour"] == 0xFF0000
    assert picture({"data": answer["results"][0]["file"]}).getpixel((0, 0)) == (255, 0, 0)


def test_a_body_that_is_too_large_is_refused(own: Kitchen):
    response = own.post("/recipes/squares", {"squares": [RED] * 100}, headers=KEY)

    assert (response.status_code, response.json()["error_code"]) == (413, "body_too_large")


def test_what_does_not_fit_into_the_answer_any_more_lies_on_the_volume(own: Kitchen):
    body = {"squares": [{"colour": colour} for colour in range(8)]}

    response = own.post("/recipes/squares", body, headers=KEY)
    results = response.json()["results"]

    on_volume = [result["file"] for result in results if result["file"].startswith("outputs/")]

    assert len(response.content) <= 12_000
    assert picture({"data": results[0]["file"]}).size == (16, 8)
    assert results[-1]["file"] in on_volume
    assert len(set(on_volume)) == len(on_volume)

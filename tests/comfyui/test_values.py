"""Values are put into a workflow by id, title or class; what is not there is told with what there is."""

from typing import Any

import pytest

from comfyport.comfyui.values import with_values
from comfyport.errors import InvalidJob
from tests.workflows import Workflow, node, sampled


def titled(title: str, class_type: str = "CLIPTextEncode", **inputs: Any) -> dict[str, Any]:
    return node(class_type, **inputs) | {"_meta": {"title": title}}


WORKFLOW: Workflow = {
    "3": node("KSampler", seed=1, steps=20, model=["4", 0]),
    "4": titled("Load v1.5", "CheckpointLoaderSimple", ckpt_name="a"),
    "6": titled("Positive prompt", text="a boat", clip=["4", 1]),
    "7": titled("Negative prompt", text="bad", clip=["4", 1]),
    "8": titled("Twins", "First", width=1, only=1),
    "9": titled("Twins", "Second", width=1),
    "12:3": titled("6", "Grouped", **{"size.width": 8, "text": "grouped"}),
}


def refusal(values: dict[str, Any], workflow: Workflow = WORKFLOW) -> list[str]:
    with pytest.raises(InvalidJob) as refused:
        with_values(workflow, values)
    problems: list[str] = refused.value.details["problems"]
    assert all(problem in refused.value.message for problem in problems)
    return problems


@pytest.mark.parametrize(
    ("target", "node_id", "name"),
    [
        ("6.text", "6", "text"),
        ("Positive prompt.text", "6", "text"),
        ("KSampler.seed", "3", "seed"),
        ("Load v1.5.ckpt_name", "4", "ckpt_name"),
        ("CheckpointLoaderSimple.ckpt_name", "4", "ckpt_name"),
        ("Twins.only", "8", "only"),
        ("12:3.size.width", "12:3", "size.width"),
        ("Grouped.size.width", "12:3", "size.width"),
    ],
)
def test_a_node_is_found_by_its_id_title_or_class(target: str, node_id: str, name: str):
    changed = with_values(WORKFLOW, {target: "new"})

    assert changed[node_id]["inputs"][name] == "new"
    assert {key: value for key, value in changed.items() if key != node_id} == {
        key: value for key, value in WORKFLOW.items() if key != node_id
    }
    assert WORKFLOW[node_id]["inputs"][name] != "new"


@pytest.mark.parametrize("value", [-1, "random", None, True, 0.5, [1, 2, 3], ["4", 1], ["text", "text"], {"a": 1}, ""])
def test_a_value_is_set_as_it_is(value: Any):
    assert with_values(WORKFLOW, {"3.seed": value})["3"]["inputs"]["seed"] == value


def test_a_link_can_be_replaced_by_a_value():
    assert with_values(WORKFLOW, {"6.clip": "x"})["6"]["inputs"]["clip"] == "x"


def test_two_values_of_one_node_are_both_set():
    changed = with_values(WORKFLOW, {"3.seed": 7, "KSampler.steps": 4})

    assert changed["3"]["inputs"] == {"seed": 7, "steps": 4, "model": ["4", 0]}


def test_all_that_is_wrong_is_told_at_once_with_what_there_is():
    workflow = {name: WORKFLOW[name] for name in ("3", "6", "7")}
    values = {"6.txt": 1, "KSampler.seed": 7, "Negativ prompt.text": "x", "seed": 1, "7.text": ["33", 0]}

    instead = "3, 6, 7, Positive prompt, Negative prompt, KSampler, CLIPTextEncode"
    near = "did you mean 'Negative prompt' or 'Positive prompt'?"
    assert refusal(values, workflow) == [
        "'6.txt': node '6' has no input 'txt'; did you mean 'text'? There is: clip, text",
        f"'Negativ prompt.text': there is no node 'Negativ prompt'; {near} There is: {instead}",
        "'seed': write <node>.<input>, for example 6.text",
        "'7.text': there is no node '33' to link to; did you mean '3'? There is: 3, 6, 7",
    ]


def test_what_could_be_two_nodes_is_refused_with_the_choice():
    assert refusal({"CLIPTextEncode.text": "x", "Twins.width": 2}) == [
        "'CLIPTextEncode.text': that could be 6.text, 7.text; write the one that you mean",
        "'Twins.width': that could be 8.width, 9.width; write the one that you mean",
    ]


def test_two_dots_that_both_lead_somewhere_are_refused():
    workflow = {"1": titled("a", "A", **{"b.c": 1}), "2": titled("a.b", "B", c=1)}

    assert refusal({"a.b.c": 2}, workflow) == ["'a.b.c': that could be 1.b.c, 2.c; write the one that you mean"]


def test_an_id_goes_before_a_title_and_a_title_before_a_class():
    workflow = {"1": titled("2", "A", x=0), "2": titled("A", "B", x=0), "3": node("A", x=0)}

    assert with_values(workflow, {"2.x": 1})["2"]["inputs"]["x"] == 1
    assert with_values(workflow, {"A.x": 1})["2"]["inputs"]["x"] == 1


def test_a_long_list_of_what_there_is_ends():
    workflow = {str(number): node("Note", text="") for number in range(50)}

    assert refusal({"x.text": 1}, workflow)[0].endswith("18, 19 and 31 more")


@pytest.mark.parametrize("odd", [{"class_type": 7}, {"_meta": []}, {"_meta": {"title": 3}}, {}])
def test_odd_nodes_are_in_nobodys_way(odd: dict[str, Any]):
    assert with_values(sampled("a") | {"99": odd}, {"KSampler.seed": 5})["4"]["inputs"]["seed"] == 5
    assert "nothing" in refusal({"99.x": 1}, {"99": odd})[0]

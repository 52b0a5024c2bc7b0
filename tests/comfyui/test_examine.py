"""Everything that is wrong with a workflow, and no more: the pure function, with a catalogue of a few nodes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfyport.comfyui.catalogue import Catalogue
from comfyport.comfyui.examine import check
from comfyport.comfyui.rejection import told
from comfyport.comfyui.spelling import respelled
from tests.workflows import node

OBJECT_INFO: dict[str, Any] = {
    "Source": {
        "input": {
            "required": {"width": ["INT", {"min": 1, "max": 64}], "scale": ["FLOAT"]},
            "optional": {"x": ["MASK"]},
        },
        "output": ["IMAGE", "MASK"],
        "output_node": False,
    },
    "Change": {"input": {"required": {"image": ["IMAGE", {}]}}, "output": ["IMAGE"], "output_node": False},
    "Blend": {"input": {"required": {"image": ["IMAGE"], "mask": ["MASK"]}}, "output": ["IMAGE"]},
    "Switch": {
        "input": {"required": {"on": ["IMAGE", {"lazy": True}], "off": ["IMAGE", {"lazy": True}]}},
        "output": ["*"],
        "output_node": False,
    },
    "Loader": {"input": {"required": {"name": [["a.safetensors", "SDXL/b.ckpt"], {}]}}, "output": ["IMAGE"]},
    "ModernLoader": {
        "input": {"required": {"name": ["COMBO", {"multiselect": False, "options": ["a.safetensors"]}]}},
        "output": ["IMAGE"],
    },
    "LoadImage": {"input": {"required": {"image": [["in.png"], {"image_upload": True}]}}, "output": ["IMAGE", "MASK"]},
    "Growing": {"input": {"required": {"images": ["COMFY_AUTOGROW_V3", {}]}}, "output": ["IMAGE"]},
    "Save": {
        "input": {"required": {"images": ["IMAGE"]}, "hidden": {"p": "PROMPT"}},
        "output": [],
        "output_node": True,
    },
}
CATALOGUE = Catalogue(OBJECT_INFO)
SOURCE = node("Source", width=8, scale=1.0)


def saving(**nodes: Any) -> dict[str, Any]:
    """A workflow that saves what the node `a` gives."""
    return {**nodes, "save": node("Save", images=["a", 0])}


def kinds(workflow: Any) -> list[tuple[str, str]]:
    return [(problem.node_id, problem.type) for problem in check(workflow, CATALOGUE).problems]


def test_a_workflow_that_is_right_has_no_problem():
    findings = check(saving(a=node("Change", image=["b", 0]), b=SOURCE), CATALOGUE)

    assert (findings.problems, findings.refused) == ((), False)


def test_every_problem_is_in_one_answer():
    workflow = {
        "1": node("Sauce"),
        "2": node("Nowhere"),
        "3": node("Change"),
        "4": node("Change", image=["9", 0]),
        "5": node("Source", width="wide", scale=1),
        "6": node("Save", images=["3", 0]),
        "7": node("Save", images=["4", 0]),
        "8": node("Save", images=["5", 0]),
    }

    assert kinds(workflow) == [
        ("1", "missing_node_type"),
        ("2", "missing_node_type"),
        ("3", "required_input_missing"),
        ("4", "bad_linked_input"),
        ("5", "invalid_input_type"),
    ]


def test_an_unknown_node_is_told_with_those_that_are_nearly_called_so():
    (problem,) = check(saving(a=SOURCE, b=node("LodImage")), CATALOGUE).problems

    assert problem.message == (
        "Node 'LodImage' not found. The custom node may not be installed. Nearest that there are: LoadImage."
    )


def test_what_is_wrong_beside_a_node_that_is_none_is_told_too():
    workflow = saving(a=node("Change", image=["odd", 0]), odd={"inputs": {}}, b=node("Nowhere"), more=node("Save"))

    assert kinds(workflow) == [
        ("odd", "invalid_prompt"),
        ("b", "missing_node_type"),
        ("more", "required_input_missing"),
    ]


def test_a_node_that_nobody_can_describe_may_be_the_output():
    assert not check({"a": node("Riddle"), "b": node("Save")}, CATALOGUE, frozenset({"Riddle"})).refused


def test_a_node_that_the_catalogue_cannot_describe_is_taken_as_it_is():
    findings = check(saving(a=node("Riddle", any=1)), CATALOGUE, frozenset({"Riddle"}))

    assert (findings.problems, findings.refused) == ((), False)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (["b"], "must be a length-2 list"),
        (["b", 0, 0], "must be a length-2 list"),
        (["c", 0], "linked to node c, which is not there"),
        ([1, 0], "linked to node 1, which is not there"),
        (["b", 2], "linked to output 2 of node b (Source), which has 2"),
        (["b", -3], "linked to output -3"),
        (["b", 0.5], "linked to output 0.5"),
        (["b", "0"], "linked to output 0"),
        (["b", None], "linked to output None"),
    ],
)
def test_a_link_that_leads_nowhere_is_refused(link: Any, said: str):
    findings = check(saving(a=node("Change", image=link), b=SOURCE), CATALOGUE)

    assert findings.refused
    assert said in findings.problems[0].message


@pytest.mark.parametrize("slot", [0, -2, False])
def test_a_link_that_comfyui_follows_is_no_problem(slot: Any):
    assert not kinds(saving(a=node("Change", image=["b", slot]), b=SOURCE))


@pytest.mark.parametrize("width", [8, "8", 8.9, True, {"__value__": 8}])
def test_what_comfyui_reads_as_a_number_is_one(width: Any):
    assert not kinds(saving(a=node("Source", width=width, scale="1e3")))


@pytest.mark.parametrize("width", ["", "wide", "8.5", None, {}, float("nan"), float("inf"), {"__value__": []}])
def test_what_is_no_number_is_refused(width: Any):
    findings = check(saving(a=node("Source", width=width, scale=1)), CATALOGUE)

    assert findings.refused
    assert [problem.type for problem in findings.problems] == ["invalid_input_type"]


@pytest.mark.parametrize(("width", "kind"), [(0, "value_smaller_than_min"), ("65", "value_bigger_than_max")])
def test_a_number_out_of_its_limits_is_told_and_left_to_comfyui_since_the_node_may_allow_it(width: Any, kind: str):
    findings = check(saving(a=node("Source", width=width, scale=1)), CATALOGUE)

    assert [problem.type for problem in findings.problems] == [kind]
    assert not findings.refused


def test_a_file_that_an_old_loader_does_not_list_is_left_to_comfyui_since_the_node_may_allow_it():
    findings = check(saving(a=node("Loader", name="c.safetensors")), CATALOGUE)

    assert findings.missing == {("Loader", "name", "c.safetensors")}
    assert not findings.refused


def test_a_file_that_a_new_loader_does_not_list_is_refused_since_comfyui_does_not_look():
    findings = check(saving(a=node("ModernLoader", name="c.safetensors")), CATALOGUE)

    assert findings.missing == {("ModernLoader", "name", "c.safetensors")}
    assert findings.refused


@pytest.mark.parametrize("name", ["nearest", "", 7, None])
def test_a_choice_of_a_new_node_that_is_no_file_is_left_to_comfyui(name: Any):
    assert not check(saving(a=node("ModernLoader", name=name)), CATALOGUE).refused


def test_a_picture_that_is_not_listed_is_left_to_comfyui():
    assert not kinds(saving(a=node("LoadImage", image="other/in.png [input]")))


def test_an_input_that_comes_under_several_names_is_not_missed():
    assert not kinds(saving(a=node("Growing", **{"images.image0": ["b", 0]}), b=SOURCE))


def test_a_file_that_may_never_be_loaded_is_no_reason_to_refuse():
    loader = node("ModernLoader", name="c.safetensors")

    findings = check(saving(a=node("Switch", on=["b", 0], off=["c", 0]), b=loader, c=SOURCE), CATALOGUE)

    assert not findings.refused


def test_a_file_of_an_output_that_comfyui_may_leave_out_is_no_reason_to_refuse_the_others():
    blend = node("Blend", image=["c", 0], mask=["c", 0])

    findings = check(
        saving(a=SOURCE, b=blend, c=node("ModernLoader", name="c.safetensors"), other=node("Save", images=["b", 0])),
        CATALOGUE,
    )

    assert {problem.weight for problem in findings.problems} == {"unsure", "run"}
    assert not findings.refused


def test_types_that_do_not_fit_are_told_and_left_to_comfyui():
    findings = check(saving(a=node("Change", image=["b", 1]), b=SOURCE), CATALOGUE)

    assert [problem.type for problem in findings.problems] == ["return_type_mismatch"]
    assert not findings.refused


def test_nodes_that_no_output_needs_may_be_wrong():
    workflow = saving(a=SOURCE, b=node("Change"), c=node("Change", image=["z", 0]), d=node("Change", image=["d", 0]))

    assert not kinds(workflow)


def test_an_output_that_cannot_run_is_no_reason_to_refuse_one_that_can():
    findings = check(saving(a=SOURCE) | {"preview": node("Save")}, CATALOGUE)

    assert [problem.node_id for problem in findings.problems] == ["preview"]
    assert not findings.refused


def test_a_circle_is_told_with_its_nodes():
    workflow = saving(a=node("Change", image=["b", 0]), b=node("Change", image=["a", 0]))

    findings = check(workflow, CATALOGUE)

    assert findings.refused
    assert (findings.problems[0].type, findings.problems[0].details) == ("dependency_cycle", "a -> b -> a")


def test_a_link_of_an_undeclared_input_to_nowhere_is_refused_since_it_ends_comfyuis_prompt_thread():
    findings = check(saving(a=SOURCE | {"inputs": {**SOURCE["inputs"], "extra": ["z", 0]}}), CATALOGUE)

    assert findings.refused
    assert [(problem.node_id, problem.type) for problem in findings.problems] == [("a", "bad_linked_input")]


def test_a_circle_through_an_undeclared_input_is_refused():
    workflow = saving(a=SOURCE | {"inputs": {**SOURCE["inputs"], "extra": ["save", 0]}})

    assert kinds(workflow) == [("a", "dependency_cycle")]
    assert check(workflow, CATALOGUE).refused


def test_a_workflow_without_an_output_is_refused():
    assert kinds({"a": SOURCE}) == [("", "prompt_no_outputs")]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"class_type": "Source"}, id="no inputs"),
        pytest.param({"class_type": "Source", "inputs": None}, id="inputs null"),
        pytest.param({"class_type": "Source", "inputs": [["a", 0]]}, id="inputs a list"),
        pytest.param({"class_type": ["Source"], "inputs": {}}, id="class a list"),
        pytest.param({"class_type": {}, "inputs": {}}, id="class an object"),
        pytest.param({"inputs": {}}, id="no class"),
        pytest.param({}, id="empty"),
        pytest.param("class_type", id="text"),
        pytest.param(None, id="null"),
        pytest.param(node("Source", width=nested(400)), id="deep list"),
        pytest.param({**SOURCE, "_meta": nested(10_000)}, id="deep title"),
        pytest.param(node("Source", width=10**5000), id="long number"),
        pytest.param(node("Source", width=b"8"), id="bytes"),
        pytest.param({"class_type": "Source", "inputs": {1: 2}}, id="input by number"),
    ],
)
def test_what_would_end_comfyuis_prompt_thread_is_refused_wherever_it_stands(odd: Any):
    findings = check(saving(a=SOURCE, odd=odd), CATALOGUE)

    assert findings.refused
    assert [problem.node_id for problem in findings.problems] == ["odd"]


@pytest.mark.parametrize("workflow", [None, [], {}, "a", 7, {1: SOURCE}, {None: None}])
def test_what_is_no_workflow_is_refused(workflow: Any):
    assert check(workflow, CATALOGUE).refused


def chain(length: int) -> dict[str, Any]:
    links = {str(number): node("Change", image=[str(number + 1), 0]) for number in range(length - 1)}
    return {**links, str(length - 1): SOURCE}


def test_a_chain_that_comfyui_cannot_follow_is_refused():
    assert not check(saving(a=SOURCE) | chain(900), CATALOGUE).refused
    assert check(saving(a=SOURCE) | chain(901), CATALOGUE).refused


def test_a_long_circle_that_no_output_needs_is_refused_since_comfyui_cannot_follow_it():
    assert check(saving(a=SOURCE) | chain(1000) | {"999": node("Change", image=["0", 0])}, CATALOGUE).refused


def test_a_workflow_of_many_nodes_in_a_row_is_answered():
    assert check(saving(a=node("Change", image=["0", 0])) | chain(20_000), CATALOGUE).refused


def test_an_object_info_of_another_form_says_nothing():
    strange = {"A": None, "B": {"input": []}, "C": {"input": {"required": {"x": 7, "y": []}}, "output": "IMAGE"}}
    workflow = {"1": node("A"), "2": node("B", a=["1", 5]), "3": node("C", x=["2", 0], y=0)}

    findings = check(workflow, Catalogue(strange))

    assert [problem.type for problem in findings.problems] == ["prompt_no_outputs"]


def test_a_path_that_was_saved_on_windows_is_written_as_this_comfyui_lists_it():
    workflow = saving(a=node("Loader", name="SDXL\\b.ckpt"))

    spelled = respelled(workflow, CATALOGUE)

    assert spelled["a"]["inputs"]["name"] == "SDXL/b.ckpt"
    assert workflow["a"]["inputs"]["name"] == "SDXL\\b.ckpt"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a", "b", "1e999"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("__value__"), inner, max_size=3)
    ),
    max_leaves=6,
)
INPUT_NAMES = st.sampled_from(["image", "images", "name", "width", "scale", "x", "on", "off", "extra"])
LINKS = st.tuples(st.sampled_from(["a", "b", "c", "save", "zz"]), VALUES | st.integers(-3, 3)).map(list)
NODES = st.fixed_dictionaries(
    {"class_type": st.sampled_from([*OBJECT_INFO, "Unknown"]) | VALUES},
    optional={"inputs": st.dictionaries(INPUT_NAMES, LINKS | VALUES, max_size=4) | VALUES, "_meta": VALUES},
)
WORKFLOWS = st.dictionaries(st.sampled_from(["a", "b", "c", "save"]) | st.text(max_size=3), NODES | VALUES, max_size=6)


@given(workflow=WORKFLOWS | VALUES)
@settings(max_examples=500, deadline=None)
def test_whatever_comes_there_is_a_verdict_that_can_be_sent(workflow: Any):
    findings = check(workflow, CATALOGUE)

    if isinstance(workflow, dict) and findings.refused:
        error = told(findings.as_refusal(), workflow)
        assert error.message.startswith("Workflow validation failed:\n• ")
        json.dumps(error.as_answer())


@given(object_info=st.dictionaries(st.sampled_from(["Source", "Save"]), VALUES, max_size=2) | VALUES)
@settings(deadline=None)
def test_whatever_comfyui_tells_of_its_nodes_there_is_a_verdict(object_info: Any):
    check(saving(a=SOURCE), Catalogue(object_info))

"""A workflow's input files under other names."""

from comfyport.comfyui.workflow import renamed
from tests.workflows import node


def test_renaming_leaves_the_given_workflow_as_it_was():
    workflow = {"1": node("LoadImage", image="in.png"), "2": {"class_type": "Odd"}}

    changed, mentioned = renamed(workflow, {"in.png": "new.png"})

    assert workflow["1"]["inputs"]["image"] == "in.png"
    assert changed["1"]["inputs"]["image"] == "new.png"
    assert mentioned == {"in.png"}


def test_a_list_that_is_no_link_is_searched():
    workflow = {"1": node("Load", images=["in.png", 7], pair=["1", "in.png"], link=["1", 0])}

    changed, _ = renamed(workflow, {"in.png": "new.png"})

    assert changed["1"]["inputs"] == {"images": ["new.png", 7], "pair": ["1", "new.png"], "link": ["1", 0]}


def test_only_the_annotation_of_the_input_folder_is_one_of_ours():
    workflow = {"1": node("Load", a="in.png [input]", b="in.png [output]", c="in.png[input]", d=" in.png")}

    changed, _ = renamed(workflow, {"in.png": "new.png"})

    assert changed["1"]["inputs"] == {**workflow["1"]["inputs"], "a": "new.png [input]"}

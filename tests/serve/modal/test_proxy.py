"""What comes to ComfyUI's page reaches ComfyUI as it was sent, names of a user's files included."""

import pytest

from comfyport.serve.modal_service.proxy import encoded


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/", "/"),
        ("/api/view", "/api/view"),
        ("/extensions/core/a b.js", "/extensions/core/a%20b.js"),
        ("/userdata/workflows/a.json", "/userdata/workflows%2Fa.json"),
        ("/api/userdata/workflows/one two/ä.json", "/api/userdata/workflows%2Fone%20two%2F%C3%A4.json"),
        ("/api/userdata/100%.json", "/api/userdata/100%25.json"),
        ("/userdata/workflows/a.json/move/workflows/b.json", "/userdata/workflows%2Fa.json/move/workflows%2Fb.json"),
        ("/api/userdata", "/api/userdata"),
        ("/v2/userdata", "/v2/userdata"),
    ],
)
def test_the_name_of_a_users_file_is_one_segment_again(path: str, sent: str):
    assert encoded(path) == sent

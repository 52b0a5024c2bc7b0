"""The settings: one place, read once, never silent about a value that cannot be used."""

from pathlib import Path

import pytest

from comfyport import settings
from comfyport.environment import Secret
from comfyport.errors import InvalidSetting
from comfyport.settings import Settings

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("text", ["true", "True", "1", "yes", "ON"])
def test_reads_the_spellings_of_yes(text: str):
    assert Settings.load({"DOWNLOAD_MODELS_ON_STARTUP": text}).download_on_startup is True


@pytest.mark.parametrize("text", ["false", "FALSE", "0", "no", "off"])
def test_reads_the_spellings_of_no(text: str):
    assert Settings.load({"DOWNLOAD_MODELS_ON_STARTUP": text}).download_on_startup is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOWNLOAD_MODELS_ON_STARTUP", "maybe"),
        ("PORT", "80000"),
        ("PORT", "http"),
        ("COMFYPORT_DEVICE", "tpu"),
        ("JOB_TIMEOUT", "-1"),
        ("JOB_TIMEOUT", "nan"),
        ("COMFYUI_URL", "localhost:8188"),
        ("COMFYUI_ARGS", '"open'),
        ("QUEUE_SIZE", "0"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str):
    with pytest.raises(InvalidSetting) as refused:
        Settings.load({name: value})

    assert name in refused.value.message
    assert value in refused.value.message


def test_an_answer_may_be_no_larger_than_runpod_takes():
    on_runpod = {"RUNPOD_WEBHOOK_GET_JOB": "https://api.runpod.ai/v2/id/job-take"}

    assert Settings.load(on_runpod).answer_limit == 20_000_000
    assert Settings.load({**on_runpod, "ANSWER_LIMIT_MB": "5"}).answer_limit == 5_000_000
    assert Settings.load({"ANSWER_LIMIT_MB": "50"}).answer_limit == 50_000_000
    with pytest.raises(InvalidSetting, match="ANSWER_LIMIT_MB.*RunPod"):
        Settings.load({**on_runpod, "ANSWER_LIMIT_MB": "50"}).answer_limit  # noqa: B018 - it is asked for


def test_an_empty_variable_counts_as_unset():
    assert Settings.load({"PORT": "  "}).port == 8000


def test_a_secret_does_not_show():
    loaded = Settings.load({"HF_TOKEN": "hf_secret"})

    assert "hf_secret" not in repr(loaded)
    assert loaded.hf_token.reveal() == "hf_secret"
    assert not Secret("")


def test_the_readme_has_the_table_of_all_variables():
    assert settings.table() in README.read_text(encoding="utf-8"), "run: python -m comfyport.settings"


@pytest.mark.parametrize(
    "arguments",
    ["--listen", "--listen 0.0.0.0", "--port=9000", "--output-directory /data", "--lowvram --temp-d /x", "--tls-k a"],
)
def test_what_would_take_comfyui_away_from_the_worker_is_refused_with_a_way_out(arguments: str):
    with pytest.raises(InvalidSetting, match=r"COMFYUI_ARGS .* cannot be given to ComfyUI: .*(set|move|moves|give) "):
        Settings.load({"COMFYUI_ARGS": arguments})


def test_all_other_arguments_are_given_to_comfyui_as_they_are():
    loaded = Settings.load({"COMFYUI_ARGS": "--lowvram --preview-method auto --temperature '-- a' -p"})

    assert loaded.comfyui_arguments == ("--lowvram", "--preview-method", "auto", "--temperature", "-- a", "-p")


@pytest.mark.parametrize(
    "name", ["COMFYUI_URL", "HF_ENDPOINT", "CIVITAI_ENDPOINT", "BUCKET_ENDPOINT_URL", "COMFY_REGISTRY_ENDPOINT"]
)
@pytest.mark.parametrize("userinfo", ["user:hunter2", "hunter2", ":hunter2[", "a@b:hunter2"])
def test_a_password_in_an_address_is_refused_and_not_shown(name: str, userinfo: str):
    with pytest.raises(InvalidSetting, match="without a user name and password") as refused:
        Settings.load({name: f"https://{userinfo}@example.com/path"})

    assert name in refused.value.message
    assert "hunter2" not in str(refused.value.as_answer())

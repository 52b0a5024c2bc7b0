"""The settings: one place, read once, never silent about a value that cannot be used."""

from pathlib import Path

import pytest

from comfyport import settings
from comfyport.errors import InvalidSetting
from comfyport.settings import Secret, Settings

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

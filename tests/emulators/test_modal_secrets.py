"""Secrets of the Modal emulator, made with the real client's own command."""

from emulators.modal import ModalEmulator
from tests.emulators.modal_cli import ask, modal


def test_a_secret_is_made_once_and_overwritten_only_by_force():
    with ModalEmulator() as platform:
        made = modal(platform, "secret", "create", "comfyport", "A=1")
        again = modal(platform, "secret", "create", "comfyport", "A=2")
        forced = modal(platform, "secret", "create", "--force", "comfyport", "A=2", "B=3")
        found = ask(
            platform,
            "secret = modal.Secret.from_name('comfyport', required_keys=['A', 'B'])\n"
            "secret.hydrate()\n"
            "answer = secret.object_id.startswith('st-')",
        )

    assert made.returncode == 0, made.stderr
    assert again.returncode != 0
    assert forced.returncode == 0, forced.stderr
    assert found

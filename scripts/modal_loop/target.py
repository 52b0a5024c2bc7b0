"""Which deployment is meant: the settings of the shell, and the environment on Modal."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from modal.config import config

from comfyport.errors import InvalidSetting
from comfyport.settings import ModalSettings

ROOT = Path(__file__).resolve().parent.parent.parent
ENTRY = ROOT / "modal_entry.py"


@dataclass(frozen=True)
class Target:
    """A deployment of modal_entry.py. `environment` is empty if nobody has named one."""

    settings: ModalSettings
    environment: str
    production: bool

    @property
    def option(self) -> str:
        """What names the environment to the modal command, for people to copy."""
        return f" --env {self.environment}" if self.environment else ""


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """The options that the three programs share."""
    options = argparse.ArgumentParser(prog=f"scripts/modal-{program}.sh", description=description)
    options.add_argument("--env", "-e", metavar="NAME", help="the environment on Modal; else $MODAL_ENVIRONMENT")
    options.add_argument("--production", action="store_true", help="yes, the environment is meant to be production")
    return options


def chosen(options: argparse.Namespace) -> Target:
    """The deployment that options and environment name. Exits with 2 if a COMFYPORT_MODAL_ variable is wrong."""
    try:
        settings = ModalSettings.load()
    except InvalidSetting as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    return Target(settings, options.env or config.get("environment") or "", options.production)

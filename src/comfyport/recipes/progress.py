"""How far a recipe is that runs its workflow several times."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from comfyport.comfyui.progress import Progress
from comfyport.jobs.events import Event, Observer


@dataclass(frozen=True)
class RunProgress(Progress):
    """The progress of one run, from 1 on, of so many; `percent` is that of the whole."""

    run: int = 1
    runs: int = 1

    @property
    def percent(self) -> float:
        """How much of all runs is done, each counting the same."""
        return round((100 * (self.run - 1) + super().percent) / self.runs, 1)


def numbered(observe: Observer, run: int, runs: int) -> Callable[[Event], None]:
    """An observer of one run, which tells `observe` the progress of the whole."""
    if runs == 1:
        return observe

    def tell(event: Event) -> None:
        observe(_as_part(event, run, runs) if isinstance(event, Progress) else event)

    return tell


def _as_part(progress: Progress, run: int, runs: int) -> RunProgress:
    told: dict[str, Any] = asdict(progress)
    return RunProgress(**told, run=run, runs=runs)

"""What can be made to go wrong, by name."""

from collections.abc import Iterable

PASSING = {
    "no_jobs_429": "a job-take is answered 429; the SDK pauses for 5 s",
    "flashboot_400": "a job-take is answered 400, as on endpoints with FlashBoot; the SDK asks again",
    "take_500": "a job-take is answered 500; the SDK logs it and asks again",
    "lose_result_once": "the post of a final result is answered 500 and not kept; the SDK posts again",
    "refuse_result_once": "the post of a final result is answered 400 and not kept; the SDK gives up",
    "cut_result_once": "the post of a final result is cut off and not kept; the SDK gives up",
}
STANDING = {
    "slow_take": "every job arrives at its worker only some time after the platform handed it out",
    "refuse_result": "every final result is answered 400 and never kept",
    "refuse_progress": "progress and chunks of a stream are answered 500 and not kept",
    "slow_progress": "progress and chunks of a stream are kept and answered only after some time",
    "late_progress_sticks": "progress after the result puts the job back to IN_PROGRESS (runpod-python#250)",
}


class Faults:
    """The faults that are left. A passing one strikes once per mention, a standing one always."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._left: list[str] = []
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Asks for one more fault, also while the emulator runs."""
        if name not in PASSING and name not in STANDING:
            known = ", ".join(sorted([*PASSING, *STANDING]))
            raise ValueError(f"There is no fault {name!r}. Known are: {known}.")
        self._left.append(name)

    def strikes(self, name: str) -> bool:
        """Whether this fault happens now; uses up one mention if it is a passing one."""
        if name not in self._left:
            return False
        if name in PASSING:
            self._left.remove(name)
        return True

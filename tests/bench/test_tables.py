"""Measured runs -> tables: medians, ratios, and which target is met."""

import pytest

from bench.content import GIB, MIB
from bench.measure import Usage
from bench.tables import Row, Scenario, Target, download_targets, scenario_table, target_table


def runs(*seconds: float, cpu: float = 1.0, peak: int = 100_000_000, problem: str = "") -> tuple[Usage, ...]:
    return tuple(Usage(wall, cpu, peak, problem) for wall in seconds)


def scenario(*rows: Row, key: str = "one-uncapped", total: int = 2 * GIB) -> Scenario:
    return Scenario(key, "One file", total, rows)


def lines(measured: Scenario, hidden_below: int = 0) -> list[str]:
    return scenario_table(measured, hidden_below=hidden_below).splitlines()[4:]


def test_a_row_shows_median_spread_rate_and_the_ratio_to_curl():
    measured = scenario(Row("comfyport", runs(4, 1, 2, cpu=3.0)), Row("curl", runs(8, 8, 9)))

    first, second = lines(measured)

    assert first == "| comfyport | 2.00 (1.00-4.00) | 1024 | 1.50 | 100 | 0.25 |"
    assert second == "| curl | 8.00 (8.00-9.00) | 256 | 0.50 | 100 | 1.00 |"


def test_without_curl_there_is_no_ratio():
    (line,) = lines(scenario(Row("wget", runs(2))))

    assert line.endswith("| 100 | - |")


def test_a_tool_that_is_not_installed_has_an_empty_row():
    (line,) = lines(scenario(Row("wget", (), missing=True)))

    assert line == "| wget (not installed) | - | - | - | - | - |"


def test_a_run_that_failed_is_told_of_and_not_counted():
    (line,) = lines(scenario(Row("wget", (*runs(2, 2), *runs(0.1, problem="wrong bytes")))))

    assert line.startswith("| wget (**wrong bytes** in 1 of 3) | 2.00 (2.00-2.00) |")


def test_a_tool_that_always_failed_has_no_numbers():
    (line,) = lines(scenario(Row("wget", runs(1, problem="exit 4"))))

    assert line == "| wget (**exit 4** in 1 of 1) | - | - | - | - | - |"


def test_a_peak_below_what_can_be_seen_is_shown_as_a_limit():
    (line,) = lines(scenario(Row("curl", runs(2, peak=20 * MIB))), hidden_below=20 * MIB)

    assert "| at most 21 |" in line


def test_the_peak_of_a_row_is_that_of_its_hungriest_run():
    row = Row("curl", (*runs(1, peak=7), *runs(1, peak=9), *runs(1, peak=8)))

    assert row.peak_bytes == 9


def test_the_download_targets_are_ratios_within_a_scenario():
    uncapped = scenario(
        Row("comfyport", runs(3, cpu=3.0, peak=150_000_000)),
        Row("curl", runs(2)),
        Row("aria2c --checksum", runs(12)),
    )
    capped = scenario(
        Row("comfyport", runs(5, peak=90_000_000)), Row("curl", runs(50)), Row("aria2c", runs(4)), key="one-capped"
    )

    targets = download_targets({one.key: one for one in (uncapped, capped)})

    assert [target.value for target in targets] == [10, 1.25, 1.5, 0.25, 1.5, 150]
    assert [target.met for target in targets] == [True, False, False, True, True, True]


def test_targets_without_a_measurement_are_neither_met_nor_missed():
    targets = download_targets({"many-capped": scenario(Row("curl", runs(2)), key="many-capped")})

    assert {target.met for target in targets} == {None}
    assert target_table(targets).count("| not measured | - |") == len(targets)


@pytest.mark.parametrize(("value", "met"), [(8.99, False), (9.0, True)])
def test_a_target_that_is_a_floor_is_met_from_there_upwards(value: float, met: bool):
    target = Target("curl's time / comfyport's", value, 9, at_least=True)

    assert target.met is met
    assert f"| at least 9 | {value:.2f} |" in target_table([target])


@pytest.mark.parametrize(("value", "met"), [(0.6, True), (0.61, False)])
def test_a_target_that_is_a_ceiling_is_met_up_to_there(value: float, met: bool):
    assert Target("s", value, 0.6).met is met

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from mcmm.arguments import check_jobs, check_output, check_paths, parse_settings, read_orders, write_frame
from mcmm.errors import InputError


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("risk.inventory_limit=200", 200),
        ("risk.exposure_limit=inf", math.inf),
        ("quoting.base_spread = 0.06", 0.06),
        ("quoting.policy=symmetric", "symmetric"),
        ("quoting.policy=avellaneda_stoikov", "avellaneda_stoikov"),
        ('quoting.policy="symmetric"', "symmetric"),
        ("recovery.stale_quotes=true", True),
        ("flow.size_table=[[1, 0.5], [10, 0.5]]", [[1, 0.5], [10, 0.5]]),
        ("fees.maker_rate=-0.01", -0.01),
        ("steps=1_000", 1000),
    ],
)
def test_settings_are_toml_values_or_bare_words(assignment: str, value: object) -> None:
    [(name, parsed)] = parse_settings([assignment]).items()
    assert name == assignment.partition("=")[0].strip()
    assert parsed == value
    assert type(parsed) is type(value)


def test_the_last_of_a_repeated_setting_counts() -> None:
    assert parse_settings(["steps=1", "market.volatility=0.1", "steps=2"]) == {
        "steps": 2,
        "market.volatility": 0.1,
    }


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        (
            "risk.inventory_limit",
            "--set: must be NAME=VALUE, as risk.inventory_limit=200, got 'risk.inventory_limit'",
        ),
        ("=5", "--set: must be NAME=VALUE"),
        ("steps=", "--set: must be NAME=VALUE"),
        ("steps=12x", "--set steps: must be a TOML value or a bare word, got '12x'"),
        ("steps=[1,", "--set steps: must be a TOML value or a bare word"),
        ("steps=1\nseed=2", "--set steps: must be a TOML value or a bare word"),
    ],
)
def test_settings_refused(assignment: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_settings([assignment])
    assert complaint in str(caught.value)


def test_jobs() -> None:
    for jobs in (-1, 1, 64):
        check_jobs(jobs)
    for jobs in (0, -2, 100_000):
        with pytest.raises(
            InputError, match=f"--jobs: must be >= 1 and <= 1024, or -1 for one a core, got {jobs}"
        ):
            check_jobs(jobs)


def test_paths() -> None:
    check_paths(1)
    check_paths(100_000)
    with pytest.raises(InputError, match="--paths: must be >= 1, got 0"):
        check_paths(0)
    with pytest.raises(
        InputError,
        match="--paths: each path leaves a row of 31 numbers; 1,000,000,000,000 rows, summarised, ",
    ):
        check_paths(10**12)


def test_an_output_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    fresh, old = tmp_path / "fresh.csv", tmp_path / "old.csv"
    old.write_text("old")
    check_output(fresh, (".csv",))
    check_output(old, (".csv",))
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]
    assert old.read_text() == "old"


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    for path, complaint in {
        tmp_path / "nowhere" / "a.csv": "cannot be written: No such file or directory",
        tmp_path / "file" / "a.csv": "cannot be written: Not a directory",
        tmp_path / "folder.csv": "cannot be written: it is a directory",
        tmp_path / "a.txt": "must end in .parquet or .csv",
        tmp_path / "a": "must end in .parquet or .csv",
        Path("/proc/a.csv"): "cannot be written",
    }.items():
        with pytest.raises(InputError) as caught:
            check_output(path, (".parquet", ".csv"))
        assert str(caught.value).startswith(f"{path}: {complaint}")


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_frames_come_back(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame({"step": [0, 3], "side": [1, -1], "size": [5, 2], "limit": [0.55, 0.45]})
    path = tmp_path / f"orders{ending}"
    write_frame(frame, path)
    pd.testing.assert_frame_equal(read_orders(path), frame)


def test_orders_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "text.parquet").write_text("step,side,size\n")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "folder.csv").mkdir()
    for name in (
        "empty.csv",
        "text.parquet",
        "binary.csv",
        "folder.csv",
        "absent.csv",
        "absent.parquet",
        "a.txt",
    ):
        with pytest.raises(InputError) as caught:
            read_orders(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(caught.value)


def test_a_frame_that_cannot_be_written(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]})
    for name in ("nowhere/a.csv", "nowhere/a.parquet"):
        with pytest.raises(InputError, match="cannot be written"):
            write_frame(frame, tmp_path / name)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 5000])
def test_a_value_that_toml_chokes_on_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--set steps: must be a TOML value"):
        parse_settings([f"steps={text}"])


def test_a_row_longer_than_the_header_is_refused(tmp_path: Path) -> None:
    tape = tmp_path / "tape.csv"
    tape.write_text("step,side,size\n0,1,1,5\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_orders(tape)


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    write_frame(pd.DataFrame({"a": [1]}), link)
    assert link.is_symlink()
    assert target.read_text() == "a\n1\n"
    with pytest.raises(InputError, match="is a device"):
        write_frame(pd.DataFrame({"a": [1]}), Path("/dev/full"))
    assert Path("/dev/full").is_char_device()

"""Snapshots and the journal on disk: what is sound comes back bit for bit, the rest is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mcmm
from mcmm.bot import Bot, ExecutionEngine
from mcmm.errors import InputError, StoreError
from mcmm.files import from_json, to_json
from mcmm.scenario import Scenario
from mcmm.session import Given, Session, read_given
from mcmm.snapshot import VERSION, Journal, Snapshots, checksum

RUN = {"scenario": "one", "seed": 7}
BUSY = {"steps": 200, "flow": {"arrival_rate": 0.9}, "risk": {"loss_limit": 50.0, "volume_limit": 10**6}}


def bot_at(step: int, **tables: Any) -> Bot:
    bot = Bot(Scenario.from_dict(BUSY | tables), seed=7)
    engine = ExecutionEngine(bot)
    while bot.step < step:
        engine.trade()
        bot.end_step()
    return bot


def kept(directory: Path, *steps: int) -> Snapshots:
    snapshots = Snapshots(directory, RUN)
    for step in steps:
        snapshots.write(step, step * 2, bot_at(step).state(), {"mcmm": mcmm.__version__})
    return snapshots


def test_a_snapshot_comes_back_bit_for_bit_and_the_last_are_kept(tmp_path: Path) -> None:
    snapshots = kept(tmp_path, 10, 20, 30, 40)
    names = [f"snapshot-{step:012d}.json" for step in (20, 30, 40)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    found, skipped = snapshots.newest()
    assert not skipped
    assert found is not None
    assert (found.step, found.lines) == (40, 80)
    assert to_json(found.state) == to_json(bot_at(40).state())
    rows = found.state["markets"][""]["rows"]
    assert math.isnan(rows["overshoot"])
    assert -math.inf in found.state["markets"][""]["windows"]["loss_ring"] or rows["loss_high"] > -math.inf


def damage(path: Path, how: str) -> None:
    text = path.read_text("utf-8")
    document = json.loads(text)
    if how == "truncated":
        path.write_text(text[: len(text) // 2], "utf-8")
    elif how == "empty":
        path.write_text("", "utf-8")
    elif how == "tampered":
        rows = document["body"]["state"]["markets"][""]["rows"]
        assert rows["inventory"] != 0.0
        rows["inventory"] = 0.0
        path.write_text(json.dumps(document), "utf-8")
    elif how == "resealed":
        document["body"]["journal_lines"] = "many"
        document["version"] = VERSION + 1
        document["checksum"] = checksum(from_json(document["body"]))
        path.write_text(json.dumps(document), "utf-8")
    elif how == "foreign":
        path.write_text('{"format": "another", "version": 1}', "utf-8")
    else:
        path.write_text("[]", "utf-8")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("truncated", "it is not JSON; it may have been cut off"),
        ("empty", "it is not JSON; it may have been cut off"),
        ("tampered", "its checksum is not that of what it holds"),
        ("resealed", f"it is of version {VERSION + 1}, this mcmm reads {VERSION}"),
        ("foreign", 'it is not of format "mcmm bot snapshot"'),
        ("a list", 'it is not of format "mcmm bot snapshot"'),
    ],
)
def test_an_unsound_snapshot_is_named_and_the_one_before_is_used(tmp_path: Path, how: str, why: str) -> None:
    snapshots = kept(tmp_path, 20, 30)
    newest = tmp_path / "snapshot-000000000030.json"
    damage(newest, how)
    found, skipped = snapshots.newest()
    assert skipped == [f"{newest}: skipped: {why}"]
    assert found is not None
    assert found.step == 20
    damage(tmp_path / "snapshot-000000000020.json", how)
    assert snapshots.newest()[0] is None


def test_a_snapshot_of_another_run_stops_everything(tmp_path: Path) -> None:
    kept(tmp_path, 20)
    with pytest.raises(StoreError, match=r"belongs to another run; these differ: seed"):
        Snapshots(tmp_path, RUN | {"seed": 8}).newest()


RECORDS = [{"kind": "step", "step": step, "fills": [["", 1, 3, 0.1 + step]]} for step in range(4)]


def test_a_journal_comes_back_without_what_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(RECORDS[:3])
    journal.append(RECORDS[3:])
    journal.close()
    whole = path.read_bytes()
    assert Journal(path).since(0) == RECORDS
    last = len(whole.splitlines(keepends=True)[-1])
    for cut in range(1, last + 1):
        path.write_bytes(whole[:-cut])
        again = Journal(path)
        assert again.since(0) == RECORDS[:3]
        assert not again.damaged
        again.append(RECORDS[3:])
        again.close()
        assert path.read_bytes() == whole


def test_a_damaged_line_is_never_passed_over_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(RECORDS)
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    changed = lines[1].replace(b'"",1,3', b'"",1,9')
    assert changed != lines[1]
    path.write_bytes(lines[0] + changed + b"".join(lines[2:]))
    opened = Journal(path)
    assert opened.since(2) == RECORDS[2:]
    with pytest.raises(StoreError, match="line 2 is damaged, and is needed to resume"):
        opened.since(1)
    path.write_bytes(lines[0] + b"".join(lines[2:]))  # one is missing: those behind it do not count on
    with pytest.raises(StoreError, match="has 1 sound lines, and the snapshot counts 3"):
        Journal(path).since(3)
    path.write_bytes(b"".join(lines[:3]) + changed)
    opened = Journal(path)
    assert opened.damaged == f"{path}: the last line is damaged; put aside in {path}.damaged"
    assert Path(f"{path}.damaged").read_bytes() == changed
    assert opened.since(0) == RECORDS[:3]


def run_to(
    directory: Path, last: int, every: int = 20, resume: bool = False, **tables: Any
) -> tuple[dict[str, float], list[str]]:
    """Run a session as the command does, on one thread, to a step; what it was told."""
    told: list[str] = []
    given = Given(Scenario.from_dict(BUSY | tables), seed=7)
    with Session(directory, given, tell=told.append, resume=resume) as session:
        while session.bot.step < last:
            done = session.advance(None)
            if done.record:
                session.journal.append([done.record])
            session.logger.write(done.rows)
            if session.bot.step % every == 0:
                session.save(session.bot.freeze(), session.lines, session.bot.metrics())
        return session.bot.metrics(), told


@pytest.mark.parametrize("sound", [0, 1, 2])
def test_a_run_goes_on_from_what_is_sound(tmp_path: Path, sound: int) -> None:
    run_to(tmp_path, 71)
    files = sorted(tmp_path.glob("snapshot-*.json"))
    assert [int(path.stem[-12:]) for path in files] == [20, 40, 60]
    for path in files[sound:]:
        damage(path, "truncated")
    told: list[str] = []
    given = Given(Scenario.from_dict(BUSY), seed=7)
    with Session(tmp_path, given, resume=True, tell=told.append) as session:
        assert session.bot.step in (70, 71)  # a quiet step is not in the journal, and is done again
        assert session.bot.maker.state.multiplier == 3.0
        assert session.bot.maker.state.cash == bot_at(session.bot.step).maker.state.cash
    assert len([line for line in told if "skipped" in line]) == 3 - sound
    begin = sound * 20
    assert f"resumed: {begin} steps from a snapshot, and the {session.bot.step - begin} since" in told[-1]


def test_without_the_ramp_it_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    metrics = {}
    for name, stops in (("whole", (120,)), ("stopped", (33, 71, 72, 120))):
        for last in stops:
            run_to(tmp_path / name, last, resume=last != stops[0], recovery={"ramp_steps": 0})
        metrics[name] = run_to(tmp_path / name, 0, resume=True, recovery={"ramp_steps": 0})[0]
    assert metrics["whole"]["fills"] > 20
    np.testing.assert_equal(metrics["stopped"], metrics["whole"])
    traces = [(tmp_path / name / "trace.jsonl").read_bytes() for name in metrics]
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) == 120


def test_runs_are_not_mixed_up(tmp_path: Path) -> None:
    run_to(tmp_path, 30)
    with pytest.raises(InputError, match="holds a run; --resume goes on with it"):
        run_to(tmp_path, 60)
    with (
        pytest.raises(StoreError, match="belongs to another run; these differ: seed"),
        Session(tmp_path, Given(Scenario.from_dict(BUSY), seed=8), resume=True),
    ):
        pass
    with (
        pytest.raises(StoreError, match="belongs to another run; these differ: log"),
        Session(tmp_path, Given(Scenario.from_dict(BUSY), seed=7, form="csv"), resume=True),
    ):
        pass
    with (
        Session(tmp_path, Given(Scenario.from_dict(BUSY), seed=7), resume=True),
        pytest.raises(StoreError, match="another bot"),
        Session(tmp_path, Given(Scenario.from_dict(BUSY), seed=7), resume=True),
    ):
        pass
    found = read_given(tmp_path)
    assert found is not None
    assert Scenario.from_dict(found["scenario"]) == Scenario.from_dict(BUSY)
    (tmp_path / "run.json").write_text('{"format": "mcmm bot run", "version": 9}')
    with pytest.raises(StoreError, match="is of version 9, this mcmm reads 1"):
        read_given(tmp_path)
    (tmp_path / "run.json").write_text('{"format"')
    with pytest.raises(StoreError, match="cannot be read; it may have been cut off"):
        read_given(tmp_path)


def test_a_journal_that_tells_of_other_fills_stops_everything(tmp_path: Path) -> None:
    run_to(tmp_path, 30, every=1000)
    path = tmp_path / "journal.jsonl"
    records = Journal(path).since(0)
    records[2]["fills"][0][2] += 1
    path.unlink()
    Journal(path).append(records)
    with pytest.raises(StoreError, match=r"step \d+ has other fills than the journal says"):
        run_to(tmp_path, 60, resume=True)

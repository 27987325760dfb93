"""`manage.py probe`: what it says of files that processes wrote."""

import os
import re
import subprocess
import sys
import time

import pytest

from workers.liveness import liveness_files, probe
from workers.liveness.liveness_writer import LivenessWriter
from workers.liveness.worker_checks import roles_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBE_DIR", str(tmp_path))
    return tmp_path


def write(folder, *, pid=None, ago=0.0, **parts):
    pid = pid or os.getpid()
    beat = liveness_files.LivenessRecord(
        pid=pid,
        started=liveness_files.started_of(os.getpid()),
        roles=["worker"],
        written_at=time.monotonic() - ago,
        parts={
            part: (time.monotonic() - age, limit)
            for part, (age, limit) in parts.items()
        },
    )
    liveness_files.write(folder, beat)


def test_all_parts_get_on(folder, capsys):
    write(folder, consumer=(1, 60), pool=(2, 90))

    assert probe.main(["worker"]) == 0
    said = r"worker \d+ ok: consumer \d\.\d s ago, pool \d\.\d s ago\n"
    assert re.fullmatch(said, capsys.readouterr().out)


def test_a_part_that_is_stuck_is_named(folder, capsys):
    write(folder, consumer=(61, 60), pool=(2, 90))

    assert probe.main(["worker"]) == 1
    assert "stuck: consumer for 61 s" in capsys.readouterr().out


def test_a_process_that_writes_no_more_is_frozen(folder, capsys):
    write(folder, ago=16, consumer=(1, 60))

    assert probe.main(["worker"]) == 1
    assert "frozen: silent for 16 s" in capsys.readouterr().out
    assert probe.main(["worker", "--within", "20"]) == 0


def test_no_process_of_the_role_is_not_well(folder, capsys):
    write(folder, consumer=(1, 60))

    assert probe.main(["beat"]) == 1
    assert probe.main(["worker", "--pid", "1"]) == 1
    assert f"beat: no process writes to {folder}" in capsys.readouterr().out


def test_files_of_the_dead_are_cleared_up(folder):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write(folder, consumer=(1, 60))
    write(folder, pid=ended.pid, ago=3600, consumer=(3600, 60))

    assert probe.main(["worker"]) == 0
    assert [path.name for path in folder.iterdir()] == [f"{os.getpid()}.json"]


def test_what_is_written_while_read_is_nobody(folder):
    (folder / "1.json").write_text("{")

    assert liveness_files.read_all(folder) == []


def test_a_server_that_does_not_answer(capsys):
    assert probe.main(["live", "--url", "http://127.0.0.1:1/health/live"]) == 1
    assert "does not answer" in capsys.readouterr().out


def test_a_pulse_writes_marks_and_forgets_what_ends(folder):
    pulse = LivenessWriter(folder / "deep")
    pulse._limits = {"consumer": 60.0, "leases": 90.0}
    pulse.mark("consumer")
    pulse.mark("leases")
    pulse.drop("consumer")
    pulse.write()

    (beat,) = liveness_files.read_all(folder / "deep")
    assert list(beat.parts) == ["leases"]
    pulse.end()
    assert liveness_files.read_all(folder / "deep") == []


def test_a_folder_that_cannot_be_written_is_said_once(folder, caplog):
    (folder / "file").write_text("")
    pulse = LivenessWriter(folder / "file")
    pulse.write()
    pulse.write()

    assert [record.message for record in caplog.records] == [
        "PROBE_DIR is not writable, liveness probes will fail"
    ]


def test_it_needs_no_settings_and_no_django(tmp_path):
    code = (
        "import sys; from workers.liveness import probe; probe.main(['beat']);"
        "sys.exit('django' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PROBE_DIR": str(tmp_path)}, check=False
    )

    assert ran.returncode == 0


@pytest.mark.parametrize(
    ("queues", "roles"),
    [
        (["transcribe.eu"], ["worker"]),
        (["webhooks", "housekeeping"], ["webhooks"]),
        (["webhooks.eu"], ["webhooks"]),
        (["transcribe.eu", "webhooks.eu"], ["worker", "webhooks"]),
        (["housekeeping"], []),
    ],
)
def test_a_worker_is_called_by_what_it_takes(queues, roles):
    assert roles_of(queues) == roles

"""The command as a process: interrupts, closed and full outputs, terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

import sparsefit.cli
from sparsefit.cli import progress
from sparsefit.cli.printing import fold

PROGRAM = [sys.executable, "-c", "import sys; from sparsefit.cli import main; sys.exit(main())"]


def test_an_interrupt_ends_in_130_without_traceback() -> None:
    # The pause stands for any work; the handler is that of every command. Started in the background
    # (CI, nohup), Python leaves interrupts ignored.
    code = (
        "import signal, sys, time, sparsefit.cli, sparsefit.cli.validate as v\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def run(_): print('working', flush=True); time.sleep(60)\n"
        "v.run = run\n"
        "sys.exit(sparsefit.cli.main(['validate', 'x.csv']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "sparsefit validate: interrupted\n"


def test_an_interrupt_while_a_command_loads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(only: str | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sparsefit.cli, "build_parser", interrupted)
    assert sparsefit.cli.main(["fit", "x.csv"]) == 130
    assert capsys.readouterr().err == "sparsefit fit: interrupted\n"


def list_methods(stdout: IO[str] | int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "backtest", "--list-methods"],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_an_error_of_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = list_methods(full)
    assert done.returncode == 1
    assert done.stderr.startswith("sparsefit backtest: ")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = list_methods(write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_command_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert sparsefit.cli.main([]) == 2
    shown = capsys.readouterr().err
    assert all(command in shown for command in sparsefit.cli.COMMANDS)


@pytest.mark.parametrize("command", ["fit", "forecast", "compare", "backtest", "width-depth"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("figures.png", "this is a folder"),
        ("nowhere/f.png", "no folder 'nowhere'"),
        ("f.xyz", "suffix must be"),
        ("pipe.png", "not an ordinary file"),
    ],
)
def test_bad_outputs_are_refused_before_the_input_is_read(
    command: str,
    path: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figures.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    assert sparsefit.cli.main([command, "absent.csv", "--out", path]) == 1
    assert reason in capsys.readouterr().err


def test_saved_fits_never_replace_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert sparsefit.cli.main(["fit", "absent.csv", "--save-json", os.devnull]) == 1
    assert "not an ordinary file" in capsys.readouterr().err


class TestFold:
    TABLE = "\n".join(
        [
            "run  fit   aicc  loo",
            "---  ---  -----  ---",
            "a    eq4  -14.5    -",
            "a    eq5   -8.3  1.0",
        ]
    )

    def test_a_wide_table_is_folded_and_its_keys_repeated(self) -> None:
        text = f"A sentence that is left as it is, however long.\n\n{self.TABLE}\n\nThe end."
        assert fold(text, 15).split("\n\n") == [
            "A sentence that is left as it is, however long.",
            "run  fit   aicc\n---  ---  -----\na    eq4  -14.5\na    eq5   -8.3",
            "run  fit  loo\n---  ---  ---\na    eq4    -\na    eq5  1.0",
            "The end.",
        ]

    def test_what_fits_is_left_alone(self) -> None:
        assert fold(self.TABLE, 20) == self.TABLE

    def test_one_column_that_is_too_wide_still_stands(self) -> None:
        assert "-14.5" in fold(self.TABLE, 5)


def test_a_long_job_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 1.0, 5.0, 6.0, 7.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    step = progress.counter("forecasts")
    for done in range(1, 5):
        step(done, 4)
    said = capsys.readouterr()
    assert said.out == ""
    # A log gets one line, however many steps there are.
    assert said.err == "forecasts: 2 of 4 after 5 s (--jobs 2 takes two processes)\n"


def test_a_job_that_takes_very_long_says_so_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, *range(1, 100)])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    step = progress.counter("forecasts")
    for done in range(1, 100):
        step(done, 99)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" after ")[1] for line in said] == [
        "2 s (--jobs 2 takes two processes)",
        "8 s",
        "32 s",
    ]


def test_one_item_that_takes_long_is_announced_while_it_is_at_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    with progress.Progress(1, "fitting") as steps:
        steps.step("large")
        time.sleep(0.5)
        assert capsys.readouterr().err == "fitting 1/1: large\n"
    with progress.Progress(1, "fitting") as steps:
        steps.step("small")
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_a_terminal_is_left_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    step = progress.counter("forecasts")
    step(1, 2)
    step(2, 2)
    assert capsys.readouterr().err == "\r\033[Kforecasts: 1 of 2\r\033[K"


class TestStreams:
    LINES = "run,tokens,activation_ratio\n" + "".join(
        f"é,{1 + i}000000000,{0.1 + 0.05 / (1 + i)}\n" for i in range(8)
    )

    def called(self, words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *words],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            **options,  # type: ignore[call-overload]
        )

    @pytest.mark.parametrize("name", ["-", "/dev/stdin"])
    def test_a_table_can_come_from_a_pipe(self, name: str) -> None:
        if name != "-" and not Path(name).exists():
            pytest.skip("this system has no /dev/stdin")
        done = self.called(["validate", name], input=self.LINES)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("8 rows, 1 run")

    def test_letters_that_the_output_lacks_are_escaped(self) -> None:
        ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = self.called(["forecast", "-"], input=self.LINES, env=ascii_only)
        assert done.returncode == 0
        assert "\\xe9: 8 checkpoints" in done.stdout

    def test_a_closed_output_leads_nowhere(self) -> None:
        code = "import sys; from sparsefit.cli import main; sys.exit(main(['validate', '-']))"
        closing = f"import sys; sys.stdout = None; {code}"
        done = subprocess.run(
            [sys.executable, "-c", closing],
            input=self.LINES.encode(),
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def test_an_empty_path_is_not_this_folder(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert sparsefit.cli.main(["validate", ""]) == 1
        assert "the path is empty" in capsys.readouterr().err

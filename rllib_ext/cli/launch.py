"""One session of a run from lock to report, and what is said at its end.

run.json and config.json are written before anything is started, so that whatever happens later the run can be
looked at and gone on with. Standard output carries the answer (a summary, or with ``--json`` one line of
JSON); everything on the way goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rllib_ext.analysis.live import LiveTable
from rllib_ext.cli import smoke
from rllib_ext.cli.interrupts import Interrupted, Interrupts
from rllib_ext.cli.provenance import provenance
from rllib_ext.cli.session import running, session_of
from rllib_ext.cli.settings import RunSettings
from rllib_ext.cli.summary import build_report_or_say_why, summary_of, summary_text
from rllib_ext.cli.training import Training
from rllib_ext.errors import BadConfig, BadData, BadEnv, RllibExtError, Untrusted
from rllib_ext.llm import persistence
from rllib_ext.runtime.events import Events
from rllib_ext.runtime.run_folder import RunFolder


class Launch:
    """options: ``address``, ``quiet``, ``json`` and the ``words`` of the command line."""

    def __init__(self, settings: RunSettings, folder: Path, options: Namespace) -> None:
        self._settings, self._folder, self._options = settings, folder, options
        self._began = time.monotonic()

    # ----- the three ways to begin

    def begin(self, *, make_model: bool) -> int:
        """A new run."""

        def prepare(run: RunFolder) -> None:
            run.write_json("run.json", provenance(self._settings, self._options.words))
            run.write_json("config.json", self._settings.as_json())
            if make_model:
                self._make_model()

        return self._carry_out(prepare, from_checkpoint=False, fresh=True)

    def go_on(self, *, from_checkpoint: bool) -> int:
        """A run that was interrupted; without a checkpoint it begins again, in the same folder."""
        return self._carry_out(lambda run: None, from_checkpoint=from_checkpoint, fresh=False)

    def already_done(self, updates: int) -> int:
        """A run that needs nothing, except perhaps the report that it was killed before."""
        self._say(f"{self._folder} is finished: {updates} of {updates} updates. Nothing to do")
        if not (self._folder / "report" / "report.html").exists():
            build_report_or_say_why(self._folder, self._say)
        self._answer(0)
        return 0

    # ----- the session

    def _carry_out(self, prepare: Callable[[RunFolder], None], *, from_checkpoint: bool, fresh: bool) -> int:
        with RunFolder(self._folder) as run:
            with Interrupts() as interrupts:
                try:
                    prepare(run)
                    done = self._session(run, interrupts, from_checkpoint)
                except KeyboardInterrupt:  # before the first round; later ones are the loop's to handle
                    done = False
                except Exception as error:
                    return self._failed(run, error, fresh)
            if done:
                build_report_or_say_why(self._folder, self._say)
        code = 0 if done else Interrupted.exit_code
        self._answer(code)
        return code

    def _session(self, run: RunFolder, interrupts: Interrupts, from_checkpoint: bool) -> bool:
        """Whether the run is done (True) or was stopped on request."""
        self._say(f"run folder: {self._folder}")
        with self._place():
            interrupts.rearm()
            with self._running() as algorithm:
                if from_checkpoint:
                    self._restore(algorithm, run)
                interrupts.started()
                with self._live() as view:
                    return Training(algorithm, run, self._settings, interrupts, view=view).run()

    def _make_model(self) -> None:
        """The model of a smoke run that names none."""
        settings = self._settings
        self._say(f"making a small model from the texts of {settings.env}")
        smoke.tiny_model(settings.env, settings.env_config, settings.values, self._folder)

    def _place(self) -> contextlib.AbstractContextManager[None]:
        """Where the run takes place: a Ray session with room for it."""
        return session_of(self._settings.values, self._options.address)

    def _running(self) -> contextlib.AbstractContextManager[Any]:
        """What is trained, stopped at the end."""
        return running(self._settings, self._folder)

    def _restore(self, algorithm: Any, run: RunFolder) -> None:
        persistence.restore(algorithm, run.checkpoints)
        algorithm._iteration = algorithm.round  # one iteration is one round; Tune counts from it
        algorithm.journal.event("run_resumed", f"from update {algorithm.counters['updates']}")
        self._say(f"resumed from update {algorithm.counters['updates']}")

    def _live(self) -> contextlib.AbstractContextManager[Any]:
        if self._options.quiet:
            return contextlib.nullcontext()
        settings = self._settings
        return LiveTable(
            total_updates=settings.values["total_updates"],
            title=f"{settings.algorithm} on {settings.env}",
            events_file=self._folder / "events.jsonl",
        )

    # ----- the end

    def _failed(self, run: RunFolder, error: Exception, fresh: bool) -> int:
        """Say what ended the run. A new run whose settings or data were wrong leaves nothing behind."""
        cause = getattr(error, "cause", None)
        known = next((e for e in (error, cause) if isinstance(e, RllibExtError)), None)
        code = known.exit_code if known is not None and known.exit_code in (2, 3, 4) else 4
        print(f"rllib-ext: {known}" if known else traceback.format_exc(), file=sys.stderr)
        left = ("result.json", "quarantine.jsonl")  # the rows that could not be used are worth keeping
        untouched = fresh and not any((self._folder / name).exists() for name in left)
        if untouched and isinstance(known, BadConfig | BadData | BadEnv | Untrusted):
            shutil.rmtree(self._folder, ignore_errors=True)
            return code
        Events(run).emit("run_failed", str(known or traceback.format_exc()))
        print(f"rllib-ext: what was saved stays; go on with: {self.resume_command()}", file=sys.stderr)
        if self._options.json:
            self._answer(code)
        return code

    def _answer(self, code: int) -> None:
        summary = self._summary(code, time.monotonic() - self._began)
        if code == Interrupted.exit_code:
            summary["resume"] = self.resume_command()
            at, total = summary["checkpoint_updates"] or 0, self._settings.values["total_updates"]
            print(f"rllib-ext: interrupted; saved up to update {at} of {total}. Go on with:", file=sys.stderr)
            print(f"  {self.resume_command()}", file=sys.stderr, flush=True)
        if self._options.json:
            print(json.dumps(summary), flush=True)
        elif not self._options.quiet:
            print(summary_text(summary), flush=True)

    def _summary(self, code: int, seconds: float) -> dict[str, Any]:
        return summary_of(self._settings, self._folder, code, seconds)

    def resume_command(self) -> str:
        """What to type to go on, as this very program was called."""
        words = [*program(), "resume", str(self._folder)]
        if self._options.address:
            words += ["--address", self._options.address]
        return shlex.join(words)

    def _say(self, text: str) -> None:
        if not self._options.quiet:
            print(f"rllib-ext: {text}", file=sys.stderr, flush=True)


def program() -> list[str]:
    """How this program was called."""
    if Path(sys.argv[0]).name == "rllib-ext":
        return [sys.argv[0]]
    return [sys.executable, "-m", "rllib_ext.cli"]

"""``plot``, ``export`` and ``doctor``: one call each of what does the work."""

from __future__ import annotations

from argparse import Namespace


def plot(options: Namespace) -> int:
    """Draw the report of a run or of a sweep, and what it has by novelty or of communication; the lines printed are the
    paths.
    """
    from pathlib import Path

    from rllib_ext.analysis.communication import communication_files, plot_communication
    from rllib_ext.analysis.novelty_report import plot_by_novelty
    from rllib_ext.analysis.report import build_report
    from rllib_ext.analysis.sweep_data import is_sweep
    from rllib_ext.analysis.sweep_report import build_sweep_report
    from rllib_ext.cli.run_paths import find_run

    folder = Path(options.run).expanduser()
    if is_sweep(folder):
        print(build_sweep_report(folder))
        for picture in plot_by_novelty(folder):
            print(picture)
    elif (folder / "config.json").is_file() or not communication_files(folder):
        folder = find_run(options.run)
        print(build_report(folder))
        for picture in plot_by_novelty(folder):
            print(picture)
    if communication_files(folder):  # alone where the folder holds no run: results of a benchmark
        pictures = folder / "report" / "communication"
        plot_communication(folder, pictures)
        print(pictures)
    return 0


def export(options: Namespace) -> int:
    """Write a checkpoint as a model folder; the line that is printed is its path."""
    from pathlib import Path

    from rllib_ext.cli.run_paths import find_checkpoint, run_of
    from rllib_ext.cli.settings import is_stage, read_settings, refuse_without_model
    from rllib_ext.llm.export import export_checkpoint
    from rllib_ext.runtime.run_folder import read_json

    run = run_of(options.run)
    config = read_json(run / "config.json")
    if is_stage(config):
        from rllib_ext.cli.stages import export_stage

        print(export_stage(run, Path(options.to).expanduser()))
        return 0
    refuse_without_model(run, config)
    _, checkpoint = find_checkpoint(options.run)
    settings = read_settings(run, config)
    print(export_checkpoint(checkpoint, settings.as_json(), Path(options.to).expanduser()))
    return 0


def examine(options: Namespace) -> int:
    """The doctor. Imports nothing that a foreign `envs` could break."""
    import os

    from rich.console import Console

    from rllib_ext.doctor import run_doctor
    from rllib_ext.doctor_cluster import check_cluster

    address = options.cluster or os.environ.get("RAY_ADDRESS", "auto")
    asked = check_cluster(address, options.storage_path) if options.cluster is not None else ()
    return run_doctor(Console(), asked)

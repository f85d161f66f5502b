"""Runnable Tune sweeps: every module has ``build(args) -> Tuner`` and ``main(argv)``; README.md is their table."""

"""Errors that the environments raise; the root of the package's error tree lives here because imports go downward."""


class RllibExtError(Exception):
    """Root of every error that the package raises on purpose.

    ``exit_code`` is what the command line returns for it.
    """

    exit_code = 1


class BadData(RllibExtError, ValueError):
    """Rows, files or splits that break the documented data contract."""

    exit_code = 3


class BadEnv(RllibExtError, ValueError):
    """An environment that breaks the contract of its interface."""

    exit_code = 3

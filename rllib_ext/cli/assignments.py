"""``KEY=VALUE`` words of a command line, and the refusal of secrets among them.

A secret on a command line is seen by every user of the machine and lands in ``run.json``. Two signs betray
one: a key that is called after a secret, and a value that holds the content of an environment variable that
is. Both are refused, so that nothing has to be blacked out later. Left out: secrets that are in no variable
and under no telling key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rllib_ext.errors import BadConfig

SECRET_NAME = re.compile(
    r"(?:^|_)(?:api_?key|key|passwd|password|pat|secrets?|token|credentials?)$", re.IGNORECASE
)
URL_LOGIN = re.compile(r"://[^/\s@]+@")
SHORTEST_SECRET = 8  # shorter values of such variables ("1", "true") are switches


def assignments(words: Sequence[str], flag: str) -> dict[str, str]:
    """The pairs of repeated ``flag KEY=VALUE``; a key that comes twice is an error, not a silent choice."""
    pairs: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key.strip():
            raise BadConfig(f"{flag} {word!r} is no KEY=VALUE; write for example {flag} {_example(flag)}")
        key = key.strip()
        if key in pairs:
            raise BadConfig(f"{flag} sets {key!r} twice, to {pairs[key]!r} and to {value!r}; leave one")
        pairs[key] = value
    return pairs


def json_values(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Values that are JSON (numbers, true, null, lists, objects) as such; any other text as a string."""
    return {key: _json_or_text(value) for key, value in pairs.items()}


def refuse_secrets(words: Sequence[str]) -> None:
    """Raise where a word of the command line is, or holds, a secret. The message does not repeat it."""
    held = {name: value for name, value in os.environ.items() if SECRET_NAME.search(name)}
    for word in words:
        key, sign, _ = word.partition("=")
        telling = SECRET_NAME.search(key) if sign else None
        if telling or URL_LOGIN.search(word):
            what = f"{key!r} is called after a secret" if telling else "an address holds a login"
            raise BadConfig(
                f"{what}; secrets are never given on the command line. Set the environment variable that the "
                "library reads (HF_TOKEN, WANDB_API_KEY)"
            )
        for name, value in held.items():
            if len(value) >= SHORTEST_SECRET and value in word:
                raise BadConfig(
                    f"a word of the command line holds the content of {name}; secrets are never given there. "
                    "Leave it to the environment variable"
                )


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _example(flag: str) -> str:
    return "lr=1e-5" if flag == "--set" else "max_rows=1000"

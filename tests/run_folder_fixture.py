"""A run folder made by formula, so that what the analysis reads and draws can be compared with closed forms.

Two workers and a learner overlap by one round. Round r starts at ``T0 + PERIOD * r``: both workers generate
for ``GENERATE`` seconds, the learner learns on round r - 1 for ``LEARN`` seconds and publishes for
``PUBLISH`` seconds; worker 1 also scores, half of it inside its generation and ``SCORE_ALONE`` seconds after
it. Every duration is a multiple of 1/64 s and every start is an exact float, so sums and unions are exact.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

T0 = 1_700_000_000.0
ROUNDS = 24
PERIOD, GENERATE, LEARN, PUBLISH, SCORE, SCORE_ALONE = 2.0, 1.75, 1.5, 0.125, 0.25, 0.125
SAMPLES_PER_ROUND = 64
SCRIPT = "<script>alert('x')</script>"
ANSI = "\x1b[31mred\x1b[0m\x1b]0;title\x07"
FORMULA = "=cmd|' /C calc'!A0"
HOSTILE = f"{FORMULA} {SCRIPT} {ANSI} \u202eevil\u202c \ud800"
SPLITS = ("validation", "test")


def reward_at(updates: float) -> float:
    """Mean held-out reward: saturating, 0.18 at the SFT model."""
    return 0.18 + 0.12 * updates / (updates + 20.0)


def kl_at(updates: float) -> float:
    return 0.004 * updates**1.5


def win_rate_at(updates: float) -> float:
    return 0.10 + 0.35 * updates / (updates + 30.0)


def results() -> list[dict[str, Any]]:
    """One result an iteration, nested as RLlib writes it; updates = 2 an iteration."""
    return [_result(iteration) for iteration in range(1, ROUNDS + 1)]


def _result(iteration: int) -> dict[str, Any]:
    updates = 2 * iteration
    return {
        "training_iteration": iteration,
        "num_updates_lifetime": updates,
        "num_env_steps_sampled_lifetime": SAMPLES_PER_ROUND * iteration,
        "time_total_s": PERIOD * iteration,
        "env_runners": {"episode_return_mean": reward_at(updates)},
        "reward": {"mean": reward_at(updates), "se": 0.02, "unscored_share": 0.0, "tied_share": 0.05},
        "policy": {
            "kl_ref": kl_at(updates),
            "logp_diff_mean": 2e-6 * (1 + iteration % 3),
            "logp_diff_max": 1e-5 * (1 + iteration % 4),
        },
        "staleness": {"mean": 1.0, "p95": 2, "max": 2, "dropped": 0},
        "rollout": {"tokens_per_s": 500.0 + 10.0 * iteration, "generate_s": GENERATE, "idle_share": 0.125},
        "learner": {"learn_s": LEARN, "idle_share": 0.1875},
        "weights": {"version": iteration, "publish_s": PUBLISH},
        "learners": {
            "default_policy": {"total_loss": 0.69 - 0.01 * iteration},
            "__all_modules__": {"total_loss": 99.0},
        },
        "health": {"worker_restarts": 1 if iteration >= 12 else 0, "skipped_updates": 0},
        "config": {"engine": "vllm"},
    }


def timeline() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for r in range(ROUNDS):
        start = T0 + PERIOD * r
        for worker in ("worker 1", "worker 2"):
            rows.append(_row("generate", worker, start, GENERATE, r, r))
        rows.append(_row("score", "worker 1", start + GENERATE - (SCORE - SCORE_ALONE), SCORE, r, r))
        if r > 0:
            rows.append(_row("learn", "learner", start, LEARN, r - 1, r))
            rows.append(_row("publish", "learner", start + LEARN, PUBLISH, r - 1, r + 1))
    return rows


def _row(role: str, who: str, start: float, length: float, round_: int, version: int) -> dict[str, Any]:
    return {
        "role": role,
        "who": who,
        "start": start,
        "end": start + length,
        "round": round_,
        "version": version,
    }


#: From the first start to the last end: worker 1's last score ends after everything else.
WINDOW_S = PERIOD * (ROUNDS - 1) + GENERATE + SCORE_ALONE
BUSY_S = {
    "worker 1": ROUNDS * (GENERATE + SCORE_ALONE),
    "worker 2": ROUNDS * GENERATE,
    "learner": (ROUNDS - 1) * (LEARN + PUBLISH),
}


def rounds() -> list[dict[str, Any]]:
    """Round 0 is all fresh; later ones are half one and half two updates old; every sixth drops two."""
    rows = []
    for r in range(ROUNDS):
        half = SAMPLES_PER_ROUND // 2
        ages = {"0": SAMPLES_PER_ROUND} if r == 0 else {"1": half, "2": half}
        rows.append(
            {"round": r, "iteration": r + 1, "ages": ages, "dropped_stale": 2 if r % 6 == 5 else 0}
            | {"tied": 3, "unscored": 1 if r == 7 else 0, "prompts": 32}
        )
    return rows


AGE_COUNTS = {
    0: SAMPLES_PER_ROUND,
    1: (ROUNDS - 1) * SAMPLES_PER_ROUND // 2,
    2: (ROUNDS - 1) * SAMPLES_PER_ROUND // 2,
}


def evaluations() -> list[dict[str, Any]]:
    """The validation split every eight updates, the test split at the start and the end."""
    rows = []
    for updates in range(0, 2 * ROUNDS + 1, 8):
        for split in SPLITS if updates in (0, 2 * ROUNDS) else SPLITS[:1]:
            rows.append(
                {"iteration": updates // 2, "updates": updates, "split": split, "n": 256}
                | {"reward_mean": reward_at(updates), "reward_se": 0.008, "win_rate": win_rate_at(updates)}
                | {"kl_ref": kl_at(updates), "ppl_completion": 9.0, "ppl_diluted": 1.1}
            )
    return rows


def samples() -> list[dict[str, Any]]:
    """Two ordinary prompts and one whose every text is hostile, at the first and the last evaluation."""
    rows = []
    for updates in (0, 2 * ROUNDS):
        trained = updates > 0
        for index, name in enumerate(("parse_date", "merge_sorted")):
            rows.append(
                {
                    "updates": updates,
                    "split": "validation",
                    "id": name,
                    "reward": 0.4 if trained else 0.2 - index,
                }
                | {"prompt": f"def {name}(text):\n    ...", "reference": f"Reference of {name}."}
                | {"completion": f"{'Trained' if trained else 'Warm'} text of {name}."}
            )
        rows.append(
            {"updates": updates, "split": "validation", "id": "hostile", "reward": None}
            | {"prompt": [{"role": "user", "content": HOSTILE}], "reference": HOSTILE, "completion": HOSTILE}
        )
    return rows


def events() -> list[dict[str, Any]]:
    return [
        {"time": T0 + 20.5, "event": "checkpoint_saved", "detail": "step_000020"},
        {"time": T0 + 23.0, "event": "worker_died", "detail": "worker 2: killed by signal 9"},
        {"time": T0 + 23.5, "event": "prompts_requeued", "detail": "32 prompts of round 11", "count": 32},
        {"time": T0 + 24.0, "event": "worker_replaced", "detail": "worker 2 serves version 12"},
        {"time": T0 + 30.0, "event": "reward_failure", "detail": HOSTILE},
    ]


def run_json() -> dict[str, Any]:
    return {
        "command": "rllib-ext train AsyncOnlineDPO --env Docstrings --set total_updates=48",
        "algorithm": "AsyncOnlineDPO",
        "env": "Docstrings",
        "seed": 0,
        "versions": {"rllib-ext": "0.1.0", "torch": "2.13.0", "ray": "2.60.0", "vllm": "0.32.0"},
        "started": "2026-01-02T03:04:05+00:00",
        "hardware": {"cpu": "2 cores", "gpu": None},
    }


def config() -> dict[str, Any]:
    return {
        "engine": "vllm",
        "mode": "async",
        "total_updates": 2 * ROUNDS,
        "max_staleness": 2,
        "engine_dtype": "float32",
        "hub_token": "hf_secret_value",
        "env_config": {"max_prompt_tokens": 128},
    }


def write_run(folder: Path) -> Path:
    """Write the whole run into ``folder`` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in {"run.json": run_json(), "config.json": config()}.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    tables = {"result.json": results(), "rounds.jsonl": rounds(), "timeline.jsonl": timeline()}
    tables |= {"evaluations.jsonl": evaluations(), "samples.jsonl": samples(), "events.jsonl": events()}
    for name, rows in tables.items():
        write_lines(folder / name, rows)
    return folder


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

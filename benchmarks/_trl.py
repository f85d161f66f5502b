"""TRL's synchronous OnlineDPOTrainer as one side of a comparison: it trains in an actor and stops between rounds.

The trainer's own ``train()`` runs, in a thread; a callback holds it at the beginning of every step until rounds are
asked for. A round is one optimizer step: generate, score, learn. Settings are the trainer's except what the comparison
fixes (float32, batch, lengths, no files, no logs) and ``gradient_checkpointing``: TRL's default, True, also switches
the key-value cache of generation off (``use_cache=False``), which nobody who cares for speed would leave. Both are
measured. Generation through vLLM is left out: on a CPU ``use_vllm=True`` fails at the first weight update, because TRL
calls the model's weight loader on weights that vLLM has repacked.
"""

from __future__ import annotations

import cProfile
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from benchmarks._profiles import profile_text

_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class TRLSettings:
    """What both sides share, and TRL's one choice."""

    model: str
    prompts: tuple[str, ...]
    batch: int
    max_new_tokens: int
    max_length: int
    lr: float
    beta: float
    temperature: float
    gradient_checkpointing: bool


class TRLSide:
    """Lives in an actor. ``rounds`` lets the trainer take so many steps and returns a lap for each."""

    def __init__(self, settings: TRLSettings, reward: Callable[..., float]) -> None:
        self._permits, self._finished = threading.Semaphore(0), threading.Semaphore(0)
        self._laps: list[dict[str, float]] = []
        self._threads = 1
        self._profile: cProfile.Profile | None = None
        self._error: BaseException | None = None
        self._trainer = self._build(settings, reward)
        self._timed_generation()
        threading.Thread(target=self._train, daemon=True).start()

    def _build(self, settings: TRLSettings, reward: Callable[..., float]) -> Any:
        from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

        config = OnlineDPOConfig(
            max_new_tokens=settings.max_new_tokens, max_length=settings.max_length, beta=[settings.beta],
            **self._fixed(settings),
        )  # fmt: skip
        return self._trainer_of(OnlineDPOTrainer, config, settings, reward)

    @staticmethod
    def _fixed(settings: TRLSettings) -> dict[str, Any]:
        """What the comparison fixes for every trainer of TRL."""
        return {
            "output_dir": tempfile.mkdtemp(prefix="trl-"), "per_device_train_batch_size": settings.batch,
            "max_steps": 100_000, "temperature": settings.temperature, "learning_rate": settings.lr, "bf16": False,
            "use_cpu": True, "gradient_checkpointing": settings.gradient_checkpointing, "report_to": [],
            "save_strategy": "no", "logging_steps": 10**6, "disable_tqdm": True,
        }  # fmt: skip

    def _trainer_of(
        self, trainer: Any, config: Any, settings: TRLSettings, reward: Callable[..., float]
    ) -> Any:
        import torch
        from datasets import Dataset
        from transformers import AutoModelForCausalLM, AutoTokenizer

        def rewards(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
            return [reward(p, c, None) for p, c in zip(prompts, completions, strict=True)]

        return trainer(
            model=AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32),
            reward_funcs=rewards,
            args=config,
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in settings.prompts]),
            processing_class=AutoTokenizer.from_pretrained(settings.model, padding_side="left"),
            callbacks=[self._gate()],
        )

    def _gate(self) -> Any:
        import torch
        from transformers import TrainerCallback

        outer = self

        class Gate(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                outer._permits.acquire()
                torch.set_num_threads(outer._threads)
                if outer._profile is not None:
                    outer._profile.enable()
                outer._laps.append({"wall": -time.perf_counter(), "cpu": -time.process_time()})

            def on_step_end(self, *_: Any, **__: Any) -> None:
                outer._laps[-1]["wall"] += time.perf_counter()
                outer._laps[-1]["cpu"] += time.process_time()
                if outer._profile is not None:
                    outer._profile.disable()
                outer._finished.release()

        return Gate()

    def _timed_generation(self) -> None:
        generate = self._trainer._generate

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = generate(*arguments, **options)
            self._laps[-1]["generate"] = time.perf_counter() - start
            return result

        self._trainer._generate = timed

    def _train(self) -> None:
        try:
            self._trainer.train()
        except BaseException as error:
            self._error = error
            self._finished.release()

    def rounds(self, count: int, threads: int) -> list[dict[str, float]]:
        self._threads, before = threads, len(self._laps)
        for _ in range(count):
            self._permits.release()
            self._finished.acquire(timeout=_TIMEOUT_S)
            if self._error is not None:
                raise RuntimeError(f"TRL's trainer stopped: {self._error}") from self._error
        return self._laps[before:]

    def profile(self, threads: int) -> str:
        """One round under cProfile, as text without folders."""
        self._profile = cProfile.Profile()
        self.rounds(1, threads)
        profile, self._profile = self._profile, None
        return profile_text(profile)


def start_trl(settings: TRLSettings, reward: Callable[..., float], cores: int) -> Any:
    """An actor with a TRLSide."""
    return ray.remote(TRLSide).options(num_cpus=cores).remote(settings, reward)

"""The real mode of async_vs_sync: three algorithms on one task, alternating; and the arithmetic on their segments."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks._balance import BALANCED, Calibrator, Setting
from benchmarks._meter import MeteredDPO, metered_config
from benchmarks._results import note
from benchmarks._segments import Segment, Side, alternate, of, pair_ratios, phases, usable
from benchmarks._statistics import bootstrap_interval, median, normal_interval
from benchmarks._tasks import controlled_policy
from rllib_ext import AsyncOnlineDPOConfig
from rllib_ext.runtime.ray_session import available_cores

SHAPES = (
    (128, 2, 4),
    (64, 2, 2),
    (192, 2, 6),
)  # width, layers, heads; tried in turn until one can be balanced
PROMPTS = (32, 48, 64, 96, 128, 192, 256)
SAMPLES = (2, 4, 8)


@dataclass(frozen=True)
class Plan:
    """How long to measure. sft_steps: of the policy that both modes start from."""

    pairs: int
    rounds: int
    repeats: int
    sft_steps: int
    evaluation_prompts: int
    prompts: tuple[int, ...] = PROMPTS
    samples: tuple[int, ...] = SAMPLES
    shapes: tuple[tuple[int, int, int], ...] = SHAPES

    @property
    def updates(self) -> int:
        """Of each algorithm: two to start the engine, then a filling round and ``rounds`` timed ones a pair."""
        return 2 + self.pairs * (self.rounds + 1)


def build(
    model: str, mode: str, plan: Plan, *, prompts: int = 64, samples: int = 2, **knobs: Any
) -> MeteredDPO:
    """Online DPO against the gold reward of the controlled TL;DR, on vLLM."""
    defaults = {
        "engine": "vllm", "engine_threads": 1, "learner_threads": 1, "engine_sequences": 512, "lr": 3e-4,
        "total_updates": plan.updates, "max_prompt_tokens": 32, "max_new_tokens": 10, "temperature": 0.7, "beta": 0.1,
    }  # fmt: skip
    config = (
        metered_config(AsyncOnlineDPOConfig)
        .environment("ControlledTLDR")
        .debugging(seed=0)
        .training(
            model=model, mode=mode, prompts_per_minibatch=prompts, samples_per_prompt=samples, **defaults | knobs
        )
        .evaluation(evaluation_interval=None, evaluation_prompts=plan.evaluation_prompts)
    )  # fmt: skip
    return config.build_algo()


def find_setting(plan: Plan) -> tuple[str, Setting, dict[str, Any]]:
    """(policy, balanced setting, what was tried): the first shape with a balanced candidate, else the best of all."""
    tried, found = [], []
    for hidden, layers, heads in plan.shapes:
        note(f"policy of {layers} layers x {hidden}: supervised start, then both lanes of each candidate")
        model = controlled_policy(hidden, layers, heads, plan.sft_steps)
        algorithm = build(
            model, "sync", plan, lr=1e-9
        )  # a rate that changes nothing, for a measurement that stays
        try:
            calibrator = Calibrator(algorithm)
            table = calibrator.search(plan.prompts, plan.samples, plan.repeats)
            threads = calibrator.thread_counts(table[0], available_cores(), plan.repeats)
        finally:
            algorithm.stop()
        tried += [{"hidden": hidden, "layers": layers, **asdict(s), "imbalance": s.imbalance} for s in table]
        found.append((table[0], model, {"hidden": hidden, "layers": layers, "threads": threads}))
        if table[0].imbalance <= BALANCED:
            break
    setting, model, chosen = min(found, key=lambda entry: entry[0].imbalance)
    note(f"chosen: width {chosen['hidden']}, {setting.prompts} prompts x {setting.samples} samples")
    return model, setting, {"chosen": {**chosen, **asdict(setting)}, "tried": tried}


def run_real(plan: Plan) -> tuple[list[Segment], dict[str, Any], dict[str, Any]]:
    """(segments, evaluations by side, calibration)."""
    model, setting, calibration = find_setting(plan)
    threads = calibration["chosen"]["threads"]
    fastest = {name: threads[name] for name in ("engine_threads", "learner_threads")}
    shape = {"prompts": setting.prompts, "samples": setting.samples}
    sides = [
        Side("sync", build(model, "sync", plan, **shape)),
        Side("async", build(model, "async", plan, **shape)),
    ]
    if fastest != {"engine_threads": 1, "learner_threads": 1}:
        best = build(model, "sync", plan, **shape, **fastest)
        sides.append(Side("best sync", best, fastest["learner_threads"]))
    try:
        for side in sides:
            for _ in range(2):
                side.algorithm.iterate()
        note(f"{plan.pairs} times {plan.rounds} rounds of {', '.join(side.name for side in sides)}")
        segments = alternate(sides, plan.pairs, plan.rounds)
        evaluations = {side.name: side.algorithm.evaluate()["evaluation"] for side in sides}
    finally:
        for side in sides:
            side.algorithm.stop()
    return segments, evaluations, calibration


def figures(segments: list[Segment], evaluations: dict[str, Any]) -> dict[str, Any]:
    """The headline of the real mode."""
    kept = usable(segments, ("sync", "async"))
    sync, asynchronous = of(kept, "sync"), of(kept, "async")
    best = "best sync" if of(segments, "best sync") else "sync"
    ratios = pair_ratios(kept, "sync", "async")
    best_ratios = pair_ratios(usable(segments, (best, "async")), best, "async")
    longest = [max(segment.worker_lane_s, segment.driver_lane_s) for segment in sync]
    ideal = median([segment.round_s / lane for segment, lane in zip(sync, longest, strict=True)])
    shares = [lane / segment.round_s for segment, lane in zip(asynchronous, longest, strict=True)]
    own = [max(segment.worker_lane_s, segment.driver_lane_s) / segment.round_s for segment in asynchronous]
    result = {
        "speedup": median(ratios), "speedup_interval": bootstrap_interval(ratios), "ideal": ideal,
        "efficiency": median(ratios) / ideal, "efficiency_interval": bootstrap_interval(shares),
        "overlap_efficiency": median(own),
        "speedup_best_sync": median(best_ratios), "speedup_best_sync_interval": bootstrap_interval(best_ratios),
        "valid_samples": sum(not segment.invalid for segment in segments),
        "invalid_samples": sum(bool(segment.invalid) for segment in segments),
    }  # fmt: skip
    for name, key in (("sync", "reward_sync"), ("async", "reward_async"), (best, "reward_best_sync")):
        mean, error = evaluations[name]["reward_mean"], evaluations[name]["reward_se"]
        result |= {key: mean, f"{key}_interval": normal_interval(mean, error)}
    return result


def phase_table(segments: list[Segment]) -> dict[str, dict[str, float]]:
    return {side: phases(of(segments, side)) for side in dict.fromkeys(s.side for s in segments)}

"""B12 and the weight push: what the framework costs, in CPU seconds, which a busy machine does not distort much.

The tax is the CPU time of driver and worker for a round of the plug-in in sync mode, over that of a bare loop that does
the same arithmetic (``_bare_loop.py``), less one; the two alternate. That it is the same arithmetic is checked: both end
with the same weights. In the plug-in each of the two processes waits while the other works, and a core that has waited
begins cold (clock, caches): the same arithmetic costs it up to a third more. So the bare loop waits as long before each
of its phases; ``over_a_hot_loop`` is the tax over one that never waits. Ray's daemons cost a share of a core for as long
as a session stands, whatever it does; what they add is given beside it (``with_daemons``). The share of the weight push
is measured where the claim is made, with vLLM and a model of five million parameters.
"""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch

from benchmarks._bare_loop import BareLoop
from benchmarks._gate_runs import VOCABULARY, Gate, small_run
from benchmarks._load import Reading
from benchmarks._meter import on_workers
from benchmarks._segments import Side, run_segment
from benchmarks._statistics import bootstrap_interval, median
from benchmarks._tasks import WORDS, word_prompts
from rllib_ext.llm.weights import unpack

TAX_LIMIT, QUEUE_LIMIT_S, PUBLISH_LIMIT = 0.15, 0.005, 0.05


def _plugin_cpu(
    algorithm: Any, worker: psutil.Process, rounds: int
) -> tuple[float, float, list[dict[str, float]]]:
    """(CPU seconds a round of driver and worker, of the whole process tree, the driver's laps)."""
    before, own, other = Reading.take(), time.process_time(), worker.cpu_times()
    laps = [algorithm.iterate() for _ in range(rounds)]
    tree = Reading.take().tree - before.tree
    now = worker.cpu_times()
    both = time.process_time() - own + now.user + now.system - other.user - other.system
    return both / rounds, tree / rounds, laps


def _bare_cpu(loop: BareLoop, tickets: list[Any], pauses: tuple[float, float] = (0.0, 0.0)) -> float:
    cpu = time.process_time()
    for ticket in tickets:
        loop.round(ticket, pauses)
    return (time.process_time() - cpu) / len(tickets)


def _difference(algorithm: Any, loop: BareLoop) -> float:
    import ray

    snapshot = ray.get(algorithm.publish().ref[0], timeout=60)
    state = loop.policy.state_dict()
    return max(float((tensor - state[name]).abs().max()) for name, tensor in unpack(snapshot).items())


def tax_gates(pairs: int, rounds: int) -> list[Gate]:
    """The framework's tax, and the cost of the queue and the snapshots in a round."""
    algorithm = small_run("sync", 1 + pairs * rounds, logp_probe=0)
    prompts = word_prompts(4096, tokens=32, vocabulary=VOCABULARY)
    loop = BareLoop(algorithm.config, prompts)
    torch.set_num_threads(1)
    laps: list[dict[str, float]] = []
    plugin, tree, bare, hot = [], [], [], []
    try:
        loop.round(algorithm.tickets(0)[0])
        algorithm.iterate()
        process = psutil.Process(on_workers(algorithm, "process_id")[0])
        for _ in range(pairs):
            tickets = [algorithm.tickets(algorithm.round + i)[0] for i in range(rounds)]
            both, all_of_it, more = _plugin_cpu(algorithm, process, rounds)
            pauses = tuple(median([lap[f"{phase}_wall"] for lap in more]) for phase in ("learn", "wait"))
            bare.append(_bare_cpu(loop, tickets, pauses))
            plugin, tree, laps = [*plugin, both], [*tree, all_of_it], laps + more
        difference = _difference(algorithm, loop)
        hot = [_bare_cpu(loop, tickets) for _ in range(pairs)]
        worker = on_workers(algorithm, "take_laps")[0]
    finally:
        algorithm.stop()
    driver_s = median([lap["publish_cpu"] + lap["wait_cpu"] for lap in laps])
    load_s = median([lap["load_cpu"] for lap in worker[1:]])
    taxes, heavier = (
        [mine / other - 1 for mine, other in zip(cpu, bare, strict=True)] for cpu in (plugin, tree)
    )
    details = {"plugin_cpu_s": median(plugin), "bare_cpu_s": median(bare), "hot_bare_cpu_s": median(hot),
               "over_a_hot_loop": median(plugin) / median(hot) - 1, "interval": bootstrap_interval(taxes),
               "with_daemons": median(heavier), "largest_weight_difference": difference}  # fmt: skip
    return [
        Gate("B12", "CPU time of the plug-in over a bare loop with the same arithmetic, sync, less one", median(taxes),
             TAX_LIMIT, "of the bare loop", median(taxes) <= TAX_LIMIT and difference < 1e-5, details),
        Gate("B12 queue", "CPU of snapshot, queue and loading a round, at most a million parameters", driver_s + load_s,
             QUEUE_LIMIT_S, "s", driver_s + load_s <= QUEUE_LIMIT_S, {"driver_s": driver_s, "worker_s": load_s}),
    ]  # fmt: skip


def publish_gate(rounds: int, engine: str = "vllm") -> Gate:
    """Snapshot, transfer and loading of the weights over an iteration, async mode, five million parameters."""
    algorithm = small_run(
        "async",
        rounds + 4,
        engine=engine,
        hidden=320,
        layers=4,
        heads=5,
        prompts=32,
        prompt_tokens=64,
        new_tokens=48,
    )
    try:
        algorithm.iterate()
        segment = run_segment(Side("async", algorithm), 0, rounds)
        parameters = sum(p.numel() for p in algorithm.learner_group._learner.language_module.parameters())
    finally:
        algorithm.stop()
    push_s = segment.mean("publish_wall") + segment.mean("worker_publish")
    share = push_s / segment.round_s
    details = {"push_s": push_s, "round_s": segment.round_s, "parameters": parameters, "engine": engine,
               "environment": WORDS, "invalid": segment.invalid}  # fmt: skip
    return Gate("publish", "snapshot, transfer and loading of the weights over an iteration", share, PUBLISH_LIMIT,
                "of an iteration", share <= PUBLISH_LIMIT, details)  # fmt: skip

"""The knobs that every language-model method shares. Method folders add their own beside these.

"Update" is one optimizer step. "Round" is one generation round: ``minibatches_per_generation`` mini-batches
of ``prompts_per_minibatch`` prompts. Spec numbers are those of "Asynchronous RLHF" (arXiv 2410.18252, tables
of the appendix) unless another source is named.
"""

from __future__ import annotations

from rllib_ext.runtime.knobs import Knob

MODEL = {
    "model": Knob(
        "",
        str,
        "Hub name or folder of the causal LM to train, usually an SFT checkpoint; its initial weights are the "
        "reference policy. Required.",
    ),
    "revision": Knob(
        None, str, "Hub revision (commit) of the model; pin it for runs that must resume.", optional=True
    ),
    "dtype": Knob(
        "float32",
        str,
        "Parameter type of policy and reference in the learner.",
        choices=("float32", "bfloat16"),
    ),
    "lora_rank": Knob(
        0, int, "Rank of LoRA adapters (peft) on all linear layers; 0 trains all weights.", 0, 1024
    ),
    "lora_alpha": Knob(
        16.0, float, "LoRA scale; the adapter's output is multiplied by alpha / rank.", 1e-3, 4096
    ),
}

OFF_POLICYNESS = {
    "mode": Knob(
        "async",
        str,
        "'sync': generate, then learn. 'async': generate the next round while learning on this one.",
        choices=("sync", "async"),
    ),
    "minibatches_per_generation": Knob(
        1,
        int,
        "N: mini-batches taken from one generation round; the paper's off-policyness axis. Higher is staler.",
        1,
        4096,
    ),
    "updates_per_minibatch": Knob(
        1,
        int,
        "T: passes over a mini-batch; for the generation-bound regime (more data-efficient, more KL).",
        1,
        64,
    ),
    "samples_per_prompt": Knob(
        2,
        int,
        "K: completions a prompt; for the training-bound regime raise it to 4 (best against worst).",
        1,
        1024,
    ),
    "prompts_per_minibatch": Knob(32, int, "Prompts in one optimizer update (the paper: 512).", 1, 65536),
    "max_staleness": Knob(
        None,
        int,
        "Largest allowed age, in updates, of a sample when it is learnt from. None: the least the mode can "
        "do (sync: N*T - 1, async: 2*N*T - 1, which is one update at N = T = 1).",
        0,
        1_000_000,
        optional=True,
    ),
    "staleness_correction": Knob(
        "none",
        str,
        "'truncated': importance weights of stale samples, capped at truncation_cap, in losses that have "
        "a ratio.",
        choices=("none", "truncated"),
    ),
    "truncation_cap": Knob(2.0, float, "Cap of truncated importance weights (2 for small models).", 1.0, 1e6),
}

TEXT = {
    "max_prompt_tokens": Knob(512, int, "Longest prompt, in tokens.", 1, 1_000_000),
    "prompt_overflow": Knob(
        "drop",
        str,
        "What happens to a longer prompt: 'drop' it and count it, or keep its end ('truncate'; of a conversation "
        "the newest messages).",
        choices=("drop", "truncate"),
    ),
    "max_new_tokens": Knob(
        53, int, "Longest completion of one turn, in tokens (53: the TL;DR responses).", 1, 1_000_000
    ),
    "max_turns": Knob(1, int, "Most completions in one episode; environments may end earlier.", 1, 1024),
    "temperature": Knob(
        0.7, float, "Sampling temperature, also of every log-probability in the loss.", 0.01, 100
    ),
    "missing_eos": Knob(
        "replace",
        str,
        "Score of a completion without EOS: 'replace' it by -missing_eos_penalty (the papers), "
        "'subtract' the penalty from it, or 'keep' it.",
        choices=("keep", "replace", "subtract"),
    ),
    "missing_eos_penalty": Knob(1.0, float, "See missing_eos; in units of the reward.", 0.0, 1e6),
    "max_unscored_share": Knob(
        0.2, float, "The run stops where a larger share of a round's completions has no score.", 0.0, 1.0
    ),
}

OPTIMISATION = {
    "lr": Knob(
        3e-6,
        float,
        "Base learning rate of AdamW; models trained from scratch want about 100 times more.",
        0,
        1,
    ),
    "lr_schedule": Knob(
        "linear",
        str,
        "'linear' to zero over total_updates, stepped once an update, or 'constant'. 'linear_by_round' is stepped once a "
        "generation round, before it, as the published code of asynchronous RLHF does: for comparisons.",
        choices=("linear", "constant", "linear_by_round"),
    ),
    "warmup_updates": Knob(
        0, int, "Updates over which the learning rate rises linearly from zero.", 0, 1_000_000
    ),
    "total_updates": Knob(256, int, "Optimizer updates after which the run is done.", 1, 100_000_000),
    "adam_eps": Knob(1e-8, float, "AdamW epsilon (N+ uses 1e-5).", 0, 1),
    "weight_decay": Knob(0.0, float, "AdamW weight decay.", 0, 10),
    "max_grad_norm": Knob(
        None, float, "Global gradient-norm clip; None: no clipping.", 1e-9, 1e9, optional=True
    ),
    "gradient_accumulation": Knob(
        1, int, "Micro-batches that one update is computed in; bounds memory.", 1, 4096
    ),
    "share_prompts": Knob(
        True,
        bool,
        "Compute a prompt once for all its completions in the learner (their gradients add up in it). Off: once a "
        "completion, as where the architecture's key-value cache cannot be continued.",
    ),
    "max_skipped_updates": Knob(5, int, "Non-finite updates in a row that stop the run.", 1, 10_000),
}

ENGINE = {
    "engine": Knob("vllm", str, "Generation engine in the rollout workers.", choices=("vllm", "hf")),
    "engine_dtype": Knob(
        "float32", str, "Parameter type in the engine.", choices=("float32", "bfloat16", "float16")
    ),
    "engine_threads": Knob(0, int, "CPU threads of an engine; 0: what Ray reserved for the worker.", 0, 1024),
    "learner_threads": Knob(
        0,
        int,
        "CPU threads of a local learner; 0: the cores that the rollout workers leave free in async mode, all "
        "cores in sync mode.",
        0,
        1024,
    ),
    "engine_sequences": Knob(128, int, "Sequences that an engine decodes together.", 1, 65536),
    "kv_cache_gib": Knob(1.0, float, "Key-value cache of a CPU engine, GiB.", 0.1, 4096),
    "gpu_memory_utilization": Knob(0.9, float, "Share of a GPU's memory that an engine may take.", 0.01, 1.0),
    "logp_probe": Knob(
        4,
        int,
        "Completions a round whose engine log-probabilities are compared with the learner's; 0: none.",
        0,
        4096,
    ),
}

EVALUATION = {
    "drift_tokens": Knob(
        0,
        int,
        "Tokens of held-out human text (prompts with their references) whose perplexity evaluations measure as "
        "ppl_reference; 0: not measured.",
        0,
        10**9,
    ),
    "evaluation_prompts": Knob(
        128, int, "Held-out prompts of an evaluation (the first so many of the split).", 1, 10**7
    ),
    "evaluation_split": Knob(
        "validation", str, "Split that evaluations read.", choices=("validation", "test", "train")
    ),
    "evaluation_temperature": Knob(
        0.01, float, "Sampling temperature of evaluations (0.01: near greedy).", 0.01, 100
    ),
    "evaluation_samples_logged": Knob(
        8, int, "Held-out completions that every evaluation writes down.", 0, 10_000
    ),
}

SUPERVISION = {
    "engine_start_timeout_s": Knob(600.0, float, "Longest start of a worker's engine, seconds.", 1, 1e6),
    "worker_timeout_s": Knob(
        300.0, float, "Longest a worker may take for one request, seconds; then it is replaced.", 1, 1e6
    ),
    "stall_timeout_s": Knob(
        120.0, float, "Longest without any live worker, seconds; then Stalled is raised.", 1, 1e6
    ),
    "worker_restart_budget": Knob(
        3, int, "Restarts of one worker an hour; beyond it the worker is given up.", 0, 10_000
    ),
}

WORKERS = {
    "max_env_runners": Knob(
        None,
        int,
        "Rollout workers that the run grows to when the cluster has room for more than num_env_runners, and is refilled "
        "to (autoscaling, spot nodes); a round is cut into as many requests. None: num_env_runners, no growth.",
        1,
        65536,
        optional=True,
    ),
    "num_reward_workers": Knob(
        0,
        int,
        "Actors that hold the reward and score for the rollout workers, as for a reward model on a device of its own; "
        "0: each rollout worker scores what it generates.",
        0,
        65536,
    ),
    "num_cpus_per_reward_worker": Knob(1.0, float, "CPUs that Ray reserves for a reward worker.", 0, 4096),
    "num_gpus_per_reward_worker": Knob(
        0.0,
        float,
        "GPUs that Ray reserves for a reward worker; its model's device is the reward's own setting.",
        0,
        64,
    ),
}

OUTPUT = {
    "run_folder": Knob(
        None,
        str,
        "Folder of the run's own files (rounds, timeline, events, evaluations); None: the Tune trial's folder.",
        optional=True,
    ),
}

LLM_KNOBS: dict[str, Knob] = {
    **MODEL,
    **OFF_POLICYNESS,
    **TEXT,
    **OPTIMISATION,
    **ENGINE,
    **EVALUATION,
    **SUPERVISION,
    **WORKERS,
    **OUTPUT,
}

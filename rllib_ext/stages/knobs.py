"""The knobs of the supervised stages, each declared once: default, range, unit, meaning, source.

"N+" is "The N+ Implementation Details of RLHF with PPO" (arXiv 2403.17031), details 1 to 5, 9, 10, 15 and 19. The
command line's ``--set``, the checks and Tune's ``param_space`` all read these tables; names that the other methods
have too mean the same there (``rllib_ext.llm.knobs``).
"""

from __future__ import annotations

from rllib_ext.runtime.knobs import Knob

MODEL = {
    "model": Knob(
        "",
        str,
        "Hub name or folder of the model to start from: a causal LM; for OfflineDPO and RewardModel the SFT model.",
    ),
    "revision": Knob(None, str, "Commit of a hub model.", optional=True),
}

DATA = {
    "data": Knob(
        "TLDR",
        str,
        "'TLDR' (the published hub sets of N+), 'Docstrings' or 'ControlledTLDR' (built in), a hub name, or a local "
        "JSONL or parquet file or folder. Columns: subreddit, title, post, summary; article, highlights; or prompt, "
        "completion for demonstrations; info, summaries, choice; or prompt, chosen, rejected for comparisons; question, "
        "response_j, response_k for both.",
    ),
    "data_revision": Knob(None, str, "Commit of a hub data set.", optional=True),
    "split": Knob(
        "train", str, "What is trained on; 'all': every row of the source.", choices=("train", "all")
    ),
    "eval_data": Knob(
        None, str, "Held-out rows, as data (all of them); None: the validation split of data.", optional=True
    ),
    "max_rows": Knob(
        None, int, "Read at most so many rows of the split; None: all.", 1, 10**9, optional=True
    ),
    "train_rows": Knob(
        None,
        int,
        "Train on so many rows, drawn without replacement (N+: 92,832 of 92,858 comparisons); None: all.",
        1,
        10**9,
        optional=True,
    ),
    "eval_rows": Knob(512, int, "Most held-out rows; 0: none.", 0, 10**9),
    "max_query_tokens": Knob(512, int, "Budget of a query; longer posts lose paragraphs (N+ 2).", 1, 10**6),
    "max_length": Knob(
        None,
        int,
        "Longest row in tokens; longer ones are dropped; None: what the model can read.",
        2,
        10**7,
        optional=True,
    ),
    "max_bad_share": Knob(
        0.01, float, "The stage stops before training where a larger share of rows is unusable.", 0.0, 1.0
    ),
    "expected_lengths": Knob(
        None,
        str,
        "Check the longest response and row in tokens against the published ones of the Pythia tokenizer (N+ 4): "
        "'tldr_sft' 53 and 562, 'tldr_preferences' 169 and 638, 'cnndm' 155 and 2021.",
        choices=("tldr_sft", "tldr_preferences", "cnndm"),
        optional=True,
    ),
}

OPTIMISATION = {
    "lr": Knob(3e-6, float, "Peak learning rate of AdamW (N+: 3e-6); small new models want 1e-3.", 1e-12, 1),
    "batch_size": Knob(
        128, int, "Rows an optimizer update (N+: SFT 128, reward model and DPO 64).", 1, 10**6
    ),
    "epochs": Knob(1.0, float, "Passes over the data (N+: 1).", 1e-6, 10**6),
    "max_updates": Knob(
        None, int, "Optimizer updates, instead of epochs; None: by epochs.", 1, 10**9, optional=True
    ),
    "max_seconds": Knob(
        None,
        float,
        "End training early; the learning rate then falls with the time used too, and a resumed stage is not the same to "
        "the bit. None: no limit.",
        1e-3,
        10**9,
        optional=True,
    ),
    "lr_schedule": Knob(
        "cosine",
        str,
        "'cosine' (N+) or 'linear', both to 0, or 'constant'.",
        choices=("cosine", "linear", "constant"),
    ),
    "warmup_updates": Knob(0, int, "Updates of linear warm-up (N+: 0).", 0, 10**6),
    "adam_eps": Knob(1e-5, float, "AdamW epsilon (N+: 1e-5).", 1e-12, 1),
    "weight_decay": Knob(0.0, float, "AdamW weight decay (N+: 0).", 0, 10),
    "max_grad_norm": Knob(
        None, float, "Global gradient-norm clip; None: no clipping (N+).", 1e-9, 1e9, optional=True
    ),
    "gradient_accumulation": Knob(1, int, "Forward passes of an update; divides batch_size.", 1, 4096),
    "precision": Knob(
        "float32",
        str,
        "'bfloat16': autocast over float32 weights; 'auto': that where the processor gains.",
        choices=("float32", "bfloat16", "auto"),
    ),
    "group_by_length": Knob(
        True, bool, "Rows of like length share a batch, which saves padding; False: a plain shuffle (N+)."
    ),
    "whole_batches": Knob(
        True, bool, "Leave an epoch's last, smaller batch out (N+: 116,722 rows are 911 updates of 128)."
    ),
    "pad_to": Knob(
        None,
        int,
        "Pad every batch to this width, as N+ does (562, 638); None: to its longest row.",
        2,
        10**7,
        optional=True,
    ),
}

RUN = {
    "seed": Knob(0, int, "Order of the data, a new head, draws.", 0, 2**63 - 1),
    "report_every": Knob(10, int, "Updates of one iteration: what Tune and result.json see.", 1, 10**9),
    "checkpoint_every": Knob(
        None,
        int,
        "Updates from one checkpoint to the next; None: a tenth of the stage.",
        1,
        10**9,
        optional=True,
    ),
    "num_cpus": Knob(1.0, float, "CPUs that Tune reserves, and threads that are used.", 0, 4096),
    "num_gpus": Knob(0.0, float, "GPUs that Tune reserves.", 0, 64),
    "run_folder": Knob(None, str, "Folder of the stage's own files; None: the Tune trial's.", optional=True),
}

SHARED = {**MODEL, **DATA, **OPTIMISATION, **RUN}
HALF = {"batch_size": Knob(64, int, OPTIMISATION["batch_size"].doc, 1, 10**6)}

SFT = {
    **SHARED,
    "loss_on": Knob(
        "all",
        str,
        "'all': next-token loss on query and completion (N+ 9); 'completion': on the completion only.",
        choices=("all", "completion"),
    ),
}
REWARD_MODEL = {
    **SHARED,
    **HALF,
    "normalise": Knob(
        True,
        bool,
        "Subtract the mean score of the reference completions from the head's bias afterwards (N+ 15).",
    ),
    "reference_data": Knob(
        None,
        str,
        "Demonstrations whose completions are the references, as in SFT's data; None: SFT's own, where data is one of "
        "the named sets.",
        optional=True,
    ),
    "reference_rows": Knob(
        None,
        int,
        "Most references that are scored; None: all of the training split (N+).",
        1,
        10**9,
        optional=True,
    ),
}
OFFLINE_DPO = {
    **SHARED,
    **HALF,
    "beta": Knob(0.05, float, "Strength of the tie to the starting model, per nat (N+ 19: 0.05).", 1e-8, 100),
    "loss": Knob("dpo", str, "'dpo' or 'ipo'.", choices=("dpo", "ipo")),
    "label_smoothing": Knob(0.0, float, "Chance that a preference is wrong ('dpo' only).", 0.0, 0.5),
}

"""What a sweep starts from where no model is named: a small Llama finetuned on demonstrations of the controlled task.

First clean summaries, without which so small a model does not find the task behind the noise in any time to speak of;
then the noisy ones, which leave room above. Made offline, and kept beside the sweep, so that a sweep that goes on finds
the very same weights: one thread, a fixed number of updates, and a folder that appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ENVIRONMENT = "ControlledTLDR"
# Updates, rows of an update, learning rate, noise (drop, insert) of each stage.
STAGES = ((800, 16, 2e-3, (0.0, 0.0)), (40, 64, 1e-3, (0.45, 0.35)))
_DRAFT = ".draft-"


def controlled_start(folder: Path, hidden: int) -> str:
    """The model of ``hidden`` dimensions in ``folder``, made if it is not there."""
    model = folder / f"llama-{hidden}"
    if not (model / "config.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_DRAFT}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=_DRAFT) as draft:
            os.replace(_train(Path(draft), hidden), model)
    return str(model.absolute())


def _train(draft: Path, hidden: int) -> Path:
    import torch

    from envs.text import ControlledTLDR
    from rllib_ext.llm.from_scratch import build_causal_lm, causal_lm_config, save_model, word_tokenizer
    from rllib_ext.llm.supervised import run_sft

    print(f"sweep: finetuning a start of {hidden} dimensions", file=sys.stderr, flush=True)
    tokenizer = word_tokenizer(ControlledTLDR.vocabulary())
    config = causal_lm_config(tokenizer, hidden=hidden, layers=2, heads=2, max_length=64)
    model = save_model(build_causal_lm(config, 0), tokenizer, draft / "untrained")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model is slower with more, and sums in another order
    try:
        for stage, (updates, rows, lr, noise) in enumerate(STAGES):
            report = run_sft(
                model_folder=str(model),
                pairs=ControlledTLDR.demonstrations(rows * updates, seed=stage, noise=noise),
                output_folder=str(draft / f"stage-{stage}"),
                batch_size=rows,
                lr=lr,
                max_steps=updates,
                warmup_steps=20,
                loss_on="completion",
                device="cpu",
            )
            model = Path(report.folder)
    finally:
        torch.set_num_threads(threads)
    return model

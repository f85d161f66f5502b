"""``relabel``: gold labels for comparisons; the counts and the agreement rate as one JSON object."""

from __future__ import annotations

import json
from argparse import Namespace

from rllib_ext.cli.assignments import refuse_secrets


def relabel(options: Namespace) -> int:
    """Label, or go on with a labelling that was interrupted; the line that is printed is its summary."""
    refuse_secrets(options.words)
    from rllib_ext.stages.relabel import Relabelling

    job = Relabelling(
        gold=options.gold,
        data=options.data,
        to=options.to,
        revision=options.revision,
        split=options.split,
        rows=options.rows,
        flip=options.flip,
        seed=options.seed,
        batch_size=options.batch_size,
        max_query_tokens=options.max_query_tokens,
        max_bad_share=options.max_bad_share,
        device=options.device,
    )
    print(json.dumps(job.run()))
    return 0

"""The knobs of CommonsenseKBC, each with its default and where that comes from.

[C] is the released configuration of Jastrzębski et al. 2018, [P] its paper. ``lr`` (Adagrad's, 0.01 [C]) and the batch,
``train_batch_size_per_learner`` (200 positives [C]), have RLlib's names.
"""

from __future__ import annotations

from rllib_ext.commonsense.scorers import MODELS
from rllib_ext.commonsense.splits import SPLITS
from rllib_ext.commonsense.synthetic import RULES
from rllib_ext.runtime.knobs import Knob

SYNTHETIC = "synthetic"

KNOBS = {
    "data": Knob(
        SYNTHETIC, str, "'synthetic'; or a folder of tab-separated files, train100k.txt (or another train file), "
        "dev1.txt, dev2.txt, test.txt; or a data set of the hub, or JSONL or parquet files, with columns head, relation, "
        "tail, score.",
    ),
    "train_file": Knob(
        None, str, "Which file of the folder is trained on; None: train100k.txt, or the only train file.", optional=True,
    ),
    "split": Knob(
        "published", str, "'published': evaluation files as they are; 'confidence': their positives with negatives of "
        "ours; 'random': all positives pooled and cut anew, harder [P].", choices=SPLITS,
    ),
    "data_seed": Knob(0, int, "Of the synthetic base, of the random split and of evaluation negatives.", 0, 2**31),
    "max_bad_share": Knob(0.01, float, "Largest share of lines of a file that may be quarantined.", 0.0, 1.0),
    "quarantine": Knob(
        None, str, "File to which quarantined lines go with their reasons; None: quarantine.jsonl of the run.",
        optional=True,
    ),
    "synthetic_rule": Knob("pair", str, "What makes a synthetic triple plausible.", choices=RULES),
    "synthetic_train": Knob(12_000, int, "Synthetic training triples.", 1, 10**7),
    "synthetic_evaluation": Knob(600, int, "Synthetic triples of each evaluation set; even.", 2, 10**6),
    "scorer": Knob("factorized", str, "The scorer; argsim and maxsim are not trained.", choices=MODELS),
    "hidden": Knob(
        None, int, "Width of the hidden layer; None: 1000, of bilinear 150 [C].", 1, 16384, optional=True,
    ),
    "embedding": Knob(
        "ppmi_svd", str, "What word vectors begin with: 'ppmi_svd', 'random', or a text file of vectors ([C]: skip-gram "
        "vectors of OMCS, better than GloVe by 7 to 8 points of accuracy in the authors' notebooks).",
    ),
    "word_size": Knob(200, int, "Numbers of a word vector; of a file, its own [C].", 1, 8192),
    "sparse": Knob(True, bool, "Sparse gradients of word vectors; the same numbers, less time."),
    "corruptions": Knob(3, int, "Negatives for each positive of a batch [C].", 1, 300),
    "reject_known": Knob(True, bool, "Leave out negatives that are training triples. [C]: false."),
    "adversarial": Knob(
        None, float, "Keep only negatives whose summed head and tail vectors have a dot product above this [C, as an "
        "option].", optional=True,
    ),
    "l2": Knob(
        1e-6, float, "Weight of the squares of the batch's word vectors [C: of all of them].", 0.0, 1.0,
    ),
    "l2_weights": Knob(0.0, float, "Weight of the squares of all other weights [C: 0; Li et al.: 1e-3].", 0.0, 1.0),
    "updates_per_iteration": Knob(100, int, "Gradient steps of one iteration (of one row of results).", 1, 10**6),
    "judge_every": Knob(
        5, int, "Iterations from one judgement on dev1, dev2 and test to the next; with the other defaults and 100,000 "
        "triples five are an epoch.", 1, 10**9,
    ),
    "plateau_patience": Knob(
        10, int, "Judgements without a better dev2 accuracy before the learning rate falls; 0: it never does [C].",
        0, 10**6,
    ),
    "plateau_factor": Knob(0.1, float, "What it is multiplied with.", 1e-6, 1.0),
}  # fmt: skip

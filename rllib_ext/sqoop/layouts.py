"""How three modules are wired: which maps each reads, and whose word writes it.

Maps are counted 0: the stem's, 1 and 2: the outputs of the first two modules; None: the sentinel, a map of zeros.

    tree             f(X; h0)    f(Y; h0)        f(R; s1, s2)
    chain            f(X; h0)    f(Y; s1)        f(R; s2)
    chain_shortcut   f(X; h0)    f(Y; s1, h0)    f(R; s2, h0)

In the tree the last module sees two maps that depend on X and on Y apart. In the chain the second one sees what X left,
and where X had a single partner in training it can learn "the Y that goes with this X".

Source: Bahdanau et al. 2019 (arXiv 1811.12889).
"""

from __future__ import annotations

Inputs = tuple[int, int | None]
Wiring = tuple[Inputs, Inputs, Inputs]

LAYOUTS: dict[str, Wiring] = {
    "tree": ((0, None), (0, None), (1, 2)),
    "chain": ((0, None), (1, None), (2, None)),
    "chain_shortcut": ((0, None), (1, 0), (2, 0)),
}
# Place of the question, [X, relation, Y], whose word writes each module.
WORD_OF_MODULE = (0, 2, 1)

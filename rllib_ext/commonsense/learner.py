"""The learner of CommonsenseKBC: it draws its batches itself, so that its place in the data is a number of updates.

One update: B positives -> 3 B corruptions of them -> binary cross-entropy over all -> Adagrad, with sparse gradients of
the word vectors. Which triples and which corruptions update n sees follows from the seed and n alone. A gradient that is
no number ends the run before it touches a weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor

from rllib_ext.commonsense.embeddings import word_vectors
from rllib_ext.commonsense.evaluation import Judge
from rllib_ext.commonsense.negatives import InBatchCorruptor
from rllib_ext.commonsense.persistence import OWN
from rllib_ext.commonsense.scorers import MaxSimScorer, Scorer
from rllib_ext.commonsense.selection import Selection
from rllib_ext.errors import NonFinite
from rllib_ext.runtime.kept_memory import keep_freed_memory

OWN_STATE = "commonsense_kbc"
EPOCH, CORRUPTION = 1, 2  # streams of a seed


class KBCLearner(TorchLearner):
    """TorchLearner on a KBCModule. ``update`` takes any batch and makes ``num_epochs`` updates on triples of its own."""

    def build(self) -> None:
        super().build()
        keep_freed_memory()
        torch.utils.deterministic.fill_uninitialized_memory = False  # a seed turns it on; it only costs time
        config = self.config
        self.data = config.triples
        train = self.data.base.train
        self.seed = config.seed or 0
        self.gradient_steps = 0
        self.corruptor = InBatchCorruptor(
            train, k=config.corruptions, reject_known=config.reject_known, adversarial=config.adversarial
        )
        vectors = word_vectors(config.embedding, train, config.word_size, self.seed)
        self.found_words = vectors.found
        self.scorer.phrases.begin(vectors.vectors)
        if isinstance(self.scorer, MaxSimScorer):
            self.scorer.remember(
                *(torch.from_numpy(one) for one in (train.heads, train.relations, train.tails))
            )
        self.judge = Judge(self.data.base, vectors.vectors)
        self.selection = Selection(config.plateau_patience, config.plateau_factor)
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._fresh()

    @property
    def scorer(self) -> Scorer:
        return self.module[DEFAULT_MODULE_ID].unwrapped().scorer

    def _fresh(self) -> None:
        """Nothing is summed up yet for the next report."""
        self._sums: dict[str, Tensor | float] = {}
        self._summed = 0

    # ----- state: RLlib's own checkpoints (Tune) have what this package's have

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(OWN_STATE, components, not_components):
            state[OWN_STATE] = OWN.read(self)
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if OWN_STATE in state:
            OWN.write(self, *state[OWN_STATE])

    # ----- batches

    @property
    def updates_per_epoch(self) -> int:
        """A rest of one triple is left out: it has nothing to be corrupted with."""
        count, size = len(self.data.base.train), self.config.train_batch_size_per_learner
        return max(1, count // size + (count % size > 1))

    def rows(self, update: int) -> NDArray[np.int64]:
        """The training triples of an update: a part of its epoch's permutation."""
        epoch, place = divmod(update, self.updates_per_epoch)
        if self._order is None or self._order[0] != epoch:
            draw = np.random.default_rng([self.seed, EPOCH, epoch])
            self._order = epoch, draw.permutation(len(self.data.base.train))
        size = self.config.train_batch_size_per_learner
        return self._order[1][place * size : (place + 1) * size]

    def batch(self, update: int) -> dict[str, Tensor]:
        """The columns that KBCModule reads."""
        rows, train = self.rows(update), self.data.base.train
        columns = {"heads": train.heads[rows], "relations": train.relations[rows], "tails": train.tails[rows]}
        draw = np.random.default_rng([self.seed, CORRUPTION, update])
        bad = self.corruptor.corrupt(rows, draw, self._sums_of(columns))
        columns |= {"bad_heads": bad.heads, "bad_relations": bad.relations, "bad_tails": bad.tails}
        self._add("refused_share", bad.refused / (len(rows) * self.corruptor.k))
        return {name: torch.from_numpy(column).to(self.device) for name, column in columns.items()}

    @torch.no_grad()
    def _sums_of(self, columns: dict[str, NDArray[np.int64]]) -> tuple[NDArray, NDArray] | None:
        """Summed word vectors of heads and of tails, where the adversarial filter asks for them."""
        if self.config.adversarial is None:
            return None
        found = []
        for name in ("heads", "tails"):
            mean = self.scorer.phrases(torch.from_numpy(columns[name]).to(self.device))
            found.append(mean.cpu().numpy() * (columns[name] != 0).sum(1, keepdims=True))
        return found[0], found[1]

    def _create_iterator_if_necessary(self, *, num_epochs: int = 1, **_: Any) -> Iterator[Any]:
        for _ in range(num_epochs):
            batch = self.batch(self.gradient_steps)
            yield MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=len(batch["relations"]))

    # ----- one update

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        """Binary cross-entropy, mean over positives and negatives; L2 on the words of the batch and on other weights."""
        logits = fwd_out["logits"]
        positives = len(batch["relations"])
        label = (torch.arange(len(logits), device=logits.device) < positives).to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(logits, label)
        with torch.no_grad():
            self._add("bce_loss", loss.detach())
            self._add("train_accuracy", ((logits > 0) == (label > 0)).float().mean())
            self._summed += 1
        if self.config.l2:
            words = torch.unique(torch.cat([batch["heads"].flatten(), batch["tails"].flatten()]))
            loss = loss + self.config.l2 * self.scorer.phrases.squared_length(words)
        if self.config.l2_weights:
            table = self.scorer.phrases.table.weight
            squares = [p.square().sum() for p in self.scorer.parameters() if p is not table]
            loss = loss + self.config.l2_weights * torch.stack(squares).sum()
        return loss

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = [p for p in self._module[module_id].parameters() if p.requires_grad]
        if parameters:
            optimizer = torch.optim.Adagrad(parameters, lr=self.config.lr)
            self.register_optimizer(
                module_id=module_id, optimizer=optimizer, params=parameters, lr_or_lr_schedule=self.config.lr
            )

    @torch.no_grad()
    def postprocess_gradients(self, gradients_dict: dict[Any, Tensor]) -> dict[Any, Tensor]:
        """A stop where a gradient is no number. What no loss reaches has none."""
        given = {name: one for name, one in gradients_dict.items() if one is not None}
        entries = [one._values() if one.is_sparse else one for one in given.values()]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(entries))))
        if not math.isfinite(norm):
            raise NonFinite(f"the gradient has norm {norm} after {self.gradient_steps} updates; lower lr")
        self._add("gradient_norm", norm)
        return given

    def apply_gradients(self, gradients_dict: dict[Any, Tensor]) -> None:
        """Adagrad at the rate of the plateau. RLlib's own looks at every gradient twice more."""
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        for one in optimizer.param_groups:
            one["lr"] = self.config.lr * self.selection.rate
        optimizer.step()
        self.gradient_steps += 1

    # ----- the report

    def _add(self, name: str, value: Tensor | float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Means over the updates of this call, and the share of words that have an initial vector of their own."""
        figures = {name: float(total) / max(self._summed, 1) for name, total in self._sums.items()}
        figures["epochs"] = self.gradient_steps / self.updates_per_epoch
        figures["words_with_vectors"] = self.found_words
        for name, value in figures.items():
            self.metrics.log_value((DEFAULT_MODULE_ID, name), value, window=1)
        self._fresh()
        super().after_gradient_based_update(timesteps=timesteps)

    def judge_now(self) -> dict[str, Any]:
        """Figures of the present weights, kept as the best where dev2 says so; and those of the best."""
        found = self.judge(self.scorer)
        self.selection.note(found, self.scorer, self.gradient_steps)
        return {"last": found.flat(), "best": self.selection.best}

"""PivotGame as a Tune trainable: pretraining of both agents and the language model, then the game.

    phases   "language_model", "sender", "receiver" (supervised), then "play"
    s2p      every update of play adds alpha times the supervised NLL of both agents on a batch of pretraining pairs
    sil      after every k1 updates the students (the agents of the last generation) learn k2 updates each from the
             teachers (those that have just played): the sender their greedy messages, the receiver the German
             references given the student sender's messages; then they take the teachers' places
    others   Elastic Reset and its ablations (functional/elastic.py) on the sender, both agents, or the receiver

Students go on from where the last imitation left them, not from the teachers: a student that began as a copy of its
teacher would have nothing to learn. Their optimizers persist over the generations, those of play do too.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from rllib_ext.language_games.game import PLAY, Game, Phase
from rllib_ext.language_games.pivot import metrics
from rllib_ext.language_games.pivot.batches import Batches, Ids
from rllib_ext.language_games.pivot.data import PivotData
from rllib_ext.language_games.pivot.knobs import PIVOT
from rllib_ext.language_games.pivot.language_model import LanguageModel
from rllib_ext.language_games.pivot.losses import mean_nll, play
from rllib_ext.language_games.pivot.pretrained import keep_pretrained, load_pretrained, place_of
from rllib_ext.language_games.pivot.seq2seq import Baseline, Seq2Seq

SENDER, RECEIVER, MODEL = "sender", "receiver", "language_model"
PAIRS = {SENDER: ("french_english", "fr", "en"), RECEIVER: ("english_german", "en", "de")}


class PivotGame(Game):
    """French to English to German by two agents, with every method against drift as one knob, ``method``."""

    knobs = PIVOT

    def make(self) -> None:
        values = self.values
        self.data = PivotData(values, self.run.path)
        for account in self.data.accounts:
            self.events.emit("rows_read", f"{account['corpus']}, {account['split']}", **account)
        size = self.data.vocabulary.size
        widths = size, values["embedding"], values["hidden"]
        self.modules = {
            SENDER: Seq2Seq(*widths, values["sender_dropout"]),
            RECEIVER: Seq2Seq(*widths, values["receiver_dropout"]),
            "baseline": Baseline(*widths[1:]),
            MODEL: LanguageModel(size, values["lm_hidden"]),
        }
        if values["method"] == "sil":
            self.modules |= {f"student_{name}": copy.deepcopy(self.modules[name]) for name in PAIRS}
        for module in self.modules.values():
            module.to(self.device).eval()
        self.optimizers = self._optimizers()
        self.digest = self.data.digest
        self._batches = self._make_batches()
        self.first_messages: Ids | None = None
        self._place = place_of(values, self.digest)

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        values = self.values
        slow = {"lr": values["pretrain_lr"], "betas": (0.9, 0.98), "eps": 1e-9}
        made = {name: torch.optim.Adam(self.modules[name].parameters(), **slow) for name in PAIRS}
        made[MODEL] = torch.optim.Adam(self.modules[MODEL].parameters(), lr=values["lm_lr"])
        played = {"play_sender": (SENDER, "baseline"), "play_receiver": (RECEIVER,)}
        for name, parts in played.items():
            weights = [weight for part in parts for weight in self.modules[part].parameters()]
            made[name] = torch.optim.Adam(weights, lr=values["lr"])
        for name in [name for name in self.modules if name.startswith("student_")]:
            made[name] = torch.optim.Adam(self.modules[name].parameters(), lr=values["sil_lr"])
        return made

    def _make_batches(self) -> dict[str, Batches]:
        columns, values = self.data.columns, self.values
        budget, seeds = values["pretrain_tokens"], self.seeds
        made = {
            name: Batches([columns[corpus][source], columns[corpus][target]], budget, seeds.child(name))
            for name, (corpus, source, target) in PAIRS.items()
        }
        made[MODEL] = Batches([columns["english"]["en"]], budget, seeds.child(MODEL))
        game = [columns["game"]["fr"], columns["game"]["de"]]
        made[PLAY] = Batches(game, values["play_tokens"], seeds.child(PLAY))
        for purpose in (f"{name} {part}" for name in ("s2p", "sil") for part in PAIRS):
            corpus = PAIRS[purpose.split()[1]]
            given = game if purpose.startswith("sil") else [columns[corpus[0]][side] for side in corpus[1:]]
            made[purpose] = Batches(given, values["play_tokens"], seeds.child(purpose))
        return made

    def before_play(self) -> tuple[Phase, ...]:
        if self._place is not None and load_pretrained(self._place, self._pretrained()):
            self.events.emit("pretrained_found", str(self._place))
            return ()
        values = self.values
        return (
            Phase(MODEL, values["lm_updates"]),
            Phase(SENDER, values["pretrain_updates"]),
            Phase(RECEIVER, values["pretrain_updates"]),
        )

    def _pretrained(self) -> dict[str, nn.Module]:
        return {name: self.modules[name] for name in (*PAIRS, MODEL)}

    # ----- updates

    def learn(self, phase: str, update: int) -> dict[str, float]:
        if phase == PLAY:
            return self._play(update)
        net, optimizer, values = self.modules[phase], self.optimizers[phase], self.values
        batch = [ids.to(self.device) for ids in self._batches[phase].batch(update)]
        if phase == MODEL:
            nll_B, tokens_B = net(*batch)
            loss = nll_B.sum() / tokens_B.sum()
        else:
            done = min(1.0, update / values["pretrain_lr_updates"])
            for group in optimizer.param_groups:
                group["lr"] = values["pretrain_lr"] + done * (
                    values["pretrain_lr_end"] - values["pretrain_lr"]
                )
            loss = self._with_dropout(net, batch, ("dropout", phase, update))
        self._apply(loss, {phase: [phase]})
        return {"loss": float(loss.detach())}

    def _with_dropout(self, net: nn.Module, batch: list[Tensor], stream: tuple[str | int, ...]) -> Tensor:
        """The supervised loss in training mode; what is dropped is a function of the update."""
        net.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seeds.child(*stream).int(63))
            loss = mean_nll(net, *batch)  # type: ignore[arg-type]
        net.eval()
        return loss

    def _play(self, update: int) -> dict[str, float]:
        french_BS, german_BT = (ids.to(self.device) for ids in self._batches[PLAY].batch(update))
        generator = self.seeds.child("messages", update).torch(str(self.device))
        sender, receiver, baseline = (self.modules[name] for name in (SENDER, RECEIVER, "baseline"))
        played = play(sender, receiver, baseline, french_BS, german_BT, self.values, generator)  # type: ignore[arg-type]
        loss, figures = played.loss, played.figures
        if self.values["method"] == "s2p":
            supervised = [self._supervised(f"s2p {name}", name, update) for name in PAIRS]
            loss = loss + self.values["s2p_weight"] * sum(supervised)
            figures["supervised_nll"] = float(sum(supervised).detach()) / len(PAIRS)  # type: ignore[union-attr]
        self._apply(loss, {"play_sender": [SENDER, "baseline"], "play_receiver": [RECEIVER]})
        return figures

    def _supervised(self, purpose: str, agent: str, number: int) -> Tensor:
        batch = (ids.to(self.device) for ids in self._batches[purpose].batch(number))
        return mean_nll(self.modules[agent], *batch)  # type: ignore[arg-type]

    def _apply(self, loss: Tensor, owners: dict[str, list[str]]) -> None:
        """One step of each optimizer; the gradient of what it owns is clipped by itself."""
        for name in owners:
            self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        for name, parts in owners.items():
            for part in parts:
                nn.utils.clip_grad_norm_(self.modules[part].parameters(), self.values["grad_clip"])
            self.optimizers[name].step()

    # ----- methods

    def generation_due(self, updates: int) -> bool:
        return self.values["method"] == "sil" and updates % self.values["sil_every"] == 0

    def imitate(self, generation: int) -> dict[str, float]:
        values, losses = self.values, dict.fromkeys(PAIRS, 0.0)
        limits = {"most": values["max_message"], "least": values["min_message"]}
        students = {name: self.modules[f"student_{name}"] for name in PAIRS}
        for agent, speaker in ((SENDER, self.modules[SENDER]), (RECEIVER, students[SENDER])):
            for place in range(values["sil_updates"]):
                number = (generation - 1) * values["sil_updates"] + place
                french_BS, german_BT = (
                    ids.to(self.device) for ids in self._batches[f"sil {agent}"].batch(number)
                )
                messages_BT = speaker.generate(french_BS, policy=True, **limits)
                pair = (french_BS, messages_BT) if agent == SENDER else (messages_BT, german_BT)
                loss = mean_nll(students[agent], *pair)  # type: ignore[arg-type]
                self._apply(loss, {f"student_{agent}": [f"student_{agent}"]})
                losses[agent] = float(loss.detach())
        for name, student in students.items():
            self.modules[name].load_state_dict(student.state_dict())
        return {f"{name}_nll": loss for name, loss in losses.items()}

    def elastic_agents(self) -> nn.Module:
        chosen = {"sender": [SENDER], "receiver": [RECEIVER], "both": [SENDER, RECEIVER]}[
            self.values["reset_agents"]
        ]
        return nn.ModuleDict({name: self.modules[name] for name in chosen})

    def clear_optimizers(self) -> None:
        for agent in [name for name, _ in self.elastic_agents().named_children()]:
            self.optimizers[f"play_{agent}"].state.clear()

    def phase_finished(self, phase: str) -> None:
        if phase == RECEIVER and self._place is not None:
            keep_pretrained(self._place, self._pretrained(), sum(self.updates.values()))

    def start_play(self) -> None:
        for name in PAIRS if self.values["method"] == "sil" else ():
            self.modules[f"student_{name}"].load_state_dict(self.modules[name].state_dict())

    # ----- evaluation

    def evaluate(self) -> dict[str, Any]:
        sender, receiver, model = (self.modules[name] for name in (SENDER, RECEIVER, MODEL))
        limits = {"most": self.values["max_message"], "least": self.values["min_message"]}
        figures, messages = metrics.evaluate(
            sender,  # type: ignore[arg-type]
            receiver,  # type: ignore[arg-type]
            model,  # type: ignore[arg-type]
            self.data.vocabulary,
            self.data.held_out,
            limits,
            self.device,
        )
        if self.first_messages is None:
            self.first_messages = messages
        figures["drift"]["same_as_start"] = metrics.same_places(messages, self.first_messages)
        return figures

    def extra_state(self) -> dict[str, Any]:
        return {"first_messages": self.first_messages}

    def restore_extra(self, state: dict[str, Any]) -> None:
        self.first_messages = state["first_messages"]

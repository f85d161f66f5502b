"""LewisGame as a Tune trainable: both agents learn the language of a few objects, then play with others.

    phases      "speaker", "listener" (supervised, on the labelled objects), then "play"
    gumbel      the listener reads a straight-through sample of the message; one cross entropy trains both agents
    reinforce   reward R = -(mean NLL of a property), baseline the running mean of all rewards; the listener learns
                from the same cross entropy, no gradient passes the message
    s2p, sil    as in the pivot game; students imitate on the objects that are played with
    others      Elastic Reset and its ablations, on the speaker alone unless ``reset_agents`` says otherwise

Figures, on the objects that neither agent has learnt from (held out), greedily:

    game/task_accuracy, game/task_exact   share of properties, and of whole objects, that come through
    drift/speaker_accuracy                share of symbols that are the canonical ones: 1 without drift
    game/listener_accuracy                share of properties that the listener gets from canonical messages
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from envs.lewis import canonical, divide
from rllib_ext.functional.messages import gumbel_noise, message_loss, running_mean, straight_through
from rllib_ext.language_games.game import PLAY, Game, Phase
from rllib_ext.language_games.lewis.agents import LinearAgent, listener, nll, share_right, speaker, to_tensor
from rllib_ext.language_games.lewis.knobs import LEWIS

SPEAKER, LISTENER = "speaker", "listener"
PUBLISHED = {"gumbel": {"lr": 1e-4, "batch_size": 50}, "reinforce": {"lr": 1e-3, "batch_size": 64}}


class LewisGame(Game):
    """Objects, a canonical language and its drift, with every method against drift as one knob, ``method``."""

    knobs = LEWIS
    modules: dict[str, LinearAgent]  # type: ignore[assignment]

    def make(self) -> None:
        values = self.values
        for name, default in PUBLISHED[values["message_gradient"]].items():
            values[name] = default if values[name] is None else values[name]
        world = [values[name] for name in ("properties", "types", "labelled", "played", "data_seed")]
        sets = divide(*world)
        found = {"labelled": sets.labelled_NP, "played": sets.played_NP, "held_out": sets.held_out_NP}
        self.objects = {name: to_tensor(objects, self.device) for name, objects in found.items()}
        self.language = {
            name: to_tensor(canonical(objects, values["types"]), self.device)
            for name, objects in found.items()
        }
        sizes = values["properties"], values["types"], values["hidden"], values["weight_scale"]
        self.modules = {SPEAKER: speaker(*sizes), LISTENER: listener(*sizes)}
        if values["method"] == "sil":
            self.modules |= {
                f"student_{name}": copy.deepcopy(self.modules[name]) for name in (SPEAKER, LISTENER)
            }
        self.optimizers = {}
        for name, module in self.modules.items():
            module.to(self.device)
            self.optimizers[f"play_{name}"] = torch.optim.Adam(module.parameters(), lr=values["lr"])
        for name in (SPEAKER, LISTENER):
            self.optimizers[name] = torch.optim.Adam(
                self.modules[name].parameters(), lr=values["pretrain_lr"]
            )
        self.baseline = (0.0, 0)
        self.digest = "-".join(str(value) for value in world)

    def before_play(self) -> tuple[Phase, ...]:
        return tuple(Phase(name, self.values["pretrain_updates"]) for name in (SPEAKER, LISTENER))

    # ----- updates

    def learn(self, phase: str, update: int) -> dict[str, float]:
        if phase == PLAY:
            return self._play(update)
        loss = self._supervised(phase, phase, update)
        self._apply(loss, (phase,))
        return {"loss": loss.item()}

    def _rows(self, name: str, stream: str, update: int) -> Tensor:
        """A batch's rows of one set, drawn with replacement."""
        rng = self.seeds.child(stream, update).numpy()
        return to_tensor(rng.integers(len(self.objects[name]), size=self.values["batch_size"]), self.device)

    def _supervised(self, agent: str, stream: str, update: int) -> Tensor:
        """The agent's NLL on labelled objects and their canonical messages."""
        rows_B = self._rows("labelled", stream, update)
        pair = self.objects["labelled"][rows_B], self.language["labelled"][rows_B]
        seen, wanted = pair if agent == SPEAKER else pair[::-1]
        return nll(self.modules[agent](seen), wanted).mean()

    def _play(self, update: int) -> dict[str, float]:
        objects_BP = self.objects["played"][self._rows("played", PLAY, update)]
        generator = self.seeds.child("messages", update).torch(str(self.device))
        logits_BPV = self.modules[SPEAKER](objects_BP)
        noise_BPV = gumbel_noise(logits_BPV, generator)
        temperature = self.values["temperature"]
        message_BPV = straight_through(logits_BPV, noise_BPV, temperature)
        through = self.values["message_gradient"] == "gumbel"
        heard_BPV = message_BPV if through else message_BPV.detach()
        nll_B = nll(self.modules[LISTENER](heard_BPV), objects_BP)
        loss = nll_B.mean()
        figures = {"reward": -nll_B.mean().item()}
        if not through:
            loss = loss + self._reinforced(logits_BPV, message_BPV.detach().argmax(dim=-1), -nll_B.detach())
        if self.values["method"] == "s2p":
            supervised = [self._supervised(agent, f"s2p {agent}", update) for agent in (SPEAKER, LISTENER)]
            loss = loss + self.values["s2p_weight"] * (supervised[0] + supervised[1])
        self._apply(loss, (f"play_{SPEAKER}", f"play_{LISTENER}"))
        return {"loss": loss.item(), **figures}

    def _reinforced(self, logits_BPV: Tensor, symbols_BP: Tensor, rewards_B: Tensor) -> Tensor:
        """The speaker's loss; the baseline is the mean of the rewards of all updates before this one."""
        logps_BPV = torch.log_softmax(logits_BPV, dim=-1)
        logps_BP = logps_BPV.gather(-1, symbols_BP.unsqueeze(-1)).squeeze(-1)
        entropies_BP = -(logps_BPV.exp() * logps_BPV).sum(dim=-1)
        mean = self.baseline[0] if self.baseline[1] else float(rewards_B.mean())
        sent = message_loss(
            logps_BP, entropies_BP, torch.full_like(logps_BP, mean), rewards_B, torch.ones_like(logps_BP)
        )
        self.baseline = running_mean(*self.baseline, rewards_B)
        return sent.policy_B.mean() - self.values["entropy_weight"] * sent.entropy_B.mean()

    def _apply(self, loss: Tensor, owners: tuple[str, ...]) -> None:
        for name in owners:
            self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        for name in owners:
            self.optimizers[name].step()

    # ----- methods

    def start_play(self) -> None:
        for name in (SPEAKER, LISTENER) if self.values["method"] == "sil" else ():
            self.modules[f"student_{name}"].load_state_dict(self.modules[name].state_dict())

    def generation_due(self, updates: int) -> bool:
        return self.values["method"] == "sil" and updates % self.values["sil_every"] == 0

    def imitate(self, generation: int) -> dict[str, float]:
        students = {name: self.modules[f"student_{name}"] for name in (SPEAKER, LISTENER)}
        losses = {}
        for agent, author in ((SPEAKER, self.modules[SPEAKER]), (LISTENER, students[SPEAKER])):
            for place in range(self.values["sil_updates"]):
                number = (generation - 1) * self.values["sil_updates"] + place
                objects_BP = self.objects["played"][self._rows("played", f"sil {agent}", number)]
                with torch.no_grad():
                    messages_BP = author.greedy(objects_BP)
                seen, wanted = (objects_BP, messages_BP) if agent == SPEAKER else (messages_BP, objects_BP)
                loss = nll(students[agent](seen), wanted).mean()
                self._apply(loss, (f"play_student_{agent}",))
            losses[f"{agent}_nll"] = loss.item()
        for name, student in students.items():
            self.modules[name].load_state_dict(student.state_dict())
        return losses

    def elastic_agents(self) -> nn.Module:
        chosen = self.values["reset_agents"]
        return nn.ModuleDict(
            {name: self.modules[name] for name in (SPEAKER, LISTENER) if chosen in (name, "both")}
        )

    def clear_optimizers(self) -> None:
        for agent, _ in self.elastic_agents().named_children():
            self.optimizers[f"play_{agent}"].state.clear()

    # ----- evaluation and checkpoints

    def evaluate(self) -> dict[str, Any]:
        objects_NP, canonical_NP = self.objects["held_out"], self.language["held_out"]
        messages_NP = self.modules[SPEAKER].greedy(objects_NP)
        heard_NP = self.modules[LISTENER].greedy(messages_NP)
        right_NP = heard_NP == objects_NP
        return {
            "game": {
                "task_accuracy": float(right_NP.double().mean()),
                "task_exact": float(right_NP.all(dim=-1).double().mean()),
                "listener_accuracy": share_right(self.modules[LISTENER].greedy(canonical_NP), objects_NP),
            },
            "drift": {"speaker_accuracy": share_right(messages_NP, canonical_NP)},
        }

    def extra_state(self) -> dict[str, Any]:
        return {"baseline": list(self.baseline)}

    def restore_extra(self, state: dict[str, Any]) -> None:
        self.baseline = (float(state["baseline"][0]), int(state["baseline"][1]))

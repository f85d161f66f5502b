"""The words that ``rllib-ext`` understands. Standard library only, so that help costs nothing.

Settings of a method are not flags of their own: ``--set key=value`` takes every knob of the algorithm's
config, and the help of ``train`` prints that table, so neither can lack what the other has. Left out on
purpose: flags for secrets. A flag is seen in the process list, in the shell's history and in ``run.json``;
tokens are read from the environment by the libraries that need them.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

SUMMARIES = {
    "list": "the algorithms and environments that there are",
    "train": "train an algorithm, a supervised stage or a language game into a new run folder",
    "sweep": "run a study of tuned_configs by its name",
    "resume": "go on with a run that was interrupted",
    "evaluate": "score a run or one of its checkpoints on held-out prompts",
    "relabel": "label comparisons anew by a gold reward: a larger reward model, or the controlled task's own",
    "plot": "draw the plots, the CSVs and the HTML report of a run or of a sweep",
    "export": "write a checkpoint as a model folder for AutoModelForCausalLM and vLLM",
    "frames": "record games into folders of frames, import DQN Replay shards, check what is there",
    "doctor": "what on this machine would break a run, slow it down or expose it",
}
SPELLINGS = {"report": "plot", "eval": "evaluate"}
EXIT_CODES = (
    "exit codes: 0 done, 2 usage or configuration, 3 data or environment contract, 4 training failed, "
    "5 interrupted but resumable"
)


class Parser(argparse.ArgumentParser):
    """argparse with whole words only, and with an unknown word answered by the nearest right one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            word = message.removeprefix(prefix).split()[0].partition("=")[0]
            near = difflib.get_close_matches(word, list(self._option_string_actions), n=1, cutoff=0.5)
            message = f"unknown argument {word!r}." + (f" Did you mean {near[0]!r}?" if near else "")
        self.exit(2, f"{self.format_usage()}{self.prog}: {message}\n")


class TrainHelp(argparse.Action):
    """The help of ``train`` with the table of knobs: the algorithm's own where one was named before."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(
            option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="this page", **settings
        )

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> NoReturn:
        from rllib_ext.cli.knob_help import knob_help

        print(parser.format_help() + knob_help(getattr(namespace, "algorithm", None)))
        parser.exit(0)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of one command line, with its ``words``; ``verb`` is the verb's own name. Exits with 2 where
    it is none.
    """
    words = list(words)
    if words and words[0] in SPELLINGS:
        words[0] = SPELLINGS[words[0]]
    verbs = _build()
    if words and not words[0].startswith("-") and words[0] not in verbs.choices:
        near = difflib.get_close_matches(words[0], [*verbs.choices, *SPELLINGS], n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        print(f"rllib-ext: unknown verb {words[0]!r}.{hint} Known: {', '.join(SUMMARIES)}.", file=sys.stderr)
        raise SystemExit(2)
    if words[:1] == ["sweep"] and words[1:2] not in (["-h"], ["--help"]):  # the rest is the sweep's own
        name = words[1] if len(words) > 1 else None
        return argparse.Namespace(verb="sweep", words=words, name=name, rest=words[2:])
    if words and words[0] in verbs.choices:
        return verbs.choices[words[0]].parse_args(words[1:], argparse.Namespace(words=words))
    return verbs.owner.parse_args(words or ["--help"])


class _Verbs:
    """The top parser and the parser of each verb."""

    def __init__(self) -> None:
        self.owner = Parser(
            prog="rllib-ext", description="Published RL methods as RLlib algorithms.", epilog=EXIT_CODES
        )
        self._group = self.owner.add_subparsers(title="verbs", metavar="VERB", parser_class=Parser)
        self.choices: dict[str, Parser] = {}

    def add(self, name: str, **settings: Any) -> Parser:
        text = SUMMARIES[name]
        parser = self._group.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EXIT_CODES, **settings
        )
        parser.set_defaults(verb=name)
        self.choices[name] = parser
        return parser


def _build() -> _Verbs:
    verbs = _Verbs()
    verbs.add("list")
    _train(verbs.add("train", add_help=False))
    verbs.add("sweep").add_argument(
        "name", metavar="NAME ...", help="and what that sweep takes; none: list them"
    )
    for name in ("resume", "evaluate", "relabel", "plot", "export"):
        verbs.add(name)
    _relabel(verbs.choices["relabel"])
    resume, evaluate, plot, export = (verbs.choices[n] for n in ("resume", "evaluate", "plot", "export"))
    resume.add_argument("run", metavar="RUN", help="a run folder, or its name below ./runs")
    _session(resume)
    _evaluate(evaluate)
    plot.add_argument("run", metavar="RUN|SWEEP", help="a folder, or its name below ./runs")
    export.add_argument("run", metavar="RUN|CHECKPOINT", help="a run (its newest checkpoint) or a checkpoint")
    export.add_argument("--to", required=True, metavar="FOLDER", help="where to write the model")
    _frames(verbs.add("frames"))
    doctor = verbs.add("doctor")
    doctor.add_argument(
        "--cluster",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="ask every node of this cluster; default: RAY_ADDRESS",
    )
    doctor.add_argument(
        "--storage-path", metavar="FOLDER", help="with --cluster: a folder that every node must see"
    )
    return verbs


def _train(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "algorithm",
        metavar="ALGORITHM",
        help="an algorithm, a stage or a game, as `rllib-ext list` prints it",
    )
    add("-h", "--help", action=TrainHelp)
    add(
        "--env",
        metavar="NAME",
        help="environment, as `rllib-ext list` prints it; of ElasticResetPPO a Gymnasium id",
    )
    add(
        "--env-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="argument of the environment (JSON)",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a knob of the tables below; repeatable",
    )
    add("--seed", type=int, metavar="N", help="seed of the run; default: 0")
    add("--name", help="last part of the run folder's name; default: the time")
    add(
        "--storage-path", default="runs", metavar="FOLDER", help="where run folders are made; default: ./runs"
    )
    add("--checkpoint-every", type=int, metavar="UPDATES", help="default: a tenth of the run")
    add("--evaluate-every", type=int, metavar="UPDATES", help="0: never; default: a tenth of the run")
    add("--dry-run", action="store_true", help="print the resolved configuration as JSON and stop")
    add("--smoke", action="store_true", help="the whole path in about a minute on two cores, on a tiny model")
    _session(parser)


def _evaluate(parser: Parser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN|CHECKPOINT", help="a run (its newest checkpoint) or a checkpoint")
    add("--split", default="test", choices=("validation", "test", "train"), help="default: test")
    add("--prompts", type=int, metavar="N", help="held-out prompts; default: those of the run")
    mining = parser.add_argument_group("candidate triples, of a run of CommonsenseKBC")
    add = mining.add_argument
    add("--candidates", metavar="FILE", help="tab-separated triples, or text: rank them by novelty")
    add("--top", type=int, default=100, metavar="N", help="so many of each bucket of novelty; default: 100")
    add("--cuts", type=float, nargs=2, metavar=("NEAR", "FAR"), help="distances; default: thirds")
    add("--keep-known", action="store_true", help="rank what training states, too")
    _session(parser)


def _relabel(parser: Parser) -> None:
    add = parser.add_argument
    add("--gold", required=True, metavar="FOLDER", help="a reward model's folder or hub id, or: controlled")
    add("--revision", metavar="COMMIT", help="of a hub model")
    add("--data", required=True, metavar="FILE", help="comparisons, as RewardModel's data; or ControlledTLDR")
    add(
        "--to",
        required=True,
        metavar="FILE",
        help="the new .jsonl file; FILE.json beside it holds the counts",
    )
    add("--split", default="all", choices=("train", "validation", "test", "all"), help="default: all rows")
    add("--rows", type=int, metavar="N", help="at most so many rows")
    add(
        "--flip",
        type=float,
        default=0.0,
        metavar="P",
        help="chance that a gold label is turned round; default: 0",
    )
    add("--seed", type=int, default=0, help="of the flips, and of built-in data; default: 0")
    add("--batch-size", type=int, default=64, metavar="N", help="texts a forward pass; default: 64")
    add("--max-query-tokens", type=int, default=512, metavar="N", help="budget of a query; default: 512")
    add(
        "--max-bad-share",
        type=float,
        default=0.01,
        metavar="P",
        help="share of unusable rows allowed; default: 0.01",
    )
    add("--device", default="cpu", help="where the gold model runs; default: cpu")


def _frames(parser: Parser) -> None:
    tasks = parser.add_subparsers(
        title="tasks", metavar="TASK", dest="task", required=True, parser_class=Parser
    )
    _collect(tasks.add_parser("collect", help="play a game at random and record it"))
    _import(tasks.add_parser("import", help="DQN Replay shards (gzip'd arrays) into a folder of frames"))
    check = tasks.add_parser("check", help="verify every file of folders of frames, and say what they hold")
    check.add_argument("folders", nargs="+", metavar="FOLDER")


def _collect(parser: Parser) -> None:
    add = parser.add_argument
    _game_into(parser, "where the frames go")
    add("--steps", type=int, required=True, metavar="N", help="agent steps in all")
    add("--num-envs", type=int, default=8, metavar="N", help="copies played at once; default: 8")
    add(
        "--repeat", type=float, default=2 / 3, metavar="P", help="chance that an action is kept; default: 2/3"
    )
    add("--seed", type=int, default=0, metavar="N", help="default: 0")
    add("--protocol", default="100k", choices=("100k", "standard"), help="default: 100k, nothing sticky")
    add("--ram", action="store_true", help="record the console's memory too, for probes")
    add("--resume", action="store_true", help="go on with a folder whose recording was interrupted")


def _import(parser: Parser) -> None:
    add = parser.add_argument
    _game_into(parser, "a new folder")
    add("--from", dest="source", required=True, metavar="FOLDER", help="of $store$_observation_ckpt.1.gz ...")
    add("--checkpoints", metavar="N,N", help="which, in this order; default: all there are")
    add("--run", type=int, metavar="N", help="1 to 5, for the record")
    add("--max-frames", type=int, metavar="N", help="rows read of each shard; default: all")


def _game_into(parser: Parser, where: str) -> None:
    parser.add_argument("--game", required=True, metavar="GAME", help="Pong, MsPacman, ...")
    parser.add_argument("--to", required=True, metavar="FOLDER", help=where)
    parser.add_argument("--quiet", action="store_true", help="no word about progress")


def _session(parser: Parser) -> None:
    parser.add_argument("--address", help="join this Ray cluster; default: a Ray session of its own")
    parser.add_argument("--quiet", action="store_true", help="no live table, no summary")
    parser.add_argument("--json", action="store_true", help="the last line of the output is one JSON object")

"""Claim: the engine's exact promises hold, its framework costs little, and nothing leaks (spec D.3, B6, B9-B12, B14).

    B6        async with bound 0 makes the same updates as sync, bit for bit             ``_gate_staleness.py``
    B6b       ages are exactly what the bound says, every sample is stamped              ``_gate_staleness.py``
    B9        workers killed, silent, stalled or misled: found within 5 s, same weights  ``_gate_faults.py``
    B10       kill -9 of the driver at random moments: the run goes on as if never       ``_gate_resume.py``
    B11       a sweep of 16 trials in 5 minutes; a failed trial; PBT's exploit           ``_gate_sweep.py``
    B12       CPU time at most 15 % above a bare loop; queue and snapshots at most 5 ms  ``_gate_cost.py``
    publish   the weight push is at most 5 % of an iteration (vLLM, 5 million parameters) ``_gate_cost.py``
    B14       memory grows by less than 5 % over 500 rounds, the object store not at all ``_gate_leak.py``

B6, B6b, B10 and B14 do not depend on how busy the machine is. B9's deadlines are in wall time, B11's limit in CPU time
over the number of cores. B12 is in CPU time, alternating with what it is compared with; ``publish`` is a share of wall
time and says whether its sample is valid by the rule of ``_load.py``. B9 and B10 draw their faults and moments from
--seed; 0 draws a seed as well, which is said and kept. --repeats: of each fault of B9, and of the kills of B10.

A run of some gates writes gates-<names>.*, beside the files of all.

    python -m benchmarks.gates [--quick] [--only B6,B9,B10,B11,B12,B14,publish] [--engine vllm] [--seed 0] [--repeats 20]
"""

from __future__ import annotations

import secrets
import sys
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._gate_cost import publish_gate, tax_gates  # noqa: E402
from benchmarks._gate_faults import fault_gates  # noqa: E402
from benchmarks._gate_leak import leak_gate  # noqa: E402
from benchmarks._gate_resume import resume_gates  # noqa: E402
from benchmarks._gate_runs import Gate  # noqa: E402
from benchmarks._gate_staleness import staleness_gates  # noqa: E402
from benchmarks._gate_sweep import sweep_gates  # noqa: E402
from benchmarks._pictures import gates_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._session import ray_session  # noqa: E402

IN_ONE_SESSION = {"B6", "B9", "B12", "B14", "publish"}
ALL = "B6,B9,B10,B11,B12,B14,publish"


def measure(options: Any) -> tuple[list[Gate], list[dict[str, float]]]:
    """(gates, memory readings) of the gates that were asked for."""
    chosen = set(options.only.split(","))
    gates: list[Gate] = []
    readings: list[dict[str, float]] = []
    if chosen & IN_ONE_SESSION:
        with ray_session():
            gates, readings = _in_one_session(options, chosen)
    if "B10" in chosen:
        note("B10: whole runs, killed and resumed")
        gates += resume_gates(2 if options.quick else options.repeats, options.seed)
    if "B11" in chosen:
        note("B11: a sweep, and a population")
        gates += sweep_gates(trials=4 if options.quick else 16, updates=4 if options.quick else 32)
    return gates, readings


def _in_one_session(options: Any, chosen: set[str]) -> tuple[list[Gate], list[dict[str, float]]]:
    gates: list[Gate] = []
    readings: list[dict[str, float]] = []
    quick = options.quick
    if "B6" in chosen:
        note("B6, B6b: four runs")
        gates += staleness_gates(6 if quick else 20)
    if "B9" in chosen:
        gates += fault_gates(1 if quick else options.repeats, options.seed)
    if "B12" in chosen:
        note("B12: plug-in against bare loop")
        gates += tax_gates(pairs=2 if quick else 7, rounds=3 if quick else 10)
    if "B14" in chosen:
        note("B14: many rounds")
        gate, readings = leak_gate(60 if quick else 500, every=5)
        gates.append(gate)
    if "publish" in chosen:
        note("publish: an engine of five million parameters")
        gates.append(publish_gate(2 if quick else 10, options.engine))
    return gates, readings


def main() -> int:
    options = arguments(__doc__, only=ALL, engine="vllm", seed=0, repeats=20).parse_args()
    if unknown := set(options.only.split(",")) - set(ALL.split(",")):
        raise SystemExit(
            f"--only names gates that there are not: {', '.join(sorted(unknown))}; there are {ALL}"
        )
    options.seed = options.seed or secrets.randbits(31)
    part = "" if options.only == ALL else options.only.lower().replace(",", "-")
    results = Results("gates", options, part)
    gates, readings = measure(options)
    rows = [gate.row() for gate in gates]
    results.table([{"kind": "gate", **row} for row in rows] + [{"kind": "memory", **row} for row in readings])
    results.figure(gates_figure(rows))
    passed = all(gate.passed for gate in gates)
    values = {gate.gate: {"value": gate.value, "limit": gate.limit, "passed": gate.passed} for gate in gates}
    results.close({"passed": passed, **values}, gates=rows)
    return int(not passed and not options.quick)


if __name__ == "__main__":
    sys.exit(main())

"""Claim: the engine's exact promises hold, its framework costs little, and nothing leaks (spec D.3, B6, B6b, B12, B14).

    B6        async with bound 0 makes the same updates as sync, bit for bit             ``_gate_staleness.py``
    B6b       ages are exactly what the bound says, every sample is stamped              ``_gate_staleness.py``
    B12       CPU time at most 15 % above a bare loop; queue and snapshots at most 5 ms  ``_gate_cost.py``
    publish   the weight push is at most 5 % of an iteration (vLLM, 5 million parameters) ``_gate_cost.py``
    B14       memory grows by less than 5 % over 500 rounds, the object store not at all ``_gate_leak.py``

B6, B6b and B14 do not depend on how busy the machine is. B12 is in CPU time, alternating with what it is compared with;
``publish`` is a share of wall time and says whether its sample is valid by the rule of ``_load.py``.

    python -m benchmarks.gates [--quick] [--only B6,B12,B14,publish] [--engine vllm]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks._session import quiet_process

quiet_process()

from benchmarks._gate_cost import publish_gate, tax_gates  # noqa: E402
from benchmarks._gate_leak import leak_gate  # noqa: E402
from benchmarks._gate_runs import Gate  # noqa: E402
from benchmarks._gate_staleness import staleness_gates  # noqa: E402
from benchmarks._pictures import gates_figure  # noqa: E402
from benchmarks._results import Results, arguments, note  # noqa: E402
from benchmarks._session import ray_session  # noqa: E402


def measure(options: Any) -> tuple[list[Gate], list[dict[str, float]]]:
    """(gates, memory readings) of the gates that were asked for."""
    chosen = set(options.only.split(","))
    gates: list[Gate] = []
    readings: list[dict[str, float]] = []
    quick = options.quick
    if "B6" in chosen:
        note("B6, B6b: four runs")
        gates += staleness_gates(6 if quick else 20)
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
    parser = arguments(__doc__, only="B6,B12,B14,publish", engine="vllm")
    options = parser.parse_args()
    results = Results("gates", options)
    with ray_session():
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

"""From a run folder to what a person sees: tables, plots, the HTML report and the live table.

``run_data`` reads the folder, ``intervals`` and ``tables`` turn it into numbers, ``plots`` draws them,
``report`` writes ``report/report.html`` and ``live`` shows a run while it goes on. Nothing here imports
torch, Ray or vLLM, so a run can be looked at on a machine that could never have made it.
"""

"""The sweep that test_sweep.py kills: a trainable that counts, whose every step leaves a line.

python counting_sweep.py FOLDER STEPS        writes FOLDER/lines while it runs, FOLDER/table.json at its end
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ray import tune


class Counter(tune.Trainable):
    def setup(self, config):
        self.steps, self.lines = 0, Path(config["lines"])

    def step(self):
        self.steps += 1
        with self.lines.open("a") as file:
            file.write(f"{self.trial_id} {self.steps}\n")
        time.sleep(0.05)
        done = self.steps >= self.config["until"]
        return {"steps": self.steps, "done": done, "worth": self.config["x"] * self.steps}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "steps.json").write_text(json.dumps(self.steps))

    def load_checkpoint(self, checkpoint):
        self.steps = json.loads(Path(checkpoint, "steps.json").read_text())


def main(home: Path, steps: int) -> None:
    import ray

    from rllib_ext.runtime.sweep import Sweep

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    space = {"x": tune.grid_search([1.0, 2.0]), "until": steps, "lines": str(home / "lines")}
    results = Sweep("counting", Counter, space, storage=str(home), verbose=0).tuner().fit()
    rows = [(r.config["x"], r.metrics["steps"], r.metrics["worth"], r.metrics["trial_id"]) for r in results]
    (home / "table.json").write_text(json.dumps(sorted(rows)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Grid environments: cores that step many copies as arrays, and their PettingZoo faces."""

from envs.grid.beacon import Beacon
from envs.grid.beacon_core import BeaconCore
from envs.grid.face import GridEnv
from envs.grid.find_goal import FindGoal
from envs.grid.find_goal_core import FindGoalCore
from envs.grid.ic3_predator_prey import IC3PredatorPrey
from envs.grid.ic3_predator_prey_core import IC3PredatorPreyCore
from envs.grid.predator_prey import PredatorPrey, predator_prey
from envs.grid.predator_prey_core import PredatorPreyCore
from envs.grid.traffic_junction import TrafficJunction
from envs.grid.traffic_junction_core import TrafficJunctionCore

__all__ = [
    "Beacon",
    "BeaconCore",
    "FindGoal",
    "FindGoalCore",
    "GridEnv",
    "IC3PredatorPrey",
    "IC3PredatorPreyCore",
    "PredatorPrey",
    "PredatorPreyCore",
    "TrafficJunction",
    "TrafficJunctionCore",
    "predator_prey",
]

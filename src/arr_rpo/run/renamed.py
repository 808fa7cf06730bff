"""Names of this package that a recorded config may still have, with those of now: what was moved or renamed, and is the same.

A config's names stand under `_target_`, or are told to `hydra.utils.get_method`. CHANGELOG.md lists the same for people.
"""

from __future__ import annotations

from typing import Any

# Version 0.1.0 -> 0.2.0: modules, with all that they hold, ...
MODULES = {
    **{f"algorithm.{name}": f"formulas.{name}" for name in ("advantages", "dynamics", "losses", "schedules", "windows")},
    **{f"objective.{name}": f"algorithm.{name}" for name in ("base", "forward_process", "policy_gradient")},
    "judge.local_model": "judge.local.model",
    "rubric.pipeline": "rubric.auto_rubric",
    "shapes.annotator_preferences": "shapes.annotators.preferences",
    "shapes.edit_policy_recipe": "shapes.recipes.edit_policy",
    "shapes.judge_recipe": "shapes.recipes.judge",
    "shapes.measure": "shapes.oracles.measure",
    "shapes.oracle_judge": "shapes.oracles.judge",
    "shapes.policy_recipe": "shapes.recipes.policy",
    "shapes.preferences": "shapes.oracles.preferences",
}
# ... and what went elsewhere or is called otherwise.
NAMES = {
    "benchmark.questions.Checkpoints": "benchmark.questions.PointsOfPrompt",
    "benchmark.questions.Rubric": "benchmark.questions.FixedQuestions",
    "evaluation.alarm.Rule": "evaluation.alarm.AlarmRule",
    "judge.server.ServerModel": "judge.server.model.ServerModel",
    "reward_model.features.Adapter": "reward_model.features.Lora",
    "shapes.annotator_preferences.AnnotatorScorer": "shapes.annotators.scorer.AnnotatorScorer",
    "shapes.measure.AnnotatorOracle": "shapes.annotators.measure.AnnotatorOracle",
}
OURS = "arr_rpo."


def renamed(found: Any) -> Any:
    """The same config, in which each text that is such a name is the one of now; mappings and lists are copied."""
    if isinstance(found, dict):
        return {key: renamed(value) for key, value in found.items()}
    if isinstance(found, list):
        return [renamed(value) for value in found]
    if not isinstance(found, str) or not found.startswith(OURS):
        return found
    name = found.removeprefix(OURS)
    module, _, attribute = name.rpartition(".")
    if not module:
        return found  # a file of that name, say
    return OURS + NAMES.get(name, f"{MODULES.get(module, module)}.{attribute}")

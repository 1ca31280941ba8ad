"""The rules of whose jobs the plan says how long they take."""

BY_STAGE = {
    "convert": "convert_to_gguf",
    "calibrate": "calibrate",
    "search mixes": "search_mix",
    "quantize": "quantize_gguf",
    "round": "learn_rounding",
    "train": "train_qat",
    "train by block": "train_qat",
}
REFERENCE = "score_reference"
BY_TASK = {
    "squad": "evaluate_quality",
    "divergence": "evaluate_divergence",
    "ab": "answer_prompts",
    "lm_eval": "evaluate_lm_eval",
}
LEARNING = frozenset({BY_STAGE["round"], BY_STAGE["train"]})
"""Those that some models refuse."""
DEPLOY, MEASURE = "deploy_gguf", "benchmark_device"

ESTIMATED = frozenset({*BY_STAGE.values(), REFERENCE, *BY_TASK.values(), DEPLOY, MEASURE})

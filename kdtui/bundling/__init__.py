"""The task itself, as pure functions: ground truth, metrics, floors, and the students' prompts."""

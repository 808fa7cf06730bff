"""The embedded world: drawn scenes, prompts, an exact oracle, and recipes for the tiny policy and judge."""

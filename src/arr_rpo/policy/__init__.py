"""The pipeline is the policy: rollout, exact replay, adapters, export. Nothing here knows a judge."""

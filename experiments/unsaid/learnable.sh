#!/usr/bin/env bash
# Can each developing annotator's tastes be learned at all, from the exact oracle of what pictures are worth to them?
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
place=${PLACE:-runs/unsaid/learnable}
for who in ${@:-ada ben cleo dora emil fay gus hana ivo jo}; do
  "${PYTHON:-.venv/bin/python}" train.py experiment=t2i_rpo reward=annotator "reward.protocol.annotator=$who" judge=none rubric=none algorithm=grpo \
    data.train=shapes/open_train data.heldout=shapes/open_heldout data.unseen=null "measure=[annotator]" "measure.annotator.annotator=$who" \
    data.updates=30 data.candidates_per_update=64 callbacks.heldout.every_n_updates=null num_threads=1 trainer.enable_progress_bar=false \
    resume=auto "run_dir=$place/$who"
done

#!/usr/bin/env bash
# A checklist of 0 to 1 and a darkness in thousands, of weights 1 and 0.2: added as they are, and normalised within the group first.
# Three seeds each; the same command goes on with what is not done.   bash experiments/combined/run.sh [true|false...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PYTHONPATH="$PWD/src:$PWD/experiments/combined${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
place=${PLACE:-runs/combined}
for normalise in ${@:-true false}; do
  [ "$normalise" = true ] && arm=normalised || arm=as_they_are
  "${PYTHON:-.venv/bin/python}" train.py -m experiment=t2i_rpo judge=oracle seed=1,2,3 num_threads=1 data.updates=40 data.candidates_per_update=64 data.unseen=null \
    algorithm=grpo reward=rubric_and_score reward/protocol@reward.parts.rubric.reward.protocol=checklist \
    reward.parts.score.reward.score=in_thousands.darkness reward.parts.score.weight=0.2 reward.normalise="$normalise" \
    "measure=[shapes,score]" measure.score.scorer.function=in_thousands.darkness trainer.enable_progress_bar=false \
    +study.name=combined +study.arm="$arm" +study.reference=normalised "hydra.sweep.dir=$place/$arm" "hydra.sweep.subdir='seed=\${seed}'"
done

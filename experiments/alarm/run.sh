#!/usr/bin/env bash
# Five seeds each of honest training, judged by the oracle, and of two planted cheats beside it; the same command goes on with what is not done.
#   bash experiments/alarm/run.sh [arm...]     (honest_rpo honest_grpo darkness stripes)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PYTHONPATH="$PWD/src:$PWD/experiments/alarm${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
place=${PLACE:-runs/alarm}
python=${PYTHON:-.venv/bin/python}
common=(experiment=t2i_rpo judge=oracle seed=1,2,3,4,5 num_threads=1 data.updates=30 data.candidates_per_update=64 data.unseen=null
  callbacks.heldout.every_n_updates=5 trainer.enable_progress_bar=false)
cheat() { echo "algorithm=grpo reward=rubric_and_score reward.parts.score.reward.score=cheats.$1 reward.parts.score.weight=2"; }
for arm in "${@:-honest_rpo honest_grpo darkness stripes}"; do
  for one in $arm; do
    case $one in
      honest_rpo) more=() ;;
      honest_grpo) more=(algorithm=grpo reward=checklist) ;;
      *) read -ra more <<< "$(cheat "$one")" ;;
    esac
    "$python" train.py -m "${common[@]}" "${more[@]}" "hydra.sweep.dir=$place/$one"
  done
done

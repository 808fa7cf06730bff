#!/usr/bin/env bash
# What stands behind experiments/judges/README.md:
#   bash experiments/judges/run.sh <folder> <folder of a second judge> [<parts>]
# About an hour on one core. The README's second judge is the one before: git archive da256b0 src/arr_rpo/shapes/weights/judge_roles |
# tar -x -C <folder of a second judge> --strip-components=5. A part that is finished in the folder is not run again.
set -euo pipefail
out=$1 second=$2 parts=${3:-cost generated protocols rubrics kinds transfer criteria seeds}
python=${PYTHON:-python}
bench="$python evaluate.py -m task=judge num_threads=1 bench.progress=false preferences=shapes_policy"
store="rubric.store=$out/store"
mkdir -p "$out"

once() { # once <name> <command...>: prints into <folder>/<name>.log, unless that is there
  local name=$1
  shift
  [ -e "$out/$name.log" ] && return
  "$@" > "$out/$name.tmp" 2> "$out/$name.err"
  mv "$out/$name.tmp" "$out/$name.log"
}

table() { # table <sweep> [<arm that the others are compared with>]
  once "table_$1" $python report.py "study='$out/$1'" ${2:+"reference='$2'"}
}

cost() { # what answers cost
  once cost $python experiments/judges/judge_cost.py
}

generated() { # the verdict as text, as ARR has it, and by the probabilities of answer tokens
  once generated $bench reward=rubric judge.model.answers=tokens,generated $store hydra.sweep.dir="$out/generated"
  table generated judge.model.answers=tokens
}

protocols() { # every protocol on 514 pairs that the embedded policy makes of held-out prompts
  once protocols $bench reward=scalar,pairwise,rubric,criteria,checklist,checklist_gate,delta_rubric,rational,fixed_five \
    $store hydra.sweep.dir="$out/protocols"
  table protocols reward=rubric
}

rubrics() { # written from pairs, verified, refined; the same from labels by a coin, and verified as the published code does
  local write="$python rubrics.py prompts=shapes/heldout limit=64 rubric.fallback=null"
  local coin="preferences@rubric.preferences=shapes_coin"
  once refined $write $store export="$out/refined" json="$out/refined.json"
  once precision $python experiments/judges/precision.py "$out/refined"
  once coin $write rubric.store="$out/store_coin" $coin json="$out/coin.json"
  once released $write rubric.store="$out/store_released" rubric/settings=released json="$out/released.json"
  once coin_released $write rubric.store="$out/store_coin_released" $coin rubric/settings=released json="$out/coin_released.json"
}

kinds() { # rubrics of every kind in one protocol
  once kinds $bench rubric=per_prompt,global,fixed_five,shuffled,dropout hydra.sweep.dir="$out/kinds"
  table kinds rubric=per_prompt
}

criteria() { # accuracy against the number of criteria
  once criteria $bench bench.limit=256 rubric=global $store rubric.heldout_pairs=16 rubric.settings.max_criteria=1,2,4,8 \
    rubric.seed=${SEEDS:-7,8,9} hydra.sweep.dir="$out/criteria"
  table criteria
}

seeds() { # accuracy against the number of pairs that the rubric is written from
  once seeds $bench bench.limit=256 rubric=global $store rubric.heldout_pairs=16 rubric.writing_pairs=4,16,64,256 \
    rubric.seed=${SEEDS:-7,8,9} hydra.sweep.dir="$out/seeds"
  table seeds
}

transfer() { # rubrics of one judge in the hands of another
  local writer reader
  checkpoint() { [ "$1" = first ] && echo shapes || echo "$second"; }
  for writer in first second; do
    once "transfer_$writer" $python rubrics.py rubric=global prompts=shapes/heldout limit=1 $store \
      judge.model.checkpoint="$(checkpoint $writer)" export="$out/transfer_$writer"
    for reader in first second; do
      once "transfer_${writer}_$reader" $bench rubric=from_file rubric.path="$out/transfer_$writer" \
        judge.model.checkpoint="$(checkpoint $reader)" hydra.sweep.dir="$out/transfer" hydra.sweep.subdir="'writer=$writer,judge=$reader'"
    done
  done
  table transfer
}

for part in $parts; do $part; done
cat "$out"/table_*.log

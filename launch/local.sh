#!/bin/bash
# One training on this machine and all its GPUs, started again after a crash:
#
#   launch/local.sh --config=configs/maf_gas.py:teacher --workdir=runs/maf_gas
#
# One process sees all GPUs; PER=gpu starts one for each of them. PROCESSES sets their
# number, MAIN starts one, RETRIES is how often it is tried again (3). SIGINT or SIGTERM
# has it save and end with 75; the same command goes on.
set -u
cd "$(dirname "$0")/.." || exit 2

gpus=${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd,)}
IFS=, read -r -a gpus <<<"$gpus"
processes=1
[ "${PER:-}" = gpu ] && processes=${#gpus[@]}
processes=${PROCESSES:-$processes}
if [ "$processes" -lt 1 ]; then
  echo "local.sh: PER=gpu, but no GPU is visible" >&2
  exit 2
fi

stopped=
children=()
stop() {
  stopped=1
  kill -TERM "${children[@]}" 2>/dev/null
}
trap stop INT TERM USR1 HUP

once() {
  children=()
  local flags=() i rc status=0 port=$((20000 + $$ % 20000))
  for ((i = 0; i < processes; i++)); do
    if [ "$processes" -gt 1 ]; then
      flags=(--coordinator="127.0.0.1:$port" --num_processes="$processes" --process_id="$i")
      if [ "${#gpus[@]}" -gt 0 ]; then
        export CUDA_VISIBLE_DEVICES=${gpus[i % ${#gpus[@]}]}
      fi
    fi
    # Its own group: a terminal's Ctrl-C comes through `stop`, once.
    # shellcheck disable=SC2086
    setsid ${MAIN:-python -m fdnf.main} --mode=single "$@" "${flags[@]}" &
    children+=($!)
  done
  for child in "${children[@]}"; do
    wait "$child"
    rc=$?
    while kill -0 "$child" 2>/dev/null; do
      wait "$child"
      rc=$?
    done
    # A refusal outweighs a crash, and that a good end.
    if [ "$rc" -eq 2 ] || { [ "$rc" -ne 0 ] && [ "$status" -ne 2 ]; }; then
      status=$rc
    fi
  done
  return "$status"
}

for ((try = 0; try <= ${RETRIES:-3}; try++)); do
  once "$@"
  rc=$?
  [ -n "$stopped" ] && [ "$rc" -ne 0 ] && [ "$rc" -ne 2 ] && exit 75
  # 130: somebody interrupted a process by hand.
  if [ "$rc" -eq 0 ] || [ "$rc" -eq 2 ] || [ "$rc" -eq 130 ]; then
    exit "$rc"
  fi
  echo "local.sh: ended with $rc" >&2
done
exit "$rc"

#!/bin/bash
# Run many experiments, each in a job of its own: line N of a list is the experiment of job N.
#
#     ls experiments/*.yaml > experiments.txt
#     sbatch --array=1-"$(wc -l < experiments.txt)"%8 array.sh experiments.txt
#
# %8: at most eight at the same time, apart from those that are submitted again. Arguments after the
# list are passed to `gfrnn run`. Each experiment has its own folder, runs/NAME by the name in its
# file. An experiment that stops before the end of its job (exit code 75) is submitted again and
# resumes from its checkpoints.
#
#SBATCH --job-name=gfrnn-array
#SBATCH --output=%x-%A-%a.log
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=01:00:00

set -uo pipefail

again=75                         # exit code of work that stopped early
round=${GFRNN_ROUND:-1}
rounds=${GFRNN_ROUNDS:-20}       # jobs of one experiment at most

# Put `gfrnn` on the PATH here, for example:
# source "$HOME/gfrnn/bin/activate"

experiment=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")
if [ -z "$experiment" ]; then
  echo "$1: has no line $SLURM_ARRAY_TASK_ID" >&2
  exit 2
fi

gfrnn run "$experiment" "${@:2}"
code=$?

if [ "$code" -ne "$again" ]; then
  exit "$code"                   # done, or an error that would occur again
fi
if [ "$round" -ge "$rounds" ]; then
  echo "$experiment: not done after $round jobs" >&2
  exit "$code"
fi
# Slurm runs a copy of the script, in a folder of its own. For one of its jobs it shows the whole
# array, with the same command each time.
command=$(scontrol show job "$SLURM_JOB_ID" | sed -n '/^ *Command=/{s///p;q;}')
script=${command%" $*"}          # the rest are its arguments
export GFRNN_ROUND=$((round + 1))
sbatch --array="$SLURM_ARRAY_TASK_ID" "$script" "$@"

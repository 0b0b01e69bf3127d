#!/bin/bash
# Run an experiment that takes longer than one job may: the job is submitted again until it is done.
#
#     sbatch resubmit.sh my.yaml
#
# Arguments are passed to `gfrnn run`, which asks Slurm when the job ends, stops gracefully two
# minutes before (--stop-before) with the exit code 75, and resumes from its checkpoints in the next
# job.
#
#SBATCH --job-name=gfrnn
#SBATCH --output=%x-%j.log
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=04:00:00

set -uo pipefail

again=75                         # exit code of work that stopped early
round=${GFRNN_ROUND:-1}
rounds=${GFRNN_ROUNDS:-20}       # jobs at most, as a limit to resubmission

# Put `gfrnn` on the PATH here, for example:
# source "$HOME/gfrnn/bin/activate"

gfrnn run "$@"
code=$?

if [ "$code" -ne "$again" ]; then
  exit "$code"                   # done, or an error that would occur again
fi
if [ "$round" -ge "$rounds" ]; then
  echo "not done after $round jobs; sbatch it again if it only needs more of them" >&2
  exit "$code"
fi
# Slurm runs a copy of the script, in a folder of its own.
command=$(scontrol show job "$SLURM_JOB_ID" | sed -n '/^ *Command=/{s///p;q;}')
script=${command%" $*"}          # the rest are its arguments
export GFRNN_ROUND=$((round + 1))
sbatch "$script" "$@"

#!/usr/bin/env bash
# One experiment inside of one allocation: scheduler, driver and workers are tasks of one job step.
#
#     sbatch one_allocation.sh EXPERIMENT.yaml --cluster allocation.yaml
#
# Of N tasks one is the scheduler, one the driver, and N - 2 are workers. The job's exit code is
# that of gfrnn. See docs/cluster.md.

#SBATCH --job-name=gfrnn
#SBATCH --ntasks=34
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log

set -euo pipefail

# Put `gfrnn` on the PATH here: load modules, or activate an environment.

# The loss of a worker does not stop the others: its results are computed again.
exec srun --kill-on-bad-exit=0 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" gfrnn run "$@"

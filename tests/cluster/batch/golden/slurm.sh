#!/usr/bin/env bash

#SBATCH -J gfrnn
#SBATCH -e FOLDER/gfrnn-%J.err
#SBATCH -o FOLDER/gfrnn-%J.out
#SBATCH -p batch
#SBATCH -A weather
#SBATCH -n 1
#SBATCH --cpus-per-task=4
#SBATCH --mem=9176M
#SBATCH -t 02:00:00
#SBATCH --exclusive
#SBATCH --qos=normal
module load python
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=16777216 PYTHONSAFEPATH=1
/opt/gfrnn/bin/python -m gfrnn.cluster.batch.start_workers tls://10.0.0.1:8786 --name worker-0 --nthreads 2 --memory-limit 4294967296B --death-timeout 60 --local-directory ${TMPDIR:-/tmp} --nanny --nworkers 2 --lifetime 6600s --lifetime-stagger 300s --worker-class gfrnn.cluster.guarded_servers.PortlessWorker --no-dashboard --interface ib0 --protocol tls:// --tls-ca-file FOLDER/tls/certificate.pem --tls-cert FOLDER/tls/certificate.pem --tls-key FOLDER/tls/key.pem

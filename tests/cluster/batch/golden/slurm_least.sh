#!/usr/bin/env bash

#SBATCH -J gfrnn
#SBATCH -e FOLDER/gfrnn-%J.err
#SBATCH -o FOLDER/gfrnn-%J.out
#SBATCH -n 1
#SBATCH --cpus-per-task=1
#SBATCH --mem=1147M
#SBATCH -t 01:00:00
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=16777216 PYTHONSAFEPATH=1
python3 -m gfrnn.cluster.batch.start_workers tls://10.0.0.1:8786 --name worker-0 --nthreads 1 --memory-limit 1073741824B --death-timeout 60 --local-directory ${TMPDIR:-/tmp} --nanny --nworkers 1 --lifetime 3240s --lifetime-stagger 180s --worker-class gfrnn.cluster.guarded_servers.PortlessWorker --no-dashboard --protocol tls:// --tls-ca-file FOLDER/tls/certificate.pem --tls-cert FOLDER/tls/certificate.pem --tls-key FOLDER/tls/key.pem

#!/usr/bin/env bash

#PBS -N gfrnn
#PBS -q batch
#PBS -A weather
#PBS -l select=1:ncpus=4:mem=9176mb
#PBS -l walltime=02:00:00
#PBS -e FOLDER/
#PBS -o FOLDER/
#PBS -j oe
module load python
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=16777216 PYTHONSAFEPATH=1
/opt/gfrnn/bin/python -m gfrnn.cluster.batch.start_workers tls://10.0.0.1:8786 --name worker-0 --nthreads 2 --memory-limit 4294967296B --death-timeout 60 --local-directory ${TMPDIR:-/tmp} --nanny --nworkers 2 --lifetime 6600s --lifetime-stagger 300s --worker-class gfrnn.cluster.guarded_servers.PortlessWorker --no-dashboard --interface ib0 --protocol tls:// --tls-ca-file FOLDER/tls/certificate.pem --tls-cert FOLDER/tls/certificate.pem --tls-key FOLDER/tls/key.pem

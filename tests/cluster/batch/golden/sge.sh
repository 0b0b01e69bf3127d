#!/usr/bin/env bash

#$ -N gfrnn
#$ -q all.q
#$ -P weather
#$ -l mem_free=9176M
#$ -l h_rt=02:00:00
#$ -e FOLDER/
#$ -o FOLDER/
#$ -cwd
#$ -j y
#$ -pe smp 4
module load python
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=16777216 PYTHONSAFEPATH=1
/opt/gfrnn/bin/python -m gfrnn.cluster.batch.start_workers tls://10.0.0.1:8786 --name worker-0 --nthreads 2 --memory-limit 4294967296B --death-timeout 60 --local-directory ${TMPDIR:-/tmp} --nanny --nworkers 2 --lifetime 6600s --lifetime-stagger 300s --worker-class gfrnn.cluster.guarded_servers.PortlessWorker --no-dashboard --interface ib0 --protocol tls:// --tls-ca-file FOLDER/tls/certificate.pem --tls-cert FOLDER/tls/certificate.pem --tls-key FOLDER/tls/key.pem

#!/usr/bin/env condor_submit

MY.DaskWorkerName = "htcondor--$F(MY.JobId)--"
batch_name = worker-0
RequestCpus = MY.DaskWorkerCores
RequestMemory = floor(MY.DaskWorkerMemory / 1048576)
RequestDisk = 1GB
MY.JobId = "$(ClusterId).$(ProcId)"
MY.DaskWorkerCores = 4
MY.DaskWorkerMemory = 9620726744
MY.DaskWorkerDisk = 9620726744
LogDirectory = FOLDER
Output = $(LogDirectory)/worker-$F(MY.JobId).out
Error = $(LogDirectory)/worker-$F(MY.JobId).err
Log = $(LogDirectory)/worker-$(ClusterId).log
Stream_Output = True
Stream_Error = True
accounting_group = weather
allowed_job_duration = 7200
requirements = Arch == "X86_64"

Arguments = "-c 'module load python; export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=16777216 PYTHONSAFEPATH=1; /opt/gfrnn/bin/python -m gfrnn.cluster.batch.start_workers tls://10.0.0.1:8786 --name worker-0 --nthreads 2 --memory-limit 4294967296B --death-timeout 60 --local-directory ${TMPDIR:-/tmp} --nanny --nworkers 2 --lifetime 6600s --lifetime-stagger 300s --worker-class gfrnn.cluster.guarded_servers.PortlessWorker --no-dashboard --interface ib0 --protocol tls:// --tls-ca-file FOLDER/tls/certificate.pem --tls-cert FOLDER/tls/certificate.pem --tls-key FOLDER/tls/key.pem'"
Executable = /bin/sh

Queue

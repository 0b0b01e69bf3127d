"""The batch systems that jobs can be submitted to, one file for each."""

from gfrnn.cluster.batch.systems.base import BatchSystem
from gfrnn.cluster.batch.systems.htcondor import HTCondorSystem
from gfrnn.cluster.batch.systems.lsf import LsfSystem
from gfrnn.cluster.batch.systems.oar import OarSystem
from gfrnn.cluster.batch.systems.pbs import PbsSystem
from gfrnn.cluster.batch.systems.sge import SgeSystem
from gfrnn.cluster.batch.systems.slurm import SlurmSystem

SYSTEMS: dict[str, BatchSystem] = {
    system.kind: system
    for system in (
        SlurmSystem(),
        PbsSystem(),
        LsfSystem(),
        SgeSystem(),
        OarSystem(),
        HTCondorSystem(),
    )
}
"""The batch system of each value of ``cluster.kind``."""

"""Random faults in small runs: kills, full disks, damaged files; every end must be that of none."""

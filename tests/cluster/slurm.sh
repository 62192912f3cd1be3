#!/usr/bin/env bash
# A real one-node SLURM on loopback, for tests: no systemd, no cgroups, nothing written to /etc.
#
#   slurm.sh install          apt-get install slurm-wlm and munge (root; Debian 12 gives SLURM 22.05)
#   slurm.sh up               start munged, slurmctld and slurmd; about a second until the node is idle
#   slurm.sh env              print the lines to eval: SLURM_CONF, and a sacct on PATH
#   slurm.sh down             cancel what still runs, and stop what 'up' started (by its pid files)
#
# State lives in $SLURM_TEST_DIR (default: /tmp/slurm-test); the daemons listen on $SLURM_TEST_PORT
# (default: 16817) and the next one. Two partitions: 'main' (preemptible, requeues) and 'high' (preempts
# main). The node has two GPUs that exist in name only. Without slurmdbd there is no accounting, and
# submitit then waits for ever on a killed job: bin/sacct answers its question from scontrol.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${SLURM_TEST_DIR:-/tmp/slurm-test}
port=${SLURM_TEST_PORT:-16817}
host=$(hostname -s)
cpus=$(nproc)

write_config() {
  mkdir -p "$dir"/{state,spool,log,run,munge}
  chmod 700 "$dir/munge"
  [ -s "$dir/munge/key" ] || { head -c 1024 /dev/urandom > "$dir/munge/key"; chmod 400 "$dir/munge/key"; }
  # a node with less memory than is said here would be drained
  local memory
  memory=$(awk '/^MemTotal:/ { mb = int($2 / 1024); print mb < 8000 ? mb : 8000 }' /proc/meminfo)
  cat > "$dir/slurm.conf" <<C
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire bounds the delay before a requeued job starts again (default: 121 s seen)
AuthInfo=socket=$dir/run/munge.sock,cred_expire=5
CredType=cred/munge
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# without this a preempted job gets SIGTERM only, which submitit ignores; with it USR2, and checkpoint() runs
${SLURM_TEST_PREEMPT-SlurmctldParameters=preempt_send_user_signal}
JobRequeue=1
ReturnToService=2
KillWait=5
MinJobAge=300
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=high Nodes=$host MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
C
  # devices that are on every machine stand for the GPUs: without cgroups nobody opens them
  printf 'NodeName=%s Name=gpu File=/dev/null\nNodeName=%s Name=gpu File=/dev/zero\n' "$host" "$host" > "$dir/gres.conf"
  # SLURM 22.05 knows no 'disabled' plugin; v1 with linuxproc and task/none never touches a cgroup
  printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' > "$dir/cgroup.conf"
}

up() {
  write_config
  export SLURM_CONF="$dir/slurm.conf"
  munged --force --key-file="$dir/munge/key" --socket="$dir/run/munge.sock" --pid-file="$dir/run/munged.pid" \
         --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed"
  setsid slurmctld -D -f "$SLURM_CONF" > "$dir/log/slurmctld.out" 2>&1 < /dev/null &
  setsid slurmd -D -f "$SLURM_CONF" -N "$host" > "$dir/log/slurmd.out" 2>&1 < /dev/null &
  for _ in $(seq 100); do
    sinfo -h -o %T 2>/dev/null | grep -q idle && { sinfo; return; }
    sleep 0.1
  done
  echo "slurm.sh: the node did not become idle in 10 s; see $dir/log" >&2
  exit 1
}

down() {
  export SLURM_CONF="$dir/slurm.conf"
  # a job that is still there when the daemons go would live on without them
  if [ -f "$dir/run/slurmctld.pid" ] && timeout 10 squeue -h -o %i > "$dir/run/left" 2>/dev/null; then
    [ -s "$dir/run/left" ] && timeout 10 scancel $(cat "$dir/run/left") || true
    for _ in $(seq 100); do
      [ -z "$(timeout 10 squeue -h 2>/dev/null)" ] && break
      sleep 0.2
    done
  fi
  for daemon in slurmd slurmctld munged; do
    [ -f "$dir/run/$daemon.pid" ] || continue
    pid=$(cat "$dir/run/$daemon.pid")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  done
}

case ${1:-} in
  install)
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge ;;
  up) up ;;
  env) printf 'export SLURM_CONF=%q\nexport PATH=%q:"$PATH"\n' "$dir/slurm.conf" "$here/bin" ;;
  down) down ;;
  *) sed -n '2,14p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac

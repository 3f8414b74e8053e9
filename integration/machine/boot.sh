# Becomes the first process of a machine. $1: its folder; $2: the cgroup that it is to be in.
mount --make-rprivate /
mkdir "$2"
echo 0 >"$2/cgroup.procs" # this process, whatever its number
exec unshare --cgroup bash -euo pipefail -c '
	mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
	cd "$1/root"
	mount -t proc proc proc
	mount -t sysfs sysfs sys
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mount --rbind /dev dev
	mount -t tmpfs tmpfs run
	mount -t tmpfs tmpfs tmp
	# On a real file system: neither can lie on an overlay, one for its containers, the other for its power cuts.
	mkdir -p var/lib/containers var/lib/podman-swarm oldroot
	mount --bind "$1/storage" var/lib/containers
	mount --bind "$1/state" var/lib/podman-swarm
	pivot_root . oldroot
	umount -l /oldroot
	cd /
	exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		/lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=0
' boot2 "$1"

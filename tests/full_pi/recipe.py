"""What is on the disk: packages, and what their installation would have set up."""

USER = "pi"
HOST = "raspberrypi"
SUITE = "trixie"  # Debian 13, as Raspberry Pi OS since October 2025
KERNEL = "linux-image-arm64-16k"  # pages as large as a Raspberry Pi 5's
SOURCES = {
    "http://deb.debian.org/debian": SUITE,
    "http://deb.debian.org/debian-security": f"{SUITE}-security",
}
PACKAGES = (
    "?essential",
    "busybox-static",  # for the initrd
    "dbus",
    "e2fsprogs",  # fsck, as Raspberry Pi OS does at boot
    "iproute2",
    "kmod",
    "libpam-systemd",
    "openssh-server",
    "procps",
    "python3",
    "rsync",
    "sudo",
    "systemd-sysv",
    "udev",
    KERNEL,
)
MODULES = ("crc32c_generic", "ext4", "virtio_blk")
"""Without these the kernel does not find its root; those they need come with them."""

PAM = {
    "auth": "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\n"
    "auth required pam_permit.so\n",
    "account": "account required pam_unix.so\n",
    "password": "password required pam_unix.so\n",
    "session": "session required pam_unix.so\nsession optional pam_systemd.so\n",
    "session-noninteractive": "session required pam_unix.so\n",
}
FILES = {
    "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 1\n",
    "etc/hostname": f"{HOST}\n",
    "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {HOST}\n::1 localhost\n",
    "etc/environment": "",
    "etc/locale.conf": "LANG=C.UTF-8\n",
    "etc/resolv.conf": "",  # it has no internet: names do not resolve there
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/systemd/network/wired.network": "[Match]\nType=ether\n[Network]\nDHCP=ipv4\n",
    "etc/ssh/sshd_config": "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    "UsePAM yes\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
    **{f"etc/pam.d/common-{name}": text for name, text in PAM.items()},
}
ENABLED = ("ssh", "systemd-networkd")
"""Of all services that the packages bring."""

# Under fakeroot, so that root's files are root's without being root.
UNPACK = f"""\
set -eu
packages=$1 files=$2 root=$3 disk=$4
umask 022
dpkg-deb -x "$packages"/base-files_*.deb "$root"
for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$root"; done
depmod -b "$root" "$(ls "$root/usr/lib/modules")"
chmod -R u=rwX,go=rX "$files/root"
cp -R "$files/root/." "$root/"

for list in passwd group; do cp "$root/usr/share/base-passwd/$list.master" "$root/etc/$list"; done
echo '{USER}:x:1000:1000::/home/{USER}:/bin/bash' >> "$root/etc/passwd"
echo '{USER}:x:1000:' >> "$root/etc/group"
sed -i -E 's/^(sudo|video|users):.*$/&{USER}/' "$root/etc/group"
sed -E 's/^([^:]*):.*/\\1:*:20000:0:99999:7:::/' "$root/etc/passwd" > "$root/etc/shadow"
chmod 640 "$root/etc/shadow"
chgrp 42 "$root/etc/shadow"
cp "$root/usr/share/base-files/profile" "$root/etc/profile"

cp -R "$root/etc/skel" "$root/home/{USER}"
for home in "$root/root" "$root/home/{USER}"; do
  install -d -m 700 "$home/.ssh"
  install -m 600 "$files/user_key.pub" "$home/.ssh/authorized_keys"
done
chown -R 1000:1000 "$root/home/{USER}"
install -m 600 "$files/host_key" "$root/etc/ssh/ssh_host_ed25519_key"

head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n' > "$root/etc/machine-id"
wants="$root/etc/systemd/system/multi-user.target.wants"
mkdir -p "$wants" "$root/var/log/journal"
for unit in {" ".join(ENABLED)}; do
  ln -s "/usr/lib/systemd/system/$unit.service" "$wants/$unit.service"
done
mke2fs -q -t ext4 -L rootfs -d "$root" "$disk" 4G
"""

INIT = """\
#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do busybox insmod "$module"; done
until [ -b /dev/vda ]; do busybox sleep 0.1; done
busybox mount -t ext4 -o ro /dev/vda /root
for folder in proc sys dev; do busybox mount --move "/$folder" "/root/$folder"; done
exec busybox switch_root /root /sbin/init
"""
"""Process 1 until the disk is there: systemd is started from it."""

SETTLE = """\
set -e
systemctl is-system-running --wait || systemctl --failed
python3 -m compileall -q -j 0 /usr/lib/python3 /usr/lib/python3.13 || true
"""
"""What an installation has done besides, by the board itself: Python's bytecode."""

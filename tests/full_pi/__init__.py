"""A whole virtual Raspberry Pi: a kernel, systemd and a disk of its own, whose power can be cut.

Debian 13 for arm64 with its kernel of 16 KB pages, in an emulated machine behind a real OpenSSH
server: the userland of Raspberry Pi OS 13. Made and run without root. From apt, on the workstation:
qemu-system-arm, fakeroot, cpio, kmod, e2fsprogs, openssh-client.

    recipe.py      what is on its disk
    packages.py    fetched by the workstation's apt
    image.py       made into a disk, with a kernel
    board.py       what boots it, and cuts its power
    disk.py        what stands on it, seen without a boot
    made.py        all of it once, kept in ~/.cache/llmpi

    make virtual-pi          builds it once, starts it and says how a config names it
"""

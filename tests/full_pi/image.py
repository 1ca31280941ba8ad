"""What boards are started from: a disk, a kernel and what finds the one from the other."""

import lzma
import shutil
from dataclasses import dataclass
from pathlib import Path

from full_pi import recipe
from full_pi.tools import run


@dataclass(frozen=True)
class Image:
    """Where the parts lie."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def disk(self) -> Path:
        """Of a board that was booted once and shut down; to be copied."""
        return self.folder / "disk.img"

    @property
    def identity_file(self) -> Path:
        """Lets in as `recipe.USER`, and as root."""
        return self.folder / "user_key"

    @property
    def host_key(self) -> str:
        """Kind and key, as a known_hosts file has them."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])


def unpack(image: Image, packages: list[Path], disk: Path) -> None:
    """A disk of the recipe's packages, and the kernel and the initrd beside it.

    `packages.txt` tells their versions.
    """
    for name in ("user_key", "host_key"):
        if not (image.folder / name).exists():
            path = str(image.folder / name)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "virtual-pi", "-f", path])
    (image.folder / "packages.txt").write_text("".join(f"{p.stem}\n" for p in packages))
    files, root = image.folder / "files", image.folder / "root"
    partial = disk.with_suffix(".part")
    for old in (files, root):
        shutil.rmtree(old, ignore_errors=True)
    partial.unlink(missing_ok=True)
    root.mkdir()
    _write_files(image, files)
    arguments = [packages[0].parent, files, root, partial]
    run(["fakeroot", "sh", "-c", recipe.UNPACK, "sh", *map(str, arguments)])
    [kernel] = root.glob("boot/vmlinuz-*")
    shutil.copyfile(kernel, image.kernel)
    _write_initrd(root, image)
    for done in (files, root):
        shutil.rmtree(done)
    partial.rename(disk)


def _write_files(image: Image, folder: Path) -> None:
    """What stands there besides the packages: below `root` as it is, the keys beside it."""
    for name, text in recipe.FILES.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("user_key.pub", "host_key"):
        shutil.copy(image.folder / name, folder / name)


def _write_initrd(root: Path, image: Image) -> None:
    """Busybox, and the modules without which the disk cannot be read."""
    tree = image.folder / "initrd.tree"
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "modules", "proc", "sys", "dev", "root"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", tree / "bin/busybox")
    [modules] = root.glob("usr/lib/modules/*")
    for number, module in enumerate(_in_order(modules, recipe.MODULES)):
        plain = tree / f"modules/{number:02}-{module.name.removesuffix('.xz')}"
        plain.write_bytes(lzma.decompress(module.read_bytes()))
    (tree / "init").write_text(recipe.INIT)
    (tree / "init").chmod(0o755)
    archive = 'cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 | gzip > "$2"'
    run(["sh", "-c", archive, "sh", str(tree), str(image.initrd)])
    shutil.rmtree(tree)


def _in_order(modules: Path, wanted: tuple[str, ...]) -> list[Path]:
    """The files of kernel modules and of what they need, to be loaded one after the other."""
    needs = dict(line.split(":") for line in (modules / "modules.dep").read_text().splitlines())
    found: dict[str, None] = {}
    for name in wanted:
        [file] = [path for path in needs if Path(path).name == f"{name}.ko.xz"]
        for path in (*reversed(needs[file].split()), file):
            found.setdefault(path)
    return [modules / path for path in found]

# SPDX-License-Identifier: MIT
"""Copies of /sys, /proc and /dev as `viommu host --sysfs` reads them, of hosts that there could be."""
import os
import pathlib

# As Linux printed them (tests/data/host-iommus.csv).
GRANITE_RAPIDS = {"version": "7:0", "cap": "f9ed008cee780c66", "ecap": "3fef9ea6f0efdf"}
SAPPHIRE_RAPIDS = {"version": "6:0", "cap": "9ed008c40780466", "ecap": "3ee9e86f050df"}
BROADWELL = {"version": "1:0", "cap": "8d2078c106f0466", "ecap": "f020df"}
ALDER_LAKE_SYSTEM = {"version": "5:0", "cap": "d2008c40660462", "ecap": "f050da"}
ZEN4 = {"cap": "80b", "features": "246577efa2254afa:10"}

MSI = "0x00000000fee00000 0x00000000feefffff msi"
LIMITS = "Limit                     Soft Limit           Hard Limit           Units\nMax locked memory         {0}              {0}              bytes\n"


def without(registers, bit):
    return dict(registers, ecap=f"{int(registers['ecap'], 16) & ~(1 << bit):x}")


class Tree:
    """A host being made. Everything about it that has a default is that of a good one."""

    def __init__(self, folder, options="intel_iommu=on,sm_on", release="6.12.9-amd64", iommufd=0o600, locked="unlimited"):
        self.root = pathlib.Path(folder)
        self.write("proc/cmdline", f"BOOT_IMAGE=/vmlinuz root=/dev/sda1 {options} quiet")
        self.write("proc/sys/kernel/osrelease", release)
        self.write("proc/sys/kernel/hostname", self.root.name)
        self.write("proc/sys/kernel/arch", "x86_64")
        self.write("proc/self/limits", LIMITS.format(locked))
        self.write("proc/self/status", "Name:\tviommu\nCapEff:\t0000000000000000")
        (self.root / "sys/bus/pci/devices").mkdir(parents=True)
        if iommufd is not None:
            self.write("dev/iommu", "", iommufd)

    def write(self, path, text, mode=0o600):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
        path.chmod(mode)

    def link(self, path, target):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, path)

    def iommu(self, name, group, attributes):
        """An entry of /sys/class/iommu with the attributes of its driver; group "": it has none."""
        place = f"sys/devices/virtual/iommu/{name}"
        (self.root / place).mkdir(parents=True)
        for attribute, text in attributes.items():
            self.write(f"{place}/{group}/{attribute}", text)
        self.link(f"sys/class/iommu/{name}", f"../../devices/virtual/iommu/{name}")

    def vtd(self, name, registers):
        more = {"address": "d0ffc000", "domains_supported": "65536", "domains_used": "12"}
        self.iommu(name, "intel-iommu", {**registers, **more})

    def firmware(self, table):
        self.write(f"sys/firmware/acpi/tables/{table}", "")

    def group(self, number, regions=(MSI,)):
        self.write(f"sys/kernel/iommu_groups/{number}/type", "DMA-FQ")
        self.write(f"sys/kernel/iommu_groups/{number}/reserved_regions", "\n".join(regions))

    def device(self, name, iommu=None, group=None, driver=None, node=None, kind="0x020000", mode=0o600):
        place = f"sys/bus/pci/devices/{name}"
        for attribute, text in (("vendor", "0x8086"), ("device", "0x1592"), ("class", kind)):
            self.write(f"{place}/{attribute}", text)
        self.write(f"{place}/reset_method", "flr bus")
        if iommu:
            self.link(f"{place}/iommu", f"../../virtual/iommu/{iommu}")
        if group is not None:
            self.link(f"{place}/iommu_group", f"../../../kernel/iommu_groups/{group}")
            if not (self.root / f"sys/kernel/iommu_groups/{group}").exists():
                self.group(group)
        if driver:
            self.link(f"{place}/driver", f"../../../bus/pci/drivers/{driver}")
        if node:
            (self.root / f"{place}/vfio-dev/{node}").mkdir(parents=True)
            if mode is not None:
                self.write(f"dev/vfio/devices/{node}", "", mode)

    def opened(self, process, target):
        self.link(f"proc/{process}/fd/7", target)


def nesting(folder, registers=SAPPHIRE_RAPIDS, **arguments):
    """A server that nests, with a device for each way in which one can stand."""
    tree = Tree(folder, **arguments)
    tree.firmware("DMAR")
    tree.vtd("dmar0", registers)
    tree.vtd("dmar1", registers)
    tree.device("0000:00:00.0", kind="0x060000")
    tree.device("0000:3a:00.0", "dmar0", 14, "vfio-pci", "vfio0")
    tree.device("0000:3a:00.1", "dmar0", 14)
    tree.device("0000:3a:01.0", "dmar0", 14, "pcieport", kind="0x060400")
    tree.device("0000:3b:00.0", "dmar0", 15, "nvme", kind="0x010802")
    tree.device("0000:3c:00.0", "dmar1", 16, "vfio-pci", "vfio1")
    tree.device("0000:3c:00.1", "dmar1", 16, "i40e")
    tree.device("0000:3d:00.0", "dmar1", 17, "vfio-pci", "vfio2")
    tree.device("0000:3e:00.0", "dmar1", 18, "vfio-pci", "vfio3", mode=0)
    tree.device("0000:3f:00.0", "dmar1", 19)
    tree.device("0000:40:00.0")
    tree.device("0000:41:00.0", "dmar1", 20, "vfio-pci", "vfio4", mode=None)
    tree.device("0000:42:00.0", "dmar1", 21, "vfio-pci")
    tree.device("0000:43:00.0", "dmar1", 22, "mlx5_vfio_pci", "vfio5")
    tree.group(23, (MSI, "0x0000000000000000 0x0000000000ffffff direct-relaxable"))
    tree.device("10000:e1:00.0", "dmar1", 23, "nvme", kind="0x010802")
    tree.opened(4242, "/dev/vfio/devices/vfio2")
    return tree


def one_device(folder, name, group, attributes, **arguments):
    """A host with one IOMMU of any kind, and a network card that VFIO has."""
    tree = Tree(folder, **arguments)
    tree.iommu(name, group, attributes)
    tree.device("0000:01:00.0", name, 1, "vfio-pci", "vfio0")
    return tree


def off(folder, table, options):
    tree = Tree(folder, options=options)
    tree.firmware(table)
    tree.device("0000:01:00.0")
    return tree


def client(folder):
    """Graphics that can nest, everything else behind an IOMMU that cannot."""
    tree = Tree(folder)
    tree.vtd("dmar0", SAPPHIRE_RAPIDS)
    tree.vtd("dmar1", ALDER_LAKE_SYSTEM)
    tree.device("0000:00:02.0", "dmar0", 0, "i915", kind="0x030000")
    tree.device("0000:01:00.0", "dmar1", 1, "vfio-pci", "vfio0")
    return tree


def virtio(folder):
    tree = one_device(folder, "0000:00:05.0", "", {})
    tree.link("sys/devices/virtual/iommu/0000:00:05.0/device", "../../../virtio3")
    tree.link("sys/devices/virtio3/driver", "../../bus/virtio/drivers/virtio_iommu")
    return tree


def by_default(folder, setting):
    """The command line says nothing of scalable mode; the kernel's configuration does."""
    tree = one_device(folder, "dmar0", "intel-iommu", SAPPHIRE_RAPIDS, options="")
    tree.write("boot/config-6.12.9-amd64", f"CONFIG_X86=y\n{setting}\nCONFIG_PCI=y")
    return tree


def unsafe(folder):
    tree = one_device(folder, "dmar0", "intel-iommu", without(SAPPHIRE_RAPIDS, 3))
    tree.write("sys/module/iommufd/parameters/allow_unsafe_interrupts", "Y")
    return tree


def type1(folder, **arguments):
    """A kernel as Debian's: no iommufd, and VFIO by containers."""
    tree = Tree(folder, iommufd=None, **arguments)
    tree.vtd("dmar0", SAPPHIRE_RAPIDS)
    tree.device("0000:01:00.0", "dmar0", 1, "vfio-pci")
    tree.device("0000:02:00.0", "dmar0", 2, "vfio-pci")
    tree.write("dev/vfio/vfio", "")
    tree.write("dev/vfio/1", "")
    tree.write("dev/vfio/2", "")
    tree.opened(77, "/dev/vfio/2")
    return tree


def closed_type1(folder):
    tree = type1(folder)
    tree.write("dev/vfio/vfio", "", 0)


VTD = ("dmar0", "intel-iommu")

# Each host, and how it is made in a folder of that name.
HOSTS = {
    "nesting": nesting,
    "newest": lambda folder: nesting(folder, GRANITE_RAPIDS),
    "no-scalable": lambda folder: nesting(folder, BROADWELL),
    "client": client,
    "amd": lambda folder: one_device(folder, "ivhd0", "amd-iommu", ZEN4),
    "old-amd": lambda folder: one_device(folder, "ivhd0", "amd-iommu", dict(ZEN4, features="4f77ef22294ada")),
    "smmuv3": lambda folder: one_device(folder, "smmu3.0x0000000009050000", "", {}),
    "smmu": lambda folder: one_device(folder, "smmu.0x0000000009050000", "", {}),
    "virtio": virtio,
    "strange": lambda folder: one_device(folder, "apple-dart.1", "", {}),
    "none": lambda folder: Tree(folder).device("0000:01:00.0") or None,
    "vtd-off": lambda folder: off(folder, "DMAR", "intel_iommu=off"),
    "vtd-not-on": lambda folder: off(folder, "DMAR", ""),
    "amd-off": lambda folder: off(folder, "IVRS", "amd_iommu=off"),
    "no-iommufd": lambda folder: nesting(folder, iommufd=None),
    "old": lambda folder: nesting(folder, iommufd=None, release="6.1.0-32-amd64"),
    "brought-back": lambda folder: nesting(folder, release="5.14.0-503.el9"),
    "not-permitted": lambda folder: nesting(folder, iommufd=0),
    "little-memory": lambda folder: nesting(folder, locked="8388608"),
    "scalable-off": lambda folder: nesting(folder, options="intel_iommu=sm_on,on,sm_off iommu=pt"),
    "scalable-by-default": lambda folder: by_default(folder, "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON=y"),
    "scalable-not-by-default": lambda folder: by_default(folder, "# CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON is not set"),
    "scalable-unknown": lambda folder: one_device(folder, *VTD, SAPPHIRE_RAPIDS, options=""),
    "no-remapping": lambda folder: one_device(folder, *VTD, without(SAPPHIRE_RAPIDS, 3)),
    "remapping-off": lambda folder: one_device(folder, *VTD, SAPPHIRE_RAPIDS, options="intel_iommu=on,sm_on intremap=off"),
    "unsafe": unsafe,
    "type1": type1,
    "old-type1": lambda folder: type1(folder, release="6.1.0-32-amd64"),
    "closed-type1": closed_type1,
    "broken": lambda folder: one_device(folder, *VTD, {"version": "\x1b[31m", "cap": "xyz", "ecap": ""}),
    "no-devices": lambda folder: Tree(folder).vtd("dmar0", SAPPHIRE_RAPIDS),
}


def make_all(folder):
    for name, make in HOSTS.items():
        make(folder / name)

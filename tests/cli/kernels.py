# SPDX-License-Identifier: MIT
"""The smallest kernels of each kind, made byte by byte, and what is wrong with them."""
import struct

BASE = 0x100000

# 32-bit code; the multiboot header comes before it.
QUIT = bytes.fromhex("31c0 66baf400 ef f4 ebfd")  # write 0 to port 0xf4; hlt; jump to hlt
HANG = bytes.fromhex("fa f4 ebfc")  # cli; hlt; jump to cli
# Echo: wait for bit 0 of port 0x3fd, then read port 0x3f8 and write it back; forever.
ECHO = bytes.fromhex("66bafd03 ec a801 74f7 66baf803 ec ee ebef")


def multiboot_header(flags=3):
    return struct.pack("<III", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF)


def multiboot(code, flags=3, address=BASE):
    """An ELF32 file with one segment, which holds the headers too."""
    header = multiboot_header(flags)
    entry = 52 + 32 + len(header)
    size = entry + len(code)
    elf = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\1\1\1", 2, 3, 1, address + entry, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, address, address, size, size, 7, 4096)
    return elf + segment + header + code


def elf64(segments=()):
    """An ELF64 file whose program headers are given as (type, offset, address, file size, memory size)."""
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, BASE, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    for kind, offset, address, file_size, memory_size in segments:
        elf += struct.pack("<IIQQQQQQ", kind, 7, offset, address, address, file_size, memory_size, 4096)
    return elf


def bzimage(version=0x20F, paragraphs=0x1000, size=2048):
    """A Linux boot header (Documentation/arch/x86/boot.rst) that promises more than the file has."""
    image = bytearray(size)
    image[0x1F1] = 1  # setup_sects
    struct.pack_into("<I", image, 0x1F4, paragraphs)  # syssize
    image[0x201] = 0x66  # the header's length
    struct.pack_into("<4sH", image, 0x202, b"HdrS", version)
    image[0x211] = 1  # loaded high
    struct.pack_into("<II", image, 0x22C, 0x7FFFFFFF, 0x1000)  # initrd_addr_max, kernel_alignment
    struct.pack_into("<I", image, 0x238, 2047)  # cmdline_size
    return bytes(image)


def write_all(folder):
    """Writes each kind into the folder; returns their paths by name."""
    good = multiboot(QUIT)
    contents = {
        "quit": good,
        "hang": multiboot(HANG),
        "echo": multiboot(ECHO),
        "empty": b"",
        "text": b"this is no kernel\n" * 100,
        "short-multiboot": good[:90],
        "cut-multiboot": multiboot(QUIT + bytes(4096))[:200],
        "flat-multiboot": multiboot_header() + QUIT + bytes(512),
        "video-multiboot": multiboot(QUIT, flags=7),
        "low-multiboot": multiboot(QUIT, address=0x1000),
        "high-multiboot": multiboot(QUIT, address=0x70000000),
        "plain-elf": elf64(),
        "cut-elf": elf64([(1, 0, BASE, 100000, 100000)]),
        "headless-elf": elf64([(1, 0, BASE, 64, 64)] * 3)[:100],
        "cut-bzimage": bzimage(),
        "old-bzimage": bzimage(version=0x205, paragraphs=1),
        "small-bzimage": bzimage()[:0x210],
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = str(folder / name)
        (folder / name).write_bytes(content)
    return paths

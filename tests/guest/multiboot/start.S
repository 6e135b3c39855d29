/* SPDX-License-Identifier: MIT */
/* Source: Multiboot Specification 0.6.96, 3.1 and 3.2. */
#define MAGIC 0x1badb002
#define FLAGS 3 /* page-aligned modules, memory information */

    .section .multiboot, "a"
    .align 4
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)

    .text
    .globl _start
_start:
    mov $stack_end, %esp
    xor %ebp, %ebp
    push %ebx
    push %eax
    call bare_main
1:  hlt
    jmp 1b

    .bss
    .align 16
stack:
    .skip 16384
stack_end:

    .section .note.GNU-stack, "", @progbits

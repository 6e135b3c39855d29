/* SPDX-License-Identifier: MIT */
/* Source: Multiboot Specification 0.6.96, 3.1 and 3.2. */
#define MAGIC 0x1badb002
#define FLAGS 3 /* page-aligned modules, memory information */

#define REAL_MODE_AT 0x7000

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

/* Leaves protected mode in memory that a processor reaches without it, for the reset vector. */
    .globl jump_to_reset_vector
jump_to_reset_vector:
    cli
    mov $real_mode, %esi
    mov $REAL_MODE_AT, %edi
    mov $real_mode_end - real_mode, %ecx
    rep movsb
    lgdt gdt_of_16_bits
    ljmp $8, $REAL_MODE_AT

    .code16
real_mode:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0xf000, $0xfff0
real_mode_end:
    .code32

    .globl fault_thrice
fault_thrice:
    lidt no_interrupts
    ud2

    .data
    .align 8
segments:
    .quad 0
    .quad 0x00009a000000ffff /* code, and data, of 16 bits */
    .quad 0x000092000000ffff
gdt_of_16_bits:
    .word . - segments - 1
    .long segments
no_interrupts:
    .word 0
    .long 0

    .bss
    .align 16
stack:
    .skip 16384
stack_end:

    .section .note.GNU-stack, "", @progbits

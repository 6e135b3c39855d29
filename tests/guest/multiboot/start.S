/* SPDX-License-Identifier: MIT */
/* Source: Multiboot Specification 0.6.96, 3.1 and 3.2. */
#define MAGIC 0x1badb002
#define FLAGS 3 /* page-aligned modules, memory information */

#define REAL_MODE_AT 0x7000

/* Segments, as `segments` has them. */
#define CODE    0x10
#define DATA    0x18
#define CODE_16 0x20
#define DATA_16 0x28

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
    lgdt segment_table
    ljmp $CODE_16, $REAL_MODE_AT

    .code16
real_mode:
    mov $DATA_16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0xf000, $0xfff0
real_mode_end:
    .code32

    .globl load_segments
load_segments:
    lgdt segment_table
    ljmp $CODE, $1f
1:  mov $DATA, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    ret

/* 16 bytes for each vector that is no exception's. */
    .globl interrupt_entries
    .align 16
interrupt_entries:
    .set vector, 32
    .rept 256 - 32
    .align 16
    pushl $vector
    jmp interrupt
    .set vector, vector + 1
    .endr

interrupt:
    pusha
    cld
    pushl 32(%esp)
    call interrupt_came
    add $4, %esp
    popa
    add $4, %esp
    pushl 8(%esp)
    popf
    lret $4 /* as iret does; some KVMs would have to emulate that, and cannot */

    .globl fault_thrice
fault_thrice:
    lidt no_interrupts
    ud2

    .data
    .align 8
segments: /* as the loader left them, and for 16 bits */
    .quad 0, 0
    .quad 0x00cf9a000000ffff
    .quad 0x00cf92000000ffff
    .quad 0x00009a000000ffff
    .quad 0x000092000000ffff
segment_table:
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

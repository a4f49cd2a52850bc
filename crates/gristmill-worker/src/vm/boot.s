# The boot sector by which a machine's virtualisation is tried: enters 64-bit mode, counts down from 50 million, and
# tells QEMU's exit device that it got there. `as boot.s -o boot.o && ld -Ttext 0x7c00 --oformat binary -o boot.bin boot.o`
.code16
.globl _start
_start:
 cli
 xorw %ax,%ax
 movw %ax,%ds
 movw %ax,%es
 movw %ax,%ss
 movw $0x7c00,%sp
 movl $0x1000,%edi
 movl %edi,%cr3
 xorl %eax,%eax
 movl $0xc00,%ecx
 cld
 rep stosl
 movl $0x2003,0x1000
 movl $0x3003,0x2000
 movl $0x83,0x3000
 movl %cr4,%eax
 orl $0x20,%eax
 movl %eax,%cr4
 movl $0xC0000080,%ecx
 rdmsr
 orl $0x100,%eax
 wrmsr
 lgdtl gdtr
 movl %cr0,%eax
 orl $0x80000001,%eax
 movl %eax,%cr0
 ljmpl $8,$long
.code64
long:
 movl $50000000,%ecx
1: decl %ecx
 jnz 1b
 movb $0x21,%al
 movw $0xf4,%dx
 outb %al,%dx
 hlt
.balign 8
gdt: .quad 0
 .quad 0x00209A0000000000
gdtr: .word 15
 .long gdt
.org 510
.word 0xaa55

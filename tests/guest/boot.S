/* The BIOS end of the test guest: a boot sector that loads the rest, goes to 32-bit protected mode and calls
 * guest_main(drive, from_cd). On a CD the firmware has loaded the whole file already (El Torito without
 * emulation), and image.py sets `loaded`, the byte at offset 2. */

        .code16
        .section .boot, "ax"
        .globl  _start
_start:
        jmp     begin
loaded:
        .byte   0
begin:
        cli
        ljmp    $0, $flat
flat:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $_start, %sp
        sti
        cld
        movb    %dl, drive
        cmpb    $0, loaded
        jne     enter

        movw    $payload_chunks, %cx
next:
        pushw   %cx
        movw    $packet, %si
        movb    $0x42, %ah              /* extended read */
        movb    drive, %dl
        int     $0x13
        jc      broken
        addw    $0x400, packet_segment  /* 32 sectors of 512 bytes */
        addl    $32, packet_sector
        popw    %cx
        loop    next

enter:
        cli
        inb     $0x92, %al              /* A20 */
        orb     $2, %al
        outb    %al, $0x92
        lgdt    gdt_pointer
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmp    $8, $protected

broken:
        movw    $0x3f8, %dx
        movb    $'E', %al
        outb    %al, %dx
        hlt
        jmp     broken

        .balign 4
packet:
        .byte   16, 0
        .word   32
        .word   0
packet_segment:
        .word   0x7e0
packet_sector:
        .quad   1
drive:
        .byte   0

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff
        .quad   0x00cf92000000ffff
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt

        .code32
protected:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    $_start, %esp
        movl    $bss_start, %edi
        movl    $bss_end, %ecx
        subl    %edi, %ecx
        xorl    %eax, %eax
        rep stosb
        movzbl  loaded, %eax
        pushl   %eax
        movzbl  drive, %eax
        pushl   %eax
        call    guest_main

        .org    510
        .word   0xaa55
        .section .note.GNU-stack, "", @progbits

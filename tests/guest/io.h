/* Ports, CPUID, PCI configuration, fw_cfg, the serial port: what the test guest needs of a PC. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void outb(uint16_t port, uint8_t v) {
        __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t v) {
        __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t v) {
        __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port) {
        uint8_t v;
        __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
        return v;
}

static inline uint16_t inw(uint16_t port) {
        uint16_t v;
        __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
        return v;
}

static inline uint32_t inl(uint16_t port) {
        uint32_t v;
        __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
        return v;
}

struct cpuid {
        uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub) {
        struct cpuid r;
        __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(sub));
        return r;
}

/* PCI configuration mechanism 1; reg is a multiple of 4. */
static inline uint32_t pci_read(unsigned bus, unsigned slot, unsigned fn, unsigned reg) {
        outl(0xcf8, 0x80000000u | bus << 16 | slot << 11 | fn << 8 | reg);
        return inl(0xcfc);
}

static inline void pci_write(unsigned bus, unsigned slot, unsigned fn, unsigned reg, uint32_t v) {
        outl(0xcf8, 0x80000000u | bus << 16 | slot << 11 | fn << 8 | reg);
        outl(0xcfc, v);
}

/* A little-endian integer of n bytes from QEMU's fw_cfg (docs/specs/fw_cfg.txt), 0 where there is none. */
enum { FW_CFG_SIGNATURE = 0, FW_CFG_RAM_SIZE = 3, FW_CFG_NB_CPUS = 5 };
static inline uint64_t fw_cfg(uint16_t key, unsigned n) {
        uint64_t v = 0;
        outw(0x510, key);
        for (unsigned i = 0; i < n; i++)
                v |= (uint64_t) inb(0x511) << (8 * i);
        return v;
}

enum { COM1 = 0x3f8, COM_IER = COM1 + 1, COM_FCR = COM1 + 2, COM_LCR = COM1 + 3, COM_MCR = COM1 + 4, COM_LSR = COM1 + 5 };

static inline void serial_init(void) {
        outb(COM_IER, 0);
        outb(COM_LCR, 0x80);
        outb(COM1, 1); /* 115200 */
        outb(COM_IER, 0);
        outb(COM_LCR, 3);
        outb(COM_FCR, 7);
        outb(COM_MCR, 0xb); /* OUT2: interrupts reach the PIC */
        outb(COM_IER, 1);   /* received data */
}

static inline void serial_put(char c) {
        while (!(inb(COM_LSR) & 0x20))
                ;
        outb(COM1, (uint8_t) c);
}

/* -1: nothing there. */
static inline int serial_get(void) {
        return inb(COM_LSR) & 1 ? inb(COM1) : -1;
}

/* vore's test guest: bare metal, for BIOS (32 bits, entered from boot.S) and for UEFI (64 bits, efi_main).
 *
 * On the serial port 0x3f8 it prints the line "vore test guest", then one line of JSON, which says what it
 * was given:
 *   firmware    "bios" or "uefi"
 *   medium      "disk" or "cdrom"; drive: the BIOS drive number (0 under UEFI)
 *   label       the text behind "VORE-LABEL:" in its image, at most 12 bytes, so that a test can tell copies apart
 *   memory      bytes
 *   cpus        their number; topology{threads, cores, dies, sockets} by CPUID, of each level above
 *   cpu_vendor, hypervisor   the signatures of CPUID 0 and 0x40000000
 *   pci         [{address "00:1f.2", vendor, device, class (24 bits), bars}], behind bridges too, at most 64; bars has
 *               the bytes of the six BARs, 0 for what is none (of a 64-bit one, the second half); none of bridges
 * then "ready". Under BIOS a VGA adapter's screen, in text mode, then has four coloured quarters: red and green above
 * blue and cyan; and each key of the board's keyboard that goes down is a line "key NN" with its scan code (set 1, as the
 * board translates it; "key e0NN" for those with a prefix). It sleeps (HLT, 18 wake-ups a second) until the power button is pressed (ACPI, q35 only): it prints
 * "power button" and powers off. Until then it takes commands, one a line:
 *   report      print the JSON line again
 *   echo TEXT   print TEXT
 *   tone HZ     play a tone through the HD Audio card; says "playing", or why not
 *   ignore      from now on a press prints "power button ignored"; heed: take that back
 *   off         power off          reset   by port 0xcf9
 *   crash       triple fault       spin    with interrupts off, for ever
 */

#include "hda.h"
#include "io.h"

static const volatile char label[] = "VORE-LABEL:disk        ";
enum { LABEL_START = 11, PCI_MAX = 64, LINE_MAX = 256 };

static uint16_t pm_base;
static bool ignore_button;
static unsigned boot_drive;
static bool boot_cdrom;
static bool has_vga;

static void put(const char *s) {
        for (; *s; s++)
                serial_put(*s);
}

static void put_line(const char *s) {
        put(s);
        put("\r\n");
}

/* Long division by hand: a freestanding 32-bit program has no 64-bit one. */
static void put_number(uint64_t v) {
        char digits[21];
        unsigned n = 0;
        do {
                uint64_t quotient = 0;
                unsigned rest = 0;
                for (int bit = 63; bit >= 0; bit--) {
                        rest = rest << 1 | (unsigned) (v >> bit & 1);
                        if (rest >= 10) {
                                rest -= 10;
                                quotient |= (uint64_t) 1 << bit;
                        }
                }
                digits[n++] = (char) ('0' + rest);
                v = quotient;
        } while (v);
        while (n)
                serial_put(digits[--n]);
}

static void put_hex(unsigned v, unsigned digits) {
        while (digits--)
                serial_put("0123456789abcdef"[v >> (4 * digits) & 15]);
}

static void put_key_number(const char *key, uint64_t v) {
        put(",\"");
        put(key);
        put("\":");
        put_number(v);
}

/* A signature of three registers; what is not plain text is left out. */
static void put_key_signature(const char *key, uint32_t a, uint32_t b, uint32_t c) {
        uint32_t words[] = { a, b, c };
        put(",\"");
        put(key);
        put("\":\"");
        for (unsigned i = 0; i < 12; i++) {
                char ch = (char) (words[i / 4] >> (8 * (i % 4)));
                if (ch >= ' ' && ch < 0x7f && ch != '"' && ch != '\\')
                        serial_put(ch);
        }
        put("\"");
}

struct topology {
        unsigned threads, cores, dies; /* of each level above */
};

/* Leaf 0x1f or 0xb: per level the number of logical processors below it; types 1 SMT, 2 core, 5 die. */
static bool topology_by_leaf(uint32_t leaf, struct topology *ret) {
        unsigned below_core = 1, below_die = 1, below_package = 1;
        if (cpuid(0, 0).eax < leaf || !(cpuid(leaf, 0).ebx & 0xffff))
                return false;
        for (unsigned i = 0; i < 6; i++) {
                struct cpuid r = cpuid(leaf, i);
                unsigned type = r.ecx >> 8 & 0xff, n = r.ebx & 0xffff;
                if (!type || !n)
                        break;
                if (type == 1)
                        below_core = n;
                if (type <= 2)
                        below_die = n;
                below_package = n;
        }
        *ret = (struct topology) { below_core, below_die / below_core, below_package / below_die };
        return true;
}

static struct topology topology(void) {
        struct topology t = { 1, 1, 1 };
        if (topology_by_leaf(0x1f, &t) || topology_by_leaf(0xb, &t))
                return t;
        if (cpuid(0x80000000, 0).eax >= 0x8000001e)
                t.threads = (cpuid(0x8000001e, 0).ebx >> 8 & 0xff) + 1;
        unsigned logical = cpuid(1, 0).ebx >> 16 & 0xff;
        if (logical > t.threads)
                t.cores = logical / t.threads;
        return t;
}

static void report_cpus(void) {
        struct topology t = topology();
        unsigned package = t.threads * t.cores * t.dies;
        unsigned n = (unsigned) fw_cfg(FW_CFG_NB_CPUS, 2);
        put_key_number("cpus", n);
        put(",\"topology\":{\"threads\":");
        put_number(t.threads);
        put_key_number("cores", t.cores);
        put_key_number("dies", t.dies);
        put_key_number("sockets", package ? n / package : 0);
        put("}");
        struct cpuid r = cpuid(0, 0);
        put_key_signature("cpu_vendor", r.ebx, r.edx, r.ecx);
        r = cpuid(1, 0).ecx >> 31 ? cpuid(0x40000000, 0) : (struct cpuid) { 0 };
        put_key_signature("hypervisor", r.ebx, r.ecx, r.edx);
}

/* What is written to a BAR and cannot be kept says how large it is. Meanwhile the device decodes nothing. */
static uint32_t bar_mask(unsigned bus, unsigned slot, unsigned fn, unsigned reg, uint32_t *ret_value) {
        uint32_t value = pci_read(bus, slot, fn, reg);
        pci_write(bus, slot, fn, reg, 0xffffffff);
        uint32_t mask = pci_read(bus, slot, fn, reg);
        pci_write(bus, slot, fn, reg, value);
        *ret_value = value;
        return mask;
}

static void report_bars(unsigned bus, unsigned slot, unsigned fn) {
        uint32_t command = pci_read(bus, slot, fn, 4), value, high_value;
        put(",\"bars\":[");
        pci_write(bus, slot, fn, 4, command & 0xfffc);
        for (unsigned i = 0; i < 6; i++) {
                uint64_t mask = bar_mask(bus, slot, fn, 0x10 + 4 * i, &value);
                if (i)
                        put(",");
                if (!mask)
                        put("0");
                else if (value & 1)
                        put_number((~(mask & 0xfffc) + 1) & 0xffff);
                else if ((value & 6) == 4 && i < 5) {
                        mask |= (uint64_t) bar_mask(bus, slot, fn, 0x14 + 4 * i, &high_value) << 32;
                        put_number(~(mask & ~(uint64_t) 15) + 1);
                        put(",0");
                        i++;
                } else
                        put_number((uint32_t) ~(mask & 0xfffffff0) + 1);
        }
        pci_write(bus, slot, fn, 4, command & 0xffff);
        put("]");
}

static void report_function(unsigned bus, unsigned slot, unsigned fn, unsigned count) {
        uint32_t id = pci_read(bus, slot, fn, 0);
        put(count ? ",{\"address\":\"" : "{\"address\":\"");
        put_hex(bus, 2);
        put(":");
        put_hex(slot, 2);
        put(".");
        put_hex(fn, 1);
        put("\"");
        put_key_number("vendor", id & 0xffff);
        put_key_number("device", id >> 16);
        put_key_number("class", pci_read(bus, slot, fn, 8) >> 8);
        has_vga |= pci_read(bus, slot, fn, 8) >> 16 == 0x300;
        if (!(pci_read(bus, slot, fn, 0xc) >> 16 & 0x7f))
                report_bars(bus, slot, fn);
        put("}");
}

static unsigned report_bus(unsigned bus, unsigned count) {
        for (unsigned slot = 0; slot < 32; slot++) {
                for (unsigned fn = 0; fn < 8 && count < PCI_MAX; fn++) {
                        if ((pci_read(bus, slot, fn, 0) & 0xffff) == 0xffff) {
                                if (fn == 0)
                                        break;
                                continue;
                        }
                        report_function(bus, slot, fn, count++);
                        unsigned header = pci_read(bus, slot, fn, 0xc) >> 16 & 0xff;
                        unsigned behind = pci_read(bus, slot, fn, 0x18) >> 8 & 0xff;
                        if ((header & 0x7f) == 1 && behind > bus)
                                count = report_bus(behind, count);
                        if (fn == 0 && !(header & 0x80))
                                break;
                }
        }
        return count;
}

static void report(void) {
        put("{\"firmware\":\"");
        put(sizeof(void *) == 8 ? "uefi" : "bios");
        put(boot_cdrom ? "\",\"medium\":\"cdrom\"" : "\",\"medium\":\"disk\"");
        put_key_number("drive", boot_drive);
        put(",\"label\":\"");
        for (unsigned i = LABEL_START; label[i] > ' ' && label[i] != '"' && label[i] != '\\'; i++)
                serial_put(label[i]);
        put("\"");
        put_key_number("memory", fw_cfg(FW_CFG_RAM_SIZE, 8));
        report_cpus();
        put(",\"pci\":[");
        report_bus(0, 0);
        put_line("]}");
}

/* The screen of a VGA adapter in text mode, if there is one: 80 times 25 characters with their colours. */
static void screen_draw(void) {
        static const uint8_t quarters[] = { 0x40, 0x20, 0x10, 0x30 };
        static const char title[] = " vore test guest ";
        volatile uint16_t *text = (volatile uint16_t *) 0xb8000;
        if (sizeof(void *) == 8 || !has_vga)
                return;
        for (unsigned y = 0; y < 25; y++)
                for (unsigned x = 0; x < 80; x++)
                        text[80 * y + x] = (uint16_t) (quarters[2 * (y >= 13) + (x >= 40)] << 8 | ' ');
        for (unsigned i = 0; i < sizeof(title) - 1; i++)
                text[80 * 12 + 31 + i] = (uint16_t) (0x0f00 | (uint8_t) title[i]);
        /* No blinking cursor: its place is behind the end. */
        outb(0x3d4, 0xe);
        outb(0x3d5, 0xff);
        outb(0x3d4, 0xf);
        outb(0x3d5, 0xff);
}

/* The board's keyboard. The other half of the controller is its mouse. */
static void keyboard_poll(void) {
        static bool prefixed;
        uint8_t status;
        while ((status = inb(0x64)) & 1) {
                uint8_t code = inb(0x60);
                if (status & 0x20)
                        continue;
                if (code < 0x80 && code) {
                        put(prefixed ? "key e0" : "key ");
                        put_hex(code, 2);
                        put_line("");
                }
                prefixed = code == 0xe0;
        }
}

/* ICH9: PM1_STS, PM1_EN (16 bits each) and PM1_CNT at the base in 00:1f.0's register 0x40. */
enum { PM1_STS = 0, PM1_EN = 2, PM1_CNT = 4, PM1_BUTTON = 1 << 8, PM1_SLEEP = 1 << 13 };

static void power_init(void) {
        if (pci_read(0, 0x1f, 0, 0) >> 16 != 0x2918)
                return;
        pm_base = (uint16_t) (pci_read(0, 0x1f, 0, 0x40) & 0xff80);
        outw(pm_base + PM1_STS, PM1_BUTTON);
        outw(pm_base + PM1_EN, PM1_BUTTON);
}

static void power_off(void) {
        if (pm_base)
                outw(pm_base + PM1_CNT, PM1_SLEEP); /* type 0: S5 */
}

static void power_poll(void) {
        if (!pm_base || !(inw(pm_base + PM1_STS) & PM1_BUTTON))
                return;
        outw(pm_base + PM1_STS, PM1_BUTTON);
        put_line(ignore_button ? "power button ignored" : "power button");
        if (!ignore_button)
                power_off();
}

struct __attribute__((packed)) table_pointer {
        uint16_t limit;
        void *base;
};

struct gate {
        uint16_t offset_low, selector;
        uint16_t flags; /* 0x8e00: present, interrupt gate */
        uint16_t offset_mid;
#ifdef __x86_64__
        uint32_t offset_high, reserved;
#endif
};

static struct gate idt[48];

/* Only to end HLT: the loop looks at everything each time. */
__attribute__((interrupt)) static void on_interrupt(void *frame) {
        (void) frame;
        __asm__ volatile("outb %b0, $0xa0; outb %b0, $0x20" ::"a"(0x20)); /* inline: it may call nothing */
}

static void idt_load(void *base, uint16_t limit) {
        struct table_pointer p = { limit, base };
        __asm__ volatile("lidt %0" ::"m"(p));
}

static void interrupts_init(void) {
        volatile uint32_t *lapic = (volatile uint32_t *) 0xfee00000;
        uintptr_t fn = (uintptr_t) on_interrupt;
        uint16_t selector;
        __asm__("mov %%cs, %0" : "=r"(selector));
        for (unsigned i = 32; i < 48; i++) {
                idt[i] = (struct gate) { .offset_low = (uint16_t) fn, .selector = selector, .flags = 0x8e00,
                                         .offset_mid = (uint16_t) (fn >> 16) };
#ifdef __x86_64__
                idt[i].offset_high = (uint32_t) (fn >> 32);
#endif
        }
        idt_load(idt, sizeof(idt) - 1);

        lapic[0xf0 / 4] = 0x12f;    /* on, spurious vector 47 */
        lapic[0x320 / 4] = 0x10000; /* its timer: masked */
        lapic[0x350 / 4] = 0x700;   /* LINT0: what the PICs say */

        outb(0x20, 0x11); /* both PICs to vectors 32 to 47, only timer and COM1 open */
        outb(0xa0, 0x11);
        outb(0x21, 32);
        outb(0xa1, 40);
        outb(0x21, 4);
        outb(0xa1, 2);
        outb(0x21, 1);
        outb(0xa1, 1);
        outb(0x21, 0xee);
        outb(0xa1, 0xff);

        outb(0x43, 0x34); /* PIT: 65536 ticks, 18.2 Hz */
        outb(0x40, 0);
        outb(0x40, 0);
}

static bool starts_with(const char *s, const char *with) {
        while (*with)
                if (*s++ != *with++)
                        return false;
        return true;
}

static bool same(const char *a, const char *b) {
        return starts_with(a, b) && starts_with(b, a);
}

static void crash(void) {
        idt_load(idt, 0);
        __asm__ volatile("int3");
}

static void spin(void) {
        __asm__ volatile("cli");
        for (;;)
                __asm__ volatile("");
}

static void tone(const char *digits) {
        unsigned hertz = 0;
        while (*digits >= '0' && *digits <= '9' && hertz < 100000)
                hertz = hertz * 10 + (unsigned) (*digits++ - '0');
        const char *wrong = *digits ? "no number" : hda_tone(hertz);
        put_line(wrong ? wrong : "playing");
}

static void command(const char *line) {
        if (same(line, "report"))
                report();
        else if (starts_with(line, "echo "))
                put_line(line + 5);
        else if (starts_with(line, "tone "))
                tone(line + 5);
        else if (same(line, "ignore") || same(line, "heed")) {
                ignore_button = line[0] == 'i';
                put_line(ignore_button ? "ignoring the power button" : "heeding the power button");
        } else if (same(line, "off"))
                power_off();
        else if (same(line, "reset"))
                outb(0xcf9, 6);
        else if (same(line, "crash"))
                crash();
        else if (same(line, "spin")) {
                put_line("spinning");
                spin();
        } else if (*line)
                put_line("unknown command");
}

static void commands_poll(void) {
        static char line[LINE_MAX];
        static unsigned len;
        int c;
        while ((c = serial_get()) >= 0) {
                if (c == '\r' || c == '\n') {
                        line[len] = '\0';
                        len = 0;
                        command(line);
                } else if (len < LINE_MAX - 1)
                        line[len++] = (char) c;
        }
}

__attribute__((noreturn)) void guest_main(unsigned drive, unsigned from_cd) {
        boot_drive = drive;
        boot_cdrom = from_cd;
        serial_init();
        interrupts_init();
        power_init();
        put("\r\n");
        put_line("vore test guest");
        report();
        screen_draw();
        put_line("ready");
        for (;;) {
                commands_poll();
                if (sizeof(void *) == 4)
                        keyboard_poll();
                power_poll();
                __asm__ volatile("sti; hlt");
        }
}

#ifdef __x86_64__
/* UEFI 2.x tables, only as far as what is called lies. The firmware's own terminal would take our input from
 * the serial port: leave boot services before anything else. */
struct efi_boot_services {
        uint64_t before[7];
        uint64_t (*get_memory_map)(size_t *size, void *map, size_t *key, size_t *entry_size, uint32_t *version);
        uint64_t between[21];
        uint64_t (*exit)(void *image, size_t key);
};

struct efi_system_table {
        uint64_t before[12];
        struct efi_boot_services *boot;
};

uint64_t efi_main(void *image, struct efi_system_table *system);

uint64_t efi_main(void *image, struct efi_system_table *system) {
        static char map[64 * 1024];
        for (unsigned i = 0; i < 8; i++) {
                size_t size = sizeof(map), key = 0, entry_size;
                uint32_t version;
                if (system->boot->get_memory_map(&size, map, &key, &entry_size, &version) == 0 &&
                    system->boot->exit(image, key) == 0) {
                        __asm__ volatile("cli");
                        guest_main(0, label[LABEL_START] == 'c');
                }
        }
        return 1;
}
#endif

/* The guest's sound: each codec of an Intel HD Audio controller has an output stream of its own (QEMU's codecs take turns
 * at the data of one), and all of them play a tone, over and over from one buffer, until the machine ends or another tone is asked for. (Intel High Definition Audio Specification, 1.0a; QEMU's
 * codec hda-duplex: node 2 is the converter, node 3 its pin.) */
#include "hda.h"
#include "io.h"

enum { RATE = 48000, FRAMES = RATE / 10, AMPLITUDE = 12000, PATIENCE = 1 << 20 };
enum { GCAP = 0x00, GCTL = 0x08, STATESTS = 0x0e, COMMAND = 0x60, STATUS = 0x68, STREAMS = 0x80, STREAM_SIZE = 0x20 };
enum { CTL = 0x00, CBL = 0x08, LVI = 0x0c, FMT = 0x12, BDPL = 0x18, BDPU = 0x1c };
enum { CTL_RESET = 1, CTL_RUN = 2, FORMAT_48K_16_2 = 0x0011 };
enum { SET_FORMAT = 0x20000, SET_AMP = 0x30000, SET_STREAM = 0x70600, SET_PIN = 0x70700 };

struct descriptor {
        uint64_t address;
        uint32_t bytes, flags;
};

static int16_t buffer[FRAMES][2] __attribute__((aligned(128)));
static struct descriptor list[2] __attribute__((aligned(128)));
static uintptr_t base;

static volatile uint32_t *reg32(unsigned reg) {
        return (volatile uint32_t *) (base + reg);
}

static volatile uint16_t *reg16(unsigned reg) {
        return (volatile uint16_t *) (base + reg);
}

static bool wait_for(unsigned reg, uint32_t mask, uint32_t value) {
        for (unsigned i = 0; i < PATIENCE; i++)
                if ((*reg32(reg) & mask) == value)
                        return true;
        return false;
}

/* Class 04.03 on the first bus; its memory BAR, with memory and bus mastering on. */
static bool find(void) {
        for (unsigned slot = 0; slot < 32; slot++)
                for (unsigned fn = 0; fn < 8; fn++) {
                        if (pci_read(0, slot, fn, 8) >> 16 != 0x0403)
                                continue;
                        pci_write(0, slot, fn, 4, (pci_read(0, slot, fn, 4) & 0xffff) | 6);
                        base = pci_read(0, slot, fn, 0x10) & ~15u;
                        return base != 0;
                }
        return false;
}

/* By the immediate command register: no rings needed. */
static bool verb(unsigned codec, unsigned node, uint32_t command) {
        *reg16(STATUS) = 2;
        *reg32(COMMAND) = codec << 28 | node << 20 | command;
        *reg16(STATUS) = 1;
        return wait_for(STATUS, 1, 0);
}

static bool codec_start(unsigned codec, unsigned tag) {
        return verb(codec, 2, SET_FORMAT | FORMAT_48K_16_2) && verb(codec, 2, SET_STREAM | tag << 4) &&
               verb(codec, 2, SET_AMP | 0xb000 | 0x4a) && verb(codec, 3, SET_PIN | 0x40);
}

/* A triangle: as pure as it gets without a floating-point unit, and it crosses zero as often as a sine. */
static void fill(unsigned hertz) {
        for (unsigned i = 0; i < FRAMES; i++) {
                int phase = (int) (i * hertz % RATE * 4 / (RATE / 1000)); /* 0 to 3999 */
                int height = phase < 1000 ? phase : phase < 3000 ? 2000 - phase : phase - 4000;

                buffer[i][0] = buffer[i][1] = (int16_t) (height * (AMPLITUDE / 1000));
        }
}

/* Tags count from 1. */
static bool stream_start(unsigned tag) {
        unsigned inputs = *reg16(GCAP) >> 8 & 15, stream = STREAMS + (inputs + tag - 1) * STREAM_SIZE;

        *reg32(stream + CTL) = CTL_RESET;
        if (!wait_for(stream + CTL, CTL_RESET, CTL_RESET))
                return false;
        *reg32(stream + CTL) = 0;
        if (!wait_for(stream + CTL, CTL_RESET, 0))
                return false;
        for (unsigned i = 0; i < 2; i++)
                list[i] = (struct descriptor) { (uintptr_t) buffer + i * sizeof(buffer) / 2, sizeof(buffer) / 2, 0 };
        *reg32(stream + BDPL) = (uint32_t) (uintptr_t) list;
        *reg32(stream + BDPU) = 0;
        *reg32(stream + CBL) = sizeof(buffer);
        *reg16(stream + LVI) = 1;
        *reg16(stream + FMT) = FORMAT_48K_16_2;
        *reg32(stream + CTL) = tag << 20 | CTL_RUN;
        return true;
}

const char *hda_tone(unsigned hertz) {
        if (hertz < 10 || hertz > 10000 || hertz % 10)
                return "no frequency from 10 to 10000 in steps of 10";
        if (!find())
                return "no sound card";
        *reg32(GCTL) = 0;
        if (!wait_for(GCTL, 1, 0))
                return "the sound card does not stop";
        *reg32(GCTL) = 1;
        if (!wait_for(GCTL, 1, 1))
                return "the sound card does not start";
        fill(hertz);
        unsigned codecs = *reg16(STATESTS), outputs = *reg16(GCAP) >> 12, tag = 0;
        for (unsigned i = 0; i < 15; i++) {
                if (!(codecs >> i & 1) || tag == outputs)
                        continue;
                if (!codec_start(i, ++tag))
                        return "the codec does not answer";
                if (!stream_start(tag))
                        return "the stream does not reset";
        }
        return (void *) 0;
}

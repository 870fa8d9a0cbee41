/* SHA-1 (FIPS 180-4) for UUIDs of version 5: a name's fingerprint, no matter of security. */
#include "complete/complete.h"

#include "base/str.h"

enum { BLOCK = 64, DIGEST = 20 };

static uint32_t rol(uint32_t v, unsigned n) {
        return v << n | v >> (32 - n);
}

static void sha1_round(unsigned t, const uint32_t s[5], uint32_t *ret_f, uint32_t *ret_k) {
        if (t < 20) {
                *ret_f = (s[1] & s[2]) | (~s[1] & s[3]);
                *ret_k = 0x5a827999;
        } else if (t < 40) {
                *ret_f = s[1] ^ s[2] ^ s[3];
                *ret_k = 0x6ed9eba1;
        } else if (t < 60) {
                *ret_f = (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]);
                *ret_k = 0x8f1bbcdc;
        } else {
                *ret_f = s[1] ^ s[2] ^ s[3];
                *ret_k = 0xca62c1d6;
        }
}

static void sha1_block(uint32_t h[5], const unsigned char *p) {
        uint32_t w[80], s[5];

        for (unsigned t = 0; t < 16; t++)
                w[t] = (uint32_t) p[4 * t] << 24 | (uint32_t) p[4 * t + 1] << 16 |
                       (uint32_t) p[4 * t + 2] << 8 | p[4 * t + 3];
        for (unsigned t = 16; t < 80; t++)
                w[t] = rol(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
        memcpy(s, h, sizeof(s));
        for (unsigned t = 0; t < 80; t++) {
                uint32_t f, k;

                sha1_round(t, s, &f, &k);
                uint32_t next = rol(s[0], 5) + f + s[4] + k + w[t];
                s[4] = s[3];
                s[3] = s[2];
                s[2] = rol(s[1], 30);
                s[1] = s[0];
                s[0] = next;
        }
        for (unsigned i = 0; i < 5; i++)
                h[i] += s[i];
}

static void sha1(const unsigned char *data, size_t len, unsigned char ret[static DIGEST]) {
        uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
        unsigned char tail[2 * BLOCK] = { 0 };
        size_t whole = len / BLOCK * BLOCK, rest = len - whole;
        size_t tail_len = rest + 9 <= BLOCK ? BLOCK : 2 * BLOCK;

        for (size_t i = 0; i < whole; i += BLOCK)
                sha1_block(h, data + i);
        memcpy(tail, data + whole, rest);
        tail[rest] = 0x80;
        for (unsigned i = 0; i < 8; i++)
                tail[tail_len - 1 - i] = (unsigned char) ((uint64_t) len * 8 >> (8 * i));
        for (size_t i = 0; i < tail_len; i += BLOCK)
                sha1_block(h, tail + i);
        for (unsigned i = 0; i < DIGEST; i++)
                ret[i] = (unsigned char) (h[i / 4] >> (24 - 8 * (i % 4)));
}

void complete_uuid(const char *machine_id, const char *name, char ret[static 37]) {
        /* Drawn once at random; changing it changes every VM's identity. */
        static const unsigned char space[16] = { 0x5b, 0xe1, 0x0c, 0x8e, 0x47, 0x2d, 0x4f, 0x93,
                                                 0xa6, 0x5e, 0x19, 0xd4, 0x70, 0xc8, 0x3b, 0x2a };
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        unsigned char d[DIGEST];

        strbuf_addn(&text, (const char *) space, sizeof(space));
        strbuf_addf(&text, "%s:%s", machine_id, name);
        sha1((const unsigned char *) text.data, text.len, d);
        d[6] = (d[6] & 0x0f) | 0x50;
        d[8] = (d[8] & 0x3f) | 0x80;
        snprintf(ret, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d[0], d[1],
                 d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14], d[15]);
}

#pragma once

/* Plays a tone of that many Hz, a multiple of 10, through every codec of the sound card. NULL, or what is wrong. */
const char *hda_tone(unsigned hertz);

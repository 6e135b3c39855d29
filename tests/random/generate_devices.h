/* SPDX-License-Identifier: MIT */
/* Random interrupts, page requests, protected regions, and invalidations of device TLBs. */
#ifndef RANDOM_GENERATE_DEVICES_H
#define RANDOM_GENERATE_DEVICES_H

#include "tables.h"

/* The interrupt remapping table, and where posted-interrupt descriptors lie. */
void devices_build(struct generator *generator);
/* What a round begins with: registers. */
void devices_begin(struct generator *generator);
/* Now and then one of all that. */
void devices_step(struct generator *generator);

#endif

/* SPDX-License-Identifier: MIT */
/* What the VMM says on standard error while a test listens. */
#ifndef TEST_COMPLAINTS_H
#define TEST_COMPLAINTS_H

void complaints_listen(void);

/* Ends it. All that was said, until the next call: "" when nothing was. */
const char *complaints_heard(void);

#endif

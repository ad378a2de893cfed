/* Dates of the UTC calendar from seconds and back, for the years 0 to 9999. Not by the C library:
   time_t has 32 bits on 32-bit systems as old as Debian 12, and certificates outlive 2038. */
#ifndef DANEMSG_BASE_DATE_H
#define DANEMSG_BASE_DATE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define DMSG_DATE_TEXT_SIZE 21 /* 2026-01-31T23:59:59Z and its NUL */

/* Seconds since 1970-01-01T00:00:00Z. date holds year to second, each within its bounds. */
int64_t dmsg_date_seconds(const struct tm *date);

/* As RFC 3339 has it. False: a year that has not four digits; out is as it was. */
bool dmsg_date_text(char out[static DMSG_DATE_TEXT_SIZE], int64_t seconds);

#endif

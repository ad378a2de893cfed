#include "base/date.h"

#include <stdio.h>

#define DAY INT64_C(86400)
#define DAYS_TO_1970 719528 /* from 0000-01-01 */
#define YEAR_MAX 9999

/* Days from 0000-01-01 to the first of a month, which counts from 1. */
static int64_t days_before(int64_t year, int month)
{
    static const int16_t of_year[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    int64_t passed = (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400; /* leap years */
    return year * 365 + passed + of_year[month - 1] + (leap && month > 2);
}

int64_t dmsg_date_seconds(const struct tm *date)
{
    int64_t days = days_before(date->tm_year + INT64_C(1900), date->tm_mon + 1) - DAYS_TO_1970 +
                   date->tm_mday - 1;
    return ((days * 24 + date->tm_hour) * 60 + date->tm_min) * 60 + date->tm_sec;
}

bool dmsg_date_text(char out[static DMSG_DATE_TEXT_SIZE], int64_t seconds)
{
    if (seconds < -DAYS_TO_1970 * DAY ||
        seconds >= (days_before(YEAR_MAX + 1, 1) - DAYS_TO_1970) * DAY)
        return false;
    int64_t since = seconds + DAYS_TO_1970 * DAY, days = since / DAY;
    int64_t year = days / 366; /* or a few more */
    int month = 12, time = (int)(since % DAY);
    while (days_before(year + 1, 1) <= days)
        year++;
    while (days_before(year, month) > days)
        month--;
    int day = (int)(days - days_before(year, month)) + 1;
    /* The remainders, which are in their bounds already, tell the compiler how long it can get. */
    (void)snprintf(out, DMSG_DATE_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ",
        (unsigned)year % (YEAR_MAX + 1), (unsigned)month % 13, (unsigned)day % 32,
        (unsigned)time / 3600 % 24, (unsigned)time / 60 % 60, (unsigned)time % 60);
    return true;
}

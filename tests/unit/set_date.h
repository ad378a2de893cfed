/* Dates of certificates that a test makes, on 32-bit systems too (ASN1_TIME_set takes a time_t). */
#ifndef DANEMSG_TESTS_SET_DATE_H
#define DANEMSG_TESTS_SET_DATE_H

#include "base/date.h"

#include <openssl/asn1.h>

static inline void set_date(ASN1_TIME *out, int64_t seconds)
{
    char text[DMSG_DATE_TEXT_SIZE] = "", digits[DMSG_DATE_TEXT_SIZE];
    size_t size = 0;
    (void)dmsg_date_text(text, seconds);
    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '-' && *from != ':' && *from != 'T')
            digits[size++] = *from;
    }
    digits[size] = '\0';
    (void)ASN1_TIME_set_string_X509(out, digits);
}

#endif

/* The TSIG key and the time that the target and its seeds share. */
#ifndef DANEMSG_FUZZ_PUBLISH_KEY_H
#define DANEMSG_FUZZ_PUBLISH_KEY_H

#define FUZZ_TSIG_SECRET "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
#define FUZZ_TSIG_KEY                                                                              \
    "key \"a.example\" { algorithm hmac-sha256; secret \"" FUZZ_TSIG_SECRET "\"; };"
#define FUZZ_TSIG_TIME 1700000000

#endif

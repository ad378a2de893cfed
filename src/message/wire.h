/* The words of the v1 and poc formats that seal and open share (doc/PROTOCOL.md, "Envelope"). */
#ifndef DANEMSG_MESSAGE_WIRE_H
#define DANEMSG_MESSAGE_WIRE_H

#define DMSG_TYP_JWS "danemsg+jws"
#define DMSG_TYP_JWE "JWE"
#define DMSG_POC_SIGNATURE_ALGORITHM "RS256"
#define DMSG_POC_ENCRYPTION_ALGORITHM "RSA-OAEP-256"

/* Octets of randomness in a jti. */
#define DMSG_JTI_OCTETS 16

#endif
